"""What an account has now, seen past all faults, limits and the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .admin_client import AdminClient
from .transport import IdOrObject


@dataclass(frozen=True)
class HeldSandbox:
    id: str
    account: str
    status: str
    template: str
    created_at: str


@dataclass(frozen=True)
class HeldSnapshot:
    """`automatic`: taken because its sandbox was paused."""

    id: str
    account: str
    sandbox: str
    name: str
    description: str
    status: str
    automatic: bool


@dataclass(frozen=True)
class HeldSocket:
    """`kind`: terminal, stream (the terminal of a streaming exec) or mcp."""

    account: str
    sandbox: str
    kind: str
    opened_at: str


@dataclass(frozen=True)
class LogLine:
    timestamp: str
    type: str
    message: str

    def __str__(self) -> str:
        return f"{self.timestamp} {self.type}: {self.message}"


class Inventory:
    """Of one account (the one that the test works with, unless `account` names another, or `"*"` for all). Oldest
    first."""

    def __init__(self, link: AdminClient) -> None:
        self._link = link

    def sandboxes(self, *, account: Optional[IdOrObject] = None) -> list[HeldSandbox]:
        return [HeldSandbox(**told) for told in self._link.call("GET", "/sandboxes", account=account)]

    def logs(self, sandbox: str, *, last: Optional[int] = None) -> list[LogLine]:
        """Of a sandbox of any account. `last`: the newest so many lines only."""
        told = self._link.call("GET", f"/sandboxes/{sandbox}/logs", account="*", query={"last": last})
        return [LogLine(**line) for line in told]

    def snapshots(self, *, account: Optional[IdOrObject] = None) -> list[HeldSnapshot]:
        """Also of sandboxes that are gone."""
        return [HeldSnapshot(**told) for told in self._link.call("GET", "/snapshots", account=account)]

    def sockets(self, *, wait: float = 0.0, account: Optional[IdOrObject] = None) -> list[HeldSocket]:
        """Those open into the account's sandboxes. `wait`: seconds (5 at the most) that are given to sockets which are
        being closed; it returns as soon as none is left."""
        told = self._link.call("GET", "/sockets", account=account, query={"wait": wait or None})
        return [HeldSocket(**one) for one in told]
