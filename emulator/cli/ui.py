"""`caged-emulator ui`: opens the inspector in a browser."""

from __future__ import annotations

import click

from ..browser import open_in_browser
from ..control_client.remote import RemoteEmulator
from .control import unscoped_options


@click.command("ui")
@click.option("--print", "is_printed_only", is_flag=True, help="Print the link and do not open it.")
@unscoped_options
def command(emulator: RemoteEmulator, is_printed_only: bool) -> None:
    """Open the inspector of a running emulator in the browser.

    It prints a link that logs in once, within 10 minutes. The link works on the emulator's machine. From elsewhere,
    forward the emulator's port first, with the same number: `ssh -L 4747:127.0.0.1:4747 HOST`.
    """
    link = emulator.ui_link()
    click.echo(link)
    if not is_printed_only and not open_in_browser(link):
        click.echo("no browser could be opened; open the link yourself", err=True)
