"""`caged-emulator agent`: what agents in sandboxes answer."""

from __future__ import annotations

from typing import Any

import click

from ..control_client.agents import Agent
from ..control_client.base_emulator import BaseEmulator
from .control import control_options, given
from .patterns import pattern_of, pattern_options
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
@pattern_options("to", "Only to this prompt")
@click.option("--file", "files", multiple=True, metavar="PATH=CONTENT", help="A file it writes first. Repeatable.")
@options_of(Agent.reply, leave=["text", "files", "allow_errors"])
@control_options
def reply(emulator: BaseEmulator, name: str, text: str, files: tuple[str, ...], **options: Any) -> None:
    """NAME answers TEXT; several replies are given in turn. Prints the reply's id."""
    prompt = pattern_of(options, "to")
    agent, said = emulator.agent(name), {**given(options), "files": _files(files)}
    added = agent.reply(text, **said) if prompt is None else agent.reply_to(prompt, text, **said)
    click.echo(added.id)


@command.command("prompts")
@click.argument("name")
@control_options
def prompts(emulator: BaseEmulator, name: str) -> None:
    """What it was asked so far."""
    for one in emulator.agent(name).prompts:
        click.echo(f"{one.at} {one.sandbox} {one.prompt!r} -> {one.reply!r} (${one.cost_usd:.4f})")


@command.command("passthrough")
@click.argument("name")
@control_options
def passthrough(emulator: BaseEmulator, name: str) -> None:
    """The real program of this machine answers."""
    click.echo(emulator.agent(name).passthrough().id)


@command.command("reset")
@click.argument("name")
@control_options
def reset(emulator: BaseEmulator, name: str) -> None:
    """It answers as at the start."""
    emulator.agent(name).reset()
