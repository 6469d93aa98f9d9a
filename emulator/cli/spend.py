"""`caged-emulator spend`: spend money in a sandbox, as its agents do."""

from __future__ import annotations

from typing import Optional

import click

from ..control_client.remote import RemoteEmulator
from .control import control_options, require_known, scope_of


@click.command("spend")
@click.argument("sandbox")
@click.argument("usd", type=float, required=False)
@click.option("--usd", "as_option", type=float, help="The amount, in place of the argument USD.")
@control_options
def command(emulator: RemoteEmulator, sandbox: str, usd: Optional[float], as_option: Optional[float]) -> None:
    """Spend USD in SANDBOX. Prints its total cost; alerts, and the pause at its budget, have happened by then."""
    if usd is not None and as_option is not None:
        raise click.UsageError("give the amount once: as USD, or as --usd")
    spent = usd if as_option is None else as_option
    if spent is None:
        raise click.UsageError("say how much: caged-emulator spend SANDBOX --usd 4.80")
    held = emulator.inventory.sandboxes(account=emulator.selected_account or "*")
    require_known("sandbox", sandbox, [one.id for one in held], scope_of(emulator))
    click.echo(f"{emulator.spend(sandbox, spent):.6f}")
