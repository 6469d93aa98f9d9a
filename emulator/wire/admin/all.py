"""All operations of the admin API. The module is loaded with the first call, so that a server without one starts
faster."""

from __future__ import annotations

from ..operation import Operation
from . import (
    accounts,
    agents,
    callbacks,
    clock,
    commands,
    device_logins,
    faults,
    inventory,
    journal,
    sandboxes,
    scenario,
    status,
    transfer,
)

operations: list[Operation] = [
    *clock.operations,
    *faults.operations,
    *commands.operations,
    *agents.operations,
    *callbacks.operations,
    *journal.operations,
    *accounts.operations,
    *inventory.operations,
    *sandboxes.operations,
    *device_logins.operations,
    *scenario.operations,
    *status.operations,
    *transfer.operations,
]
