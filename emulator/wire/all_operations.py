"""All operations and WebSockets that the emulator serves."""

from __future__ import annotations

import functools

from ..control.routes import Route
from . import account, execs, files, health, mcp, openapi_endpoint, ports, sandboxes, snapshots, terminals, tickets
from .operation import Operation
from .sockets import SocketOperation


def all_operations() -> list[Operation]:
    """All operations, those that answer 501 and the admin calls included."""
    from . import alerts, billing, device_logins, events, logins, not_implemented, notifications, sessions, trust

    return [
        *core_operations(),
        *logins.operations,
        *device_logins.operations,
        *billing.operations,
        *alerts.operations,
        *notifications.operations,
        *sessions.operations,
        *events.operations,
        *trust.operations,
        *not_implemented.operations,
        *admin_operations(),
    ]


def core_operations() -> list[Operation]:
    """The operations that nearly every client calls. The modules of the others are imported when they are needed."""
    return [
        *execs.operations,  # first: the routes are tried in this order
        *sandboxes.operations,
        *files.operations,
        *snapshots.operations,
        *account.operations,
        *tickets.operations,
        *terminals.operations,
        *ports.operations,
        *mcp.operations,
        *health.operations,
        openapi_endpoint.operation_for(all_operations),
    ]


def admin_operations() -> list[Operation]:
    """The operations about the emulator itself."""
    from .admin.all import operations_for

    return operations_for(all_operations)


def socket_operations() -> list[SocketOperation]:
    """All WebSockets."""
    return [terminals.socket_operation, mcp.socket_operation]


@functools.cache
def platform_routes() -> tuple[Route, ...]:
    """The routes of the platform's API, without the admin calls."""
    return tuple(
        Route(operation.method, operation.path, operation.name) for operation in all_operations() if not operation.admin
    )
