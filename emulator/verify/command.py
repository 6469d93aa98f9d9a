"""The `verify` command: a thin shell over `verify()`."""

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
    """How far it is, for a person who looks on; nothing where stderr is no terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._made = 0
        self._shown = sys.stderr.isatty()

    def __call__(self, result: Result) -> None:
        self._made += 1
        if self._shown:
            print(f"\r\033[K{self._made} of {self._total}  {result.id}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


@click.command()
@click.option("--base-url", envvar="CAGED_BASE_URL", metavar="URL", help="The server, without /v1. [CAGED_BASE_URL]")
@click.option("--api-key", envvar="CAGED_API_KEY", metavar="KEY", help="A full key of an account. [CAGED_API_KEY]")
@click.option("--second-api-key", metavar="KEY", help="One of another account, for what only that may not see.")
@click.option("--agent", metavar="NAME", help="Install and ask this agent once, for its session. May cost tokens.")
@click.option("--level", type=click.Choice(["contract", "decision"]), help="Only what is known, or only what is not.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Only checks with such an id, `exec.*`. Repeatable.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for each check.")
@click.option("--total", default=1800.0, show_default=True, help="Seconds for all of them.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there.")
@click.option("--list", "listing", is_flag=True, help="Show the checks and make none.")
@click.option("--verbose", "-v", is_flag=True, help="Show what is equal, too.")
def verify(
    base_url: Optional[str],
    api_key: Optional[str],
    second_api_key: Optional[str],
    agent: Optional[str],
    level: Optional[str],
    only: tuple[str, ...],
    timeout: float,
    total: float,
    json_file: Optional[Path],
    listing: bool,
    verbose: bool,
) -> None:
    """Tell where a server differs from the platform's contract.

    Runs against anything that claims to be the platform. A few sandboxes, snapshots and keys are made and removed
    again, also on Ctrl-C; nothing is bought. A check of level `contract` is about what is known of the platform, one
    of level `decision` about what no source says.

    Exits with 0 when nothing differs, 1 when something does, 2 when that could not be told.
    """
    from . import CannotRun
    from .run import chosen
    from .run import verify as run

    try:
        if listing:
            for check in chosen(level, only):
                click.echo(f"{check.level:<9} {check.id}: {check.claim} ({check.source})")
            return
        # A polite end leaves nothing behind either.
        signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
        progress = _Progress(len(chosen(level, only)))
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
    except CannotRun as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        click.echo("\nInterrupted; what was made is removed again", err=True)
        raise SystemExit(128 + signal.SIGINT) from None
    for line in report.lines(verbose):
        click.echo(line)
    if json_file is not None:
        json_file.write_text(json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    raise SystemExit(report.exit_code)
