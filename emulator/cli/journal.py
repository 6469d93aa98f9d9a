"""`caged-emulator journal`: the requests to a running emulator, and what happened in its sandboxes."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any

import click

from ..control.queries import CommandQuery, EventQuery, PromptQuery, RequestQuery, StepQuery, StepStreamQuery
from ..control.step import Step
from ..control_client.base_emulator import BaseEmulator
from .control import control_options, print_removed
from .derived_options import described_options
from .tables import json_option, show
from .terminal_output import has_colours


class _JournalGroup(click.Group):
    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Read `--follow`, in whatever place among the options of `follow`, as that command."""
        names = ("-f", "--follow")
        if args and args[0].startswith("-") and any(name in args for name in names):
            args = ["follow", *(arg for arg in args if arg not in names)]
        return super().parse_args(context, args)


@click.group("journal", cls=_JournalGroup)
@click.option("-f", "--follow", is_flag=True, expose_value=False, help="The same as the command `follow`.")
def command() -> None:
    """List what the running emulator has recorded, oldest first."""


@command.command("requests")
@described_options(RequestQuery)
@json_option
@control_options
def requests(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List requests with their answers."""
    show(emulator.journal.requests(**options), as_json)


@command.command("commands")
@described_options(CommandQuery)
@json_option
@control_options
def commands(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List commands, by whatever way they came into a sandbox."""
    show(emulator.journal.commands(**options), as_json)


@command.command("prompts")
@described_options(PromptQuery)
@json_option
@control_options
def prompts(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List prompts to agents, with their replies."""
    show(emulator.journal.prompts(**options), as_json)


@command.command("events")
@described_options(EventQuery)
@json_option
@control_options
def events(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List events as the platform records them."""
    show(emulator.journal.events(**options), as_json)


@command.command("steps")
@described_options(StepQuery)
@json_option
@control_options
def steps(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List everything that happened, as steps in the order in which they began."""
    show(emulator.journal.steps(**options), as_json)


@command.command("follow")
@described_options(StepStreamQuery)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, with all values.")
@control_options
def follow(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """Print each step once it is over, those that there are first, then as they happen.

    It ends with the emulator, with --wait, or by Ctrl-C. A connection that is lost is made again.
    """
    from ..trace.step_lines import StepLines

    lines = StepLines(has_colours(sys.stdout))

    def show_step(step: Step) -> None:
        click.echo(json.dumps(dataclasses.asdict(step)) if as_json else lines.line(step), color=True)

    try:
        for step in emulator.journal.follow(**options):
            if lines.is_due(step):
                show_step(step)
        for step in lines.unfinished():
            show_step(step)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


@command.command("record-file-changes")
@click.option("--off", is_flag=True, help="Switch it off again.")
@control_options
def record_file_changes(emulator: BaseEmulator, off: bool) -> None:
    """Record in the steps which files of /workspace commands, prompts and restores have changed."""
    emulator.journal.record_file_changes(not off)


@command.command("clear")
@control_options
def clear(emulator: BaseEmulator) -> None:
    """Remove all entries. Prints how many were removed."""
    print_removed(emulator.journal.clear())
