"""All operations of the admin API. The module is loaded with the first call, so that a server without one starts
faster."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Callable

from ..operation import Operation
from . import (
    accounts,
    agents,
    callbacks,
    clock,
    commands,
    device_logins,
    faults,
    inspector,
    inventory,
    journal,
    prepared,
    repos,
    sandboxes,
    scenario,
    status,
    steps,
    transfer,
)


@functools.cache
def operations_for(all_operations: Callable[[], Iterable[Operation]]) -> list[Operation]:
    """The admin API's operations. Some of them call `all_operations`, of which they are a part."""
    return [
        *clock.operations,
        *faults.operations,
        *commands.operations,
        *agents.operations,
        *repos.operations,
        *prepared.operations,
        *callbacks.operations,
        *journal.operations,
        *steps.operations,
        *accounts.operations,
        *inspector.operations,
        *inventory.operations,
        *sandboxes.operations,
        *device_logins.operations,
        *scenario.operations_for(all_operations),
        *status.operations,
        *transfer.operations,
    ]
