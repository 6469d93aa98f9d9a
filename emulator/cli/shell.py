"""`caged-emulator shell`: a terminal in a sandbox, for a person to look around."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

import click

from .target import URL_VARIABLE, TargetSelection, target_options


@click.command("shell")
@click.argument("sandbox")
@click.option(
    "--from",
    "archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An archive that the sandbox is in, as pytest --caged-keep-failed leaves them.",
)
@target_options
def command(sandbox: str, archive: Optional[Path], selection: TargetSelection) -> None:
    """Open a shell in SANDBOX; it ends as shells do, by `exit` or Ctrl-D.

    With --from, in an emulator of its own that holds what is in the archive, and that is gone afterwards, changes and
    all. Otherwise in the emulator that the options or CAGED_EMULATOR_URL name; else, with CAGED_API_KEY set, where that
    and CAGED_BASE_URL lead; else in the running emulator.
    """
    if archive is not None:
        if selection.is_explicit:
            raise click.UsageError("--from starts an emulator of its own; it goes without the options that name one")
        _from_archive(sandbox, archive)
        return
    if not selection.is_explicit and os.environ.get("CAGED_API_KEY") and not _emulator_is_named():
        _open(sandbox, None, None)
        return
    from .control import connected

    target = selection.choose()
    with connected(target) as emulator:
        key = emulator.key_for(sandbox)
    _open(sandbox, target.base_url, key)


def _emulator_is_named() -> bool:
    """Whether the environment leads to an emulator and not, by CAGED_BASE_URL, to another API."""
    emulator, api = os.environ.get(URL_VARIABLE, ""), os.environ.get("CAGED_BASE_URL", "")
    return bool(emulator) and (api or emulator).rstrip("/") == emulator.rstrip("/")


def _from_archive(sandbox: str, archive: Path) -> None:
    from ..control_client.transport import EmulatorError
    from ..emulator import Emulator

    try:
        with Emulator() as emulator:
            emulator.import_(archive)
            key = emulator.key_for(sandbox)
            with emulator.client(api_key=key) as client:
                client.sandboxes.resume(sandbox)
            _open(sandbox, emulator.base_url, key)
    except (EmulatorError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def _open(sandbox: str, base_url: Optional[str], key: Optional[str]) -> None:
    import asyncio

    from caged import CagedError

    from .terminal_client import attach

    try:
        code = asyncio.run(attach(sandbox, base_url, key))
    except CagedError as error:
        raise click.ClickException(str(error)) from error
    if code:
        raise SystemExit(code)
