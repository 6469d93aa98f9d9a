"""What an account has now: sandboxes with their logs, snapshots, open sockets. No faults and limits apply here, and the
journal does not show it."""

from __future__ import annotations

from typing import Any, Optional

from starlette.responses import Response

from ...control.current_account import ALL_ACCOUNTS
from ...control.queries import MOST_SOCKET_WAIT, SandboxLogQuery, SandboxQuery, SnapshotQuery, SocketQuery
from ...control.records import LogLine, SandboxRecord, SnapshotRecord, SocketRecord
from ...platform import limits
from ...platform.errors import invalid
from ...platform.observation import observing
from ...store import AccountRecord
from ..operation import Call, EmptyBody, no_content
from ..value_errors import shown
from .controls import named_sandbox, refusing
from .names import check_sandbox
from .operations import AdminOperations
from .record_lists import record_list

operations = AdminOperations()
BYTES = "application/octet-stream"


def _accounts(call: Call[Any]) -> list[AccountRecord]:
    return list(call.platform.store.accounts.values()) if call.account.id == ALL_ACCOUNTS else [call.account]


def _sandbox(call: Call[Any]) -> Optional[str]:
    """The sandbox that the query names."""
    with refusing():
        check_sandbox(call, call.query("sandbox"))
    return call.query("sandbox")


@record_list(operations, "/sandboxes", "inventory.sandboxes", SandboxRecord, "SandboxRecord", query=SandboxQuery)
async def sandboxes(call: Call[EmptyBody]) -> list[SandboxRecord]:
    """Oldest first; `last`: the newest so many only."""
    return [
        SandboxRecord(
            id=sandbox.id,
            account=account.id,
            status=sandbox.status,
            template=sandbox.template,
            created_at=sandbox.created_at,
        )
        for account in _accounts(call)
        for sandbox in call.platform.sandboxes.of(account)
    ]


@record_list(operations, "/sandboxes/{id}/logs", "inventory.logs", LogLine, "SandboxLogLine", query=SandboxLogQuery)
async def logs(call: Call[EmptyBody]) -> list[LogLine]:
    """Lines of the log of a sandbox of any account, with `account` of that account; `last`: the newest so many lines
    only."""
    lines = call.platform.sandboxes.logs(named_sandbox(call), call.query_int("last"))
    return [LogLine(line.timestamp, line.type, line.message) for line in lines]


@operations.call(
    "GET",
    "/sandboxes/{id}/files/content",
    "inventory.file",
    reply=bytes,
    query={"path": str, "offset": int},
    errors=[409],
)
async def file(call: Call[EmptyBody]) -> Response:
    """A piece of a file of a running sandbox, of at most 1 MiB, from the byte `offset` on (0 by default). A shorter
    piece is the last one. The sandbox has no event of it."""
    offset = call.query_int("offset") or 0
    if not 0 <= offset <= limits.PIECES_BYTES:
        raise invalid(
            f"offset: must be from 0 to {limits.PIECES_BYTES}, not {offset}; read what is behind it with exec"
        )
    path = call.query("path")
    if not path:
        raise invalid("path: is missing; name a file, such as /workspace/a.txt")
    sandbox = named_sandbox(call)
    with observing():
        account = call.platform.store.accounts[sandbox.account_id]
        return Response(await call.platform.files.read_piece(account, sandbox.id, path, offset), media_type=BYTES)


@record_list(operations, "/snapshots", "inventory.snapshots", SnapshotRecord, "SnapshotRecord", query=SnapshotQuery)
async def snapshots(call: Call[EmptyBody]) -> list[SnapshotRecord]:
    """Oldest first, also of sandboxes that are gone; `sandbox`: taken of it; `last`: the newest so many only."""
    wanted = _sandbox(call)
    return [
        SnapshotRecord(
            id=snapshot.id,
            account=account.id,
            sandbox=snapshot.sandbox_id,
            name=snapshot.name,
            description=snapshot.description,
            status=snapshot.status,
            automatic=snapshot.trigger == "auto",
        )
        for account in _accounts(call)
        for snapshot in call.platform.snapshots.of_account(account)
        if wanted in (None, snapshot.sandbox_id)
    ]


@record_list(operations, "/sockets", "inventory.sockets", SocketRecord, "SocketRecord", query=SocketQuery)
async def sockets(call: Call[EmptyBody]) -> list[SocketRecord]:
    """Open terminals, streaming execs and MCP connections, oldest first. `wait`: look again until there are none, for
    so many seconds at the most."""
    wanted = _sandbox(call)
    await call.platform.sockets.wait_for_none(call.account.id, _seconds(call.query("wait")))
    return [
        SocketRecord(account=socket.account_id, sandbox=socket.sandbox_id, kind=socket.kind, opened_at=socket.opened_at)
        for socket in call.platform.sockets.of(call.account.id)
        if wanted in (None, socket.sandbox_id)
    ]


def _seconds(text: Any) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_SOCKET_WAIT:
        raise invalid(f"wait: must be seconds from 0 to {MOST_SOCKET_WAIT:g}, not {shown(text)}")
    return seconds


@operations.call("POST", "/reset-controls", "reset_controls")
async def reset_controls(call: Call[EmptyBody]) -> Response:
    """Remove the account's controls (faults, stubs, agents' replies, its time) and its journal. What the account has
    (sandboxes, snapshots, keys) stays."""
    await call.platform.reset_controls(call.account)
    return no_content()
