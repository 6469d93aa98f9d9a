"""All checks, a file per resource."""

from __future__ import annotations

from ..check import Check
from . import (
    account,
    alerts,
    billing,
    errors,
    events,
    exec,
    files,
    git,
    helpers,
    http,
    keys,
    mcp,
    notifications,
    ports,
    sandbox_destruction,
    sandbox_pauses,
    sandboxes,
    sdk,
    sessions,
    snapshots,
    streaming,
    terminal,
    third_party,
    tickets,
)

_GROUPS = (
    http,
    errors,
    sandboxes,
    sandbox_pauses,
    sandbox_destruction,
    exec,
    files,
    git,
    snapshots,
    account,
    sessions,
    events,
    alerts,
    notifications,
    billing,
    tickets,
    terminal,
    streaming,
    mcp,
    ports,
    keys,
    third_party,
    sdk,
    helpers,
)

#: In the order in which they are made.
CHECKS: tuple[Check, ...] = tuple(check for module in _GROUPS for check in module.group.checks)
