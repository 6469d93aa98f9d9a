"""`caged-emulator agents`: the replies of agents in sandboxes of a running emulator."""

from __future__ import annotations

from typing import Any

import click

from ..control.agent_replies import ScriptedReply
from ..control_client.remote import RemoteEmulator
from .control import add_list_commands, control_options
from .derived_options import described_options


@click.group("agents")
def command() -> None:
    """Define the replies of agents (claude, codex, aider …) in the running emulator."""


@command.command("reply")
@click.argument("name")
@click.argument("text")
@described_options(ScriptedReply, "reply_to", omit=["text"])
@control_options
def reply(emulator: RemoteEmulator, name: str, text: str, prompt: Any = None, **options: Any) -> None:
    """Let the agent NAME reply with TEXT; several replies are given in turn. Prints the reply's id."""
    agent = emulator.agent(name)
    added = agent.reply(text, **options) if prompt is None else agent.reply_to(prompt, text, **options)
    click.echo(added.id)


@command.command("passthrough")
@click.argument("name")
@described_options(ScriptedReply, "passthrough")
@control_options
def passthrough(emulator: RemoteEmulator, name: str, **options: Any) -> None:
    """Let the real program of this machine answer for the agent NAME. Prints the reply's id."""
    agent = emulator.agent(name)
    click.echo(agent.passthrough(**options).id)


add_list_commands(command, "reply", lambda emulator: emulator.agents)
