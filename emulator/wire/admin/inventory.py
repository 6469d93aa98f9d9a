"""What an account has now: sandboxes with their logs, snapshots, open sockets. No faults and limits apply here, and the
journal does not show it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ...control.current_account import ALL_ACCOUNTS
from ...platform.errors import invalid
from ...store import Account
from ..operation import Call, Model, NoBody, json_reply, no_content
from ..sandboxes import LogLine
from .operations import Admin

operations = Admin()
_LONGEST_WAIT = 5.0


class HeldSandbox(Model):
    id: str
    account: str
    status: str
    template: str
    created_at: str


class HeldSnapshot(Model):
    """`automatic`: taken because its sandbox was paused."""

    id: str
    account: str
    sandbox: str
    name: str
    description: str
    status: str
    automatic: bool


class HeldSocket(Model):
    """`kind`: terminal, stream or mcp."""

    account: str
    sandbox: str
    kind: str
    opened_at: str


def _accounts(call: Call[Any]) -> list[Account]:
    return list(call.platform.store.accounts.values()) if call.account.id == ALL_ACCOUNTS else [call.account]


@operations.call("GET", "/sandboxes", "inventory.sandboxes", reply=list[HeldSandbox])
async def sandboxes(call: Call[NoBody]) -> Response:
    """Oldest first."""
    return json_reply(
        [
            HeldSandbox(
                id=sandbox.id,
                account=account.id,
                status=sandbox.status,
                template=sandbox.template,
                created_at=sandbox.created_at,
            )
            for account in _accounts(call)
            for sandbox in call.platform.sandboxes.of(account)
        ]
    )


@operations.call("GET", "/sandboxes/{id}/logs", "inventory.logs", reply=list[LogLine], query={"last": int})
async def logs(call: Call[NoBody]) -> Response:
    """Of a sandbox of any account; `last`: the newest so many lines only."""
    lines = call.platform.sandboxes.logs(call.platform.sandboxes.of_any(call.param("id")), call.query_int("last"))
    return json_reply([LogLine(timestamp=x.timestamp, type=x.type, message=x.message) for x in lines])


@operations.call("GET", "/snapshots", "inventory.snapshots", reply=list[HeldSnapshot])
async def snapshots(call: Call[NoBody]) -> Response:
    """Oldest first, also of sandboxes that are gone."""
    return json_reply(
        [
            HeldSnapshot(
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
        ]
    )


@operations.call("GET", "/sockets", "inventory.sockets", reply=list[HeldSocket], query={"wait": float})
async def sockets(call: Call[NoBody]) -> Response:
    """Open terminals, streaming execs and MCP connections, oldest first. `wait`: look again until there are none, for
    so many seconds at the most."""
    await call.platform.sockets.wait_for_none(call.account.id, _seconds(call.query("wait")))
    return json_reply(
        [
            HeldSocket(
                account=socket.account_id, sandbox=socket.sandbox_id, kind=socket.kind, opened_at=socket.opened_at
            )
            for socket in call.platform.sockets.of(call.account.id)
        ]
    )


def _seconds(text: Any) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_WAIT:
        raise invalid(f"wait: must be seconds from 0 to {_LONGEST_WAIT:g}")
    return seconds


@operations.call("POST", "/forget", "forget")
async def forget(call: Call[NoBody]) -> Response:
    """What a test asked of the account (faults, stubs, agents' replies, its time) and its journal go. What the account
    has (sandboxes, snapshots, keys) stays."""
    await call.platform.forget(call.account)
    return no_content()
