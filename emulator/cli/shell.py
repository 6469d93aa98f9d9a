"""`caged-emulator shell`: a terminal in a sandbox, for a person to look around."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

import click

from .target import choose, target_options


@click.command("shell")
@click.argument("sandbox")
@click.option(
    "--from",
    "archive",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An archive that the sandbox is in, as pytest --caged-keep-failed leaves them.",
)
@target_options
def command(sandbox: str, archive: Optional[Path], port: Optional[int], pid: Optional[int]) -> None:
    """Open a shell in SANDBOX; it ends as shells do, by `exit` or Ctrl-D.

    With --from, in an emulator of its own that holds what is in the archive, and that is gone afterwards, changes and
    all. Otherwise where CAGED_API_KEY and CAGED_BASE_URL lead, or, without them, in the running emulator.
    """
    if archive is not None:
        _from_archive(sandbox, archive)
    elif port is None and pid is None and os.environ.get("CAGED_API_KEY"):
        _open(sandbox, None, None)
    else:
        from ..double.link import EmulatorError
        from ..double.remote import RemoteEmulator

        found = choose(port, pid)
        try:
            with RemoteEmulator(found.base_url, found.admin_key) as emulator:
                key = emulator.key_for(sandbox)
        except EmulatorError as error:
            raise click.ClickException(str(error)) from error
        _open(sandbox, found.base_url, key)


def _from_archive(sandbox: str, archive: Path) -> None:
    from ..double.link import EmulatorError
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

    from .attaching import attach

    try:
        code = asyncio.run(attach(sandbox, base_url, key))
    except CagedError as error:
        raise click.ClickException(str(error)) from error
    if code:
        raise SystemExit(code)
