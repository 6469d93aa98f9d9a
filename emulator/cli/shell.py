"""`caged-emulator shell`: opens an interactive terminal in a sandbox."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

import click

from .target import URL_VARIABLE, TargetSelection, target_options
from .terminal_output import transfer


@click.command("shell")
@click.argument("sandbox")
@click.option(
    "--from",
    "archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An archive that holds the sandbox, as pytest --caged-keep-failed writes it.",
)
@target_options
def command(sandbox: str, archive: Optional[Path], selection: TargetSelection) -> None:
    """Open a shell in SANDBOX; `exit` or Ctrl-D ends it.

    With --from: in a temporary emulator with the archive's content; changes are lost when the shell ends. Otherwise in
    the emulator that the options or CAGED_EMULATOR_URL name; else, when CAGED_API_KEY is set, at CAGED_BASE_URL; else
    in the running emulator.
    """
    if archive is not None:
        if selection.is_explicit:
            raise click.UsageError("--from starts an emulator of its own; remove the options that name one")
        open_from_archive(sandbox, archive)
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
    """Whether the environment names an emulator, and CAGED_BASE_URL no other API."""
    emulator, api = os.environ.get(URL_VARIABLE, ""), os.environ.get("CAGED_BASE_URL", "")
    return bool(emulator) and (api or emulator).rstrip("/") == emulator.rstrip("/")


def open_from_archive(sandbox: str, archive: Path) -> None:
    """Open a shell in a sandbox of an archive, in a temporary emulator."""
    from ..control_client.transport import EmulatorError
    from ..emulator import Emulator

    try:
        with Emulator() as emulator:
            with transfer("opening the archive", os.path.getsize(archive)) as note:
                emulator.import_(archive, on_progress=note)
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
