"""Making calls go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

from ..control.faults import Drop, Outcome
from .added import Added
from .link import Link, Of
from .operations import OperationName

#: Seconds, by themselves or as `{"retry_after": 7}`.
RetryAfter = Union[int, Mapping[str, int]]


@dataclass(frozen=True)
class FaultInfo:
    """`seen`: calls that fitted. `fired`: those that met it. `options`: as it was asked for."""

    id: str
    account: str
    options: dict[str, Any]
    optional: bool
    seen: int
    fired: int
    described: str

    def __str__(self) -> str:
        return f"{self.described}: fired {self.fired} of {self.seen} calls that fitted"


class Fault(Added):
    """One that was added. Calls that hang by it end, without an answer, when it is removed."""

    @property
    def _path(self) -> str:
        return f"/faults/{self.id}"

    @property
    def info(self) -> FaultInfo:
        return FaultInfo(**self._link.call("GET", self._path, account="*"))

    @property
    def fired(self) -> int:
        """How many calls met it so far."""
        return self.info.fired

    def _complaint(self) -> str:
        info = self.info
        return "" if info.fired or info.optional else unfired([info])


def unfired(faults: list[FaultInfo]) -> str:
    """What to say of faults that were asked for and never met a call."""
    lines = [f"  {fault.described} ({fault.seen} calls fitted)" for fault in faults]
    hint = "remove it, correct what it is to match, or add it with optional=True"
    return "\n".join(["a fault never fired:" if len(lines) == 1 else "faults never fired:", *lines, hint])


class Faults:
    """Faults of one account (the one that the test works with, unless `account` names another, or `"*"` for all)."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def add(
        self,
        operation: Optional[OperationName] = None,
        *,
        method: Optional[str] = None,
        path: Optional[str] = None,
        sandbox: Optional[Of] = None,
        status: Optional[int] = None,
        reason: Optional[str] = None,
        detail: Optional[str] = None,
        body: Optional[str] = None,
        retry_after: Optional[int] = None,
        times: Optional[int] = None,
        after: int = 0,
        probability: float = 1.0,
        delay: float = 0.0,
        drop: Optional[Drop] = None,
        truncate: Optional[int] = None,
        hang: bool = False,
        close_socket: Optional[int] = None,
        unreachable: bool = False,
        rate_limit: Optional[RetryAfter] = None,
        outcome: Optional[Outcome] = None,
        optional: bool = False,
        account: Optional[Of] = None,
    ) -> Fault:
        """A fault from now on, until it is removed. The first that fits a call, in the order they came, is the one.

        Which calls (all that is given has to fit): `operation`, the SDK's name such as `sandboxes.exec`, a pattern
        (`snapshots.*`), or method and path in one ("POST /v1/sandboxes/*/exec"); `method`; `path`, a pattern
        (`/v1/sandboxes/*/files`); `sandbox`.

        When: the first `after` calls that fit pass, then `times` meet it (None: all), each with `probability`, by the
        emulator's seed.

        What, one of:
        `status` 400 to 599, as the platform's problem, with `reason` (its code), `detail`, `retry_after` (seconds), or
        with `body` in the problem's place; `rate_limit`: 429, to be tried again after so many seconds
        (or `{"retry_after": 7}`);
        `drop`: the connection breaks "before" the call is done, "after" it, or in its answer ("mid-body"); that of a
        WebSocket "before" it is open, or else `delay` seconds after that;
        `truncate`: so many bytes of the answer arrive (of a WebSocket: whole messages, up to so many characters);
        `hang`: no answer ever; `close_socket`: a WebSocket closes with that code, `delay` seconds after it was opened;
        `unreachable`: exec answers with `error`, as for a sandbox that cannot be reached;
        `outcome`: "error" (the new sandbox), "failed" (the new snapshot), "dies" (all processes of the sandbox, `delay`
        seconds into the exec, terminal or MCP socket, when that is not over by then; operation="sandboxes.terminal" is
        for terminals and streams).
        `delay`: seconds before that; alone, the call is only late.

        `optional`: nobody minds when it never fires. ValueError, naming the option, for what makes no sense.
        """
        options = dict(locals())
        del options["self"], options["account"]
        if isinstance(rate_limit, Mapping):
            options["rate_limit"] = rate_limit["retry_after"]
        for name in ("delay", "probability"):
            options[name] = float(options[name])
        added = self._link.call("POST", "/faults", _given(options), account=account)
        return Fault(added["id"], self._link)

    def list(self, *, account: Optional[Of] = None) -> list[FaultInfo]:
        """In the order in which they are tried."""
        return [FaultInfo(**told) for told in self._link.call("GET", "/faults", account=account)]

    def remove(self, fault_id: str) -> None:
        """Calls that hang by it end, without an answer. EmulatorError when there is none of that id."""
        self._link.call("DELETE", f"/faults/{fault_id}", account="*")

    def clear(self, *, account: Optional[Of] = None) -> None:
        """All of the account's."""
        self._link.call("DELETE", "/faults", account=account)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
