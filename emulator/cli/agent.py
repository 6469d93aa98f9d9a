"""`caged-emulator agent`: what agents in sandboxes answer."""

from __future__ import annotations

from typing import Any, Optional

import click

from ..double.agents import Agent
from ..double.double import Double
from .control import control_options, given
from .signature import options_of


@click.group("agent")
def command() -> None:
    """Say what an agent (claude, codex, aider …) answers in the running emulator."""


def _files(pairs: tuple[str, ...]) -> dict[str, str]:
    if not all(pair.partition("=")[0] and "=" in pair for pair in pairs):
        raise click.UsageError("--file takes PATH=CONTENT; an empty file is PATH=")
    found = dict(pair.partition("=")[::2] for pair in pairs)
    if len(found) != len(pairs):
        raise click.UsageError("--file names the same PATH twice")
    return found


@command.command("reply")
@click.argument("name")
@click.argument("text")
@click.option("--to", "prompt", help="Only to such a prompt: its text, or a pattern with *.")
@click.option("--file", "files", multiple=True, metavar="PATH=CONTENT", help="A file it writes first. Repeatable.")
@options_of(Agent.reply, leave=["text", "files"])
@control_options
def reply(
    emulator: Double, name: str, text: str, prompt: Optional[str], files: tuple[str, ...], **options: Any
) -> None:
    """NAME answers TEXT; several replies are given in turn. Prints the reply's id."""
    agent, said = emulator.agent(name), {**given(options), "files": _files(files)}
    added = agent.reply(text, **said) if prompt is None else agent.reply_to(prompt, text, **said)
    for one in added if isinstance(added, list) else [added]:
        click.echo(one.id)


@command.command("prompts")
@click.argument("name")
@control_options
def prompts(emulator: Double, name: str) -> None:
    """What it was asked so far."""
    for one in emulator.agent(name).prompts:
        click.echo(f"{one.at} {one.sandbox} {one.prompt!r} -> {one.reply!r} (${one.cost_usd:.4f})")


@command.command("passthrough")
@click.argument("name")
@control_options
def passthrough(emulator: Double, name: str) -> None:
    """The real program of this machine answers."""
    click.echo(emulator.agent(name).passthrough().id)


@command.command("reset")
@click.argument("name")
@control_options
def reset(emulator: Double, name: str) -> None:
    """It answers as at the start."""
    emulator.agent(name).reset()
