"""What the commands that control a running emulator have in common."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional

import click

from ..double.link import EmulatorError
from ..double.remote import RemoteEmulator
from .target import choose, target_options


def control_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--port`, `--pid`, `--account`; the command gets the emulator, acting for that account, as `emulator`."""

    @target_options
    @click.option("--account", metavar="ID", help="Whose; `*` for all. [the first account]")
    @functools.wraps(command)
    def controlling(port: Optional[int], pid: Optional[int], account: Optional[str], **options: Any) -> None:
        with _control(port, pid, account) as emulator:
            command(emulator=emulator, **options)

    return controlling


@contextmanager
def _control(port: Optional[int], pid: Optional[int], account: Optional[str]) -> Iterator[RemoteEmulator]:
    found = choose(port, pid)
    try:
        with RemoteEmulator(found.base_url, found.admin_key, account=account) as emulator:
            yield emulator
    except (EmulatorError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Those that were."""
    return {name: value for name, value in options.items() if value is not None and value is not False}
