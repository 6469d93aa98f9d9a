"""The `verify` command, which calls `verify()`."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

if TYPE_CHECKING:
    from .report import Result


class _Progress:
    """A line on stderr that shows the progress, if stderr is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0
        self._shown = sys.stderr.isatty()

    def __call__(self, result: Result) -> None:
        self._count += 1
        if self._shown:
            print(f"\r\033[K{self._count} of {self._total}  {result.id}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


@click.command()
@click.option(
    "--base-url",
    envvar="CAGED_BASE_URL",
    metavar="URL",
    help="The address of the server, without /v1. [CAGED_BASE_URL]",
)
@click.option(
    "--api-key", envvar="CAGED_API_KEY", metavar="KEY", help="A full key of the account under test. [CAGED_API_KEY]"
)
@click.option(
    "--second-api-key", metavar="KEY", help="A key of another account, for the checks of isolation between accounts."
)
@click.option(
    "--agent", metavar="NAME", help="Install and prompt this agent once, for the checks of sessions. May cost tokens."
)
@click.option("--level", type=click.Choice(["contract", "decision"]), help="Only the checks of this level.")
@click.option(
    "--only", multiple=True, metavar="PATTERN", help="Only the checks whose id matches, such as `exec.*`. Repeatable."
)
@click.option("--timeout", default=30.0, show_default=True, help="Seconds that each check may take.")
@click.option("--total", default=1800.0, show_default=True, help="Seconds that the run may take.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the report to this file, as JSON.",
)
@click.option("--list", "listing", is_flag=True, help="List the checks and run none.")
@click.option("--verbose", "-v", is_flag=True, help="Also show what is equal.")
def verify(
    base_url: Optional[str],
    api_key: Optional[str],
    second_api_key: Optional[str],
    agent: Optional[str],
    level: Optional[str],
    only: tuple[str, ...],
    timeout: float,
    total: float,
    as_json: bool,
    output: Optional[Path],
    listing: bool,
    verbose: bool,
) -> None:
    """Show where a server differs from the platform's contract.

    Runs against any server that claims to be the platform. A few sandboxes, snapshots and keys are created and removed
    again, also on Ctrl-C; nothing is bought. Checks of level `contract` are about what is known of the platform, those
    of level `decision` about what no source says.

    Exit status: 0 if nothing differs, 1 if something does, 2 if the server could not be verified.
    """
    from . import VerificationError
    from .run import select_checks
    from .run import verify as run

    if as_json and verbose:
        raise click.UsageError("--verbose: has no effect with --json, which prints every result; leave one of them out")
    if listing and (as_json or output is not None):
        raise click.UsageError("--list: runs no check, so that there is no report for --json and --output")
    try:
        if listing:
            for check in select_checks(level, only):
                click.echo(f"{check.level:<9} {check.id}: {check.claim} ({check.source})")
            return
        # SIGTERM has to remove what was created, like Ctrl-C.
        signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
        progress = _Progress(len(select_checks(level, only)))
        report = run(
            base_url or "",
            api_key or "",
            second_api_key=second_api_key,
            agent=agent,
            level=level,
            only=only,
            timeout=timeout,
            total=total,
            on_result=progress,
        )
        progress.clear()
    except VerificationError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        click.echo("\nInterrupted; everything that was created is removed", err=True)
        raise SystemExit(128 + signal.SIGINT) from None
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False)
    for line in [text] if as_json else report.lines(verbose):
        click.echo(line)
    if output is not None:
        output.write_text(f"{text}\n", encoding="utf-8")
    raise SystemExit(report.exit_code)
