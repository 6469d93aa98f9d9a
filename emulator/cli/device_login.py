"""`caged-emulator device-login`: whether sandboxes may log in by device code."""

from __future__ import annotations

import click

from ..control_client.base_emulator import BaseEmulator
from .control import control_options


@click.group("device-login")
def command() -> None:
    """Allow or deny `caged login` in an account's sandboxes. Denied by default; outside of sandboxes always allowed."""


@command.command("allow")
@control_options
def allow(emulator: BaseEmulator) -> None:
    """Give a login that comes from one of the account's sandboxes a full API key of that account."""
    emulator.allow_device_login()


@command.command("deny")
@control_options
def deny(emulator: BaseEmulator) -> None:
    """Deny logins that come from the account's sandboxes, as by default."""
    emulator.allow_device_login(False)
