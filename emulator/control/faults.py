"""Faults that are injected into requests: which requests, when, and with what effect.

`wire/fault_injection/` has the effects.

A request that matches a fault is *seen*. When it is the fault's turn, the request *takes* it (an Injection), and only
when the effect has happened the fault has *triggered*: a connection was broken, an answer replaced or cut, a process
was killed. A request that took the fault and ended before the effect gives it back, so that a fault with `times=1`
stays armed for the next request.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Callable, Literal, Optional, get_args

from .capacity import Capacity
from .current_account import ALL_ACCOUNTS, in_order
from .randomness import Randomness
from .routes import Route, check_reachable

#: When the connection breaks: before the call is done, after it, or in the middle of its answer.
Drop = Literal["before", "after", "mid-body"]
#: How what a call begins ends: a sandbox, a snapshot, or the processes of a sandbox.
Outcome = Literal["error", "failed", "dies"]
DROPS = get_args(Drop)
#: outcome -> the calls that it is of
OUTCOMES = {
    "error": ("sandboxes.create",),
    "failed": ("snapshots.create",),
    "dies": ("sandboxes.exec", "sandboxes.terminal", "sandboxes.mcp"),
}
#: The calls that are WebSockets.
SOCKETS = ("sandboxes.terminal", "sandboxes.mcp")
#: A call that hangs ends by itself after this, also when its client would wait for ever.
HANG_SECONDS = 600.0


@dataclass
class Fault:
    """One fault. `control_client/faults.py` describes the options.

    Attributes:
        seen: Requests that matched.
        fired: Requests for which the effect happened.
        pending: Requests that took it and whose effect is still to come. They count for `times`.
        removed: Set when the fault is removed; requests that hang end then.
    """

    id: str
    account: str
    operation: Optional[str] = None
    method: Optional[str] = None
    path: Optional[str] = None
    sandbox: Optional[str] = None
    status: Optional[int] = None
    reason: Optional[str] = None
    detail: Optional[str] = None
    body: Optional[str] = None
    retry_after: Optional[int] = None
    times: Optional[int] = None
    after: int = 0
    probability: float = 1.0
    delay: float = 0.0
    drop: Optional[str] = None
    truncate: Optional[int] = None
    hang: bool = False
    close_socket: Optional[int] = None
    unreachable: bool = False
    rate_limit: Optional[int] = None
    outcome: Optional[str] = None
    optional: bool = False
    seen: int = 0
    fired: int = 0
    pending: int = 0
    removed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: An option is wrong or would be without effect; the text starts with its name.
        """
        effects = {
            "status": self.status is not None,
            "rate_limit": self.rate_limit is not None,
            "drop": self.drop is not None,
            "truncate": self.truncate is not None,
            "hang": self.hang,
            "close_socket": self.close_socket is not None,
            "unreachable": self.unreachable,
            "outcome": self.outcome is not None,
        }
        chosen = [name for name, given in effects.items() if given]
        if len(chosen) > 1:
            raise ValueError(f"{chosen[1]}: cannot be had together with {chosen[0]}; add two faults")
        if not chosen and not self.delay:
            raise ValueError(f"the fault has no effect: give one of {', '.join(effects)} or a delay")
        self._check_numbers()
        if self.drop is not None and self.drop not in DROPS:
            raise ValueError(f"drop: {self.drop!r} is unknown; use one of {', '.join(DROPS)}")
        if self.status is None and (self.reason is not None or self.body is not None or self.retry_after is not None):
            raise ValueError("reason, body and retry_after: need a status")
        if self.body is not None and (self.reason is not None or self.detail is not None):
            raise ValueError("body: replaces the whole answer; leave out reason and detail")
        if self.detail is not None and chosen not in (["status"], ["rate_limit"], ["unreachable"], ["outcome"]):
            raise ValueError("detail: needs status, rate_limit, unreachable or outcome")
        if self.detail is not None and self.outcome == "dies":
            raise ValueError("detail: is not used with outcome='dies'")
        if self.outcome is not None:
            self._check_outcome(self.outcome)
        if self.unreachable:
            self.operation = self.operation or "sandboxes.exec"
            if self.operation != "sandboxes.exec":
                raise ValueError("unreachable: only exec answers so; use operation='sandboxes.exec'")
        if self.close_socket is not None and not self._may_be(SOCKETS):
            raise ValueError(f"close_socket: {self.operation} is not a WebSocket; use one of {', '.join(SOCKETS)}")
        if self.close_socket is not None and (self.method or "GET").upper() != "GET":
            raise ValueError(f"method: a WebSocket is opened with GET, not {self.method}")

    def _check_numbers(self) -> None:
        if self.status is not None and not _is_error(self.status):
            raise ValueError(f"status: {self.status} is not an HTTP error; use one from 400 to 599 that has a name")
        if self.times is not None and self.times < 1:
            raise ValueError("times: must be at least 1")
        for name in ("after", "delay", "truncate", "rate_limit", "retry_after"):
            number = getattr(self, name) or 0
            if not math.isfinite(number) or number < 0:
                raise ValueError(f"{name}: must be a finite number and must not be negative, not {number}")
        if not 0 < self.probability <= 1:
            raise ValueError("probability: must be above 0 and at most 1")
        if self.close_socket is not None and not _is_close_code(self.close_socket):
            raise ValueError(
                f"close_socket: {self.close_socket} cannot be sent; use 1000 to 1003, 1007 to 1014 or 3000 to 4999"
            )
        if self.path is not None and not self.path.startswith(("/", "*")):
            raise ValueError(
                f"path: {self.path!r} matches nothing; a path begins with a slash, as in /v1/sandboxes/*/exec"
            )

    def _check_outcome(self, outcome: str) -> None:
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome: {outcome!r} is unknown; use one of {', '.join(OUTCOMES)}")
        if self.operation is None:
            self.operation = OUTCOMES[outcome][0]
        if self.operation not in OUTCOMES[outcome]:
            raise ValueError(f"outcome: {outcome!r} applies to {', '.join(OUTCOMES[outcome])}, not to {self.operation}")

    @property
    def exhausted(self) -> bool:
        return self.times is not None and self.fired + self.pending >= self.times

    @property
    def interrupts(self) -> bool:
        """A WebSocket, after it was opened."""
        return (
            self.close_socket is not None
            or self.truncate is not None
            or self.outcome == "dies"
            or self.drop in ("after", "mid-body")
        )

    def _may_be(self, operations: Collection[str]) -> bool:
        return self.operation is None or any(fnmatchcase(name, self.operation) for name in operations)

    def fits(self, account: str, operation: str, method: str, path: str, sandbox: str) -> bool:
        return (
            self.account in (account, ALL_ACCOUNTS)
            and (self.close_socket is None or operation in SOCKETS)
            and (self.operation is None or fnmatchcase(operation, self.operation))
            and (self.method is None or method.upper() == self.method.upper())
            and (self.path is None or fnmatchcase(path, self.path))
            and (self.sandbox is None or self.sandbox == sandbox)
        )

    def __str__(self) -> str:
        """With its options: operation='sandboxes.exec', status=503."""
        names = ["operation", "method", "path", "sandbox", "status", "reason", "rate_limit", "drop", "truncate"]
        names += ["close_socket", "outcome", "hang", "unreachable", "delay", "after", "times", "probability"]
        given = {name: getattr(self, name) for name in names}
        shown = [f"{name}={value!r}" for name, value in given.items() if value is not None and value is not False]
        shown = [text for text in shown if text not in ("delay=0.0", "after=0", "probability=1.0")]
        shown += ["account='*'"] if self.account == ALL_ACCOUNTS else []
        return f"fault {self.id} ({', '.join(shown)})"


class Injection:
    """One fault, taken by one request.

    Args:
        fault: The fault.
        on_trigger: Called once, when the effect has happened.
    """

    def __init__(self, fault: Fault, on_trigger: Callable[[], None] = lambda: None) -> None:
        self.fault = fault
        self._on_trigger = on_trigger
        self._open = True
        fault.pending += 1

    def trigger(self) -> None:
        """The effect has happened. Harmless to repeat."""
        if self._open:
            self._open = False
            self.fault.pending -= 1
            self.fault.fired += 1
            self._on_trigger()

    def release(self) -> None:
        """The request is over. Without a trigger by then, the fault is armed again."""
        if self._open:
            self._open = False
            self.fault.pending -= 1


def _is_close_code(code: int) -> bool:
    """One that may travel: 1004 to 1006 and 1015 only ever stand for what did not."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _is_error(status: int) -> bool:
    try:
        return HTTPStatus(status) >= 400
    except ValueError:
        return False


class Faults:
    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._faults: dict[str, Fault] = {}
        self._room = Capacity("faults")
        #: All routes of the API, so that what no request matches is refused; set when they are made.
        self.routes: Callable[[], Collection[Route]] = tuple

    def add(self, account: str, **options: object) -> Fault:
        """Add a fault. An operation like `POST /v1/sandboxes` is a method and a path.

        Raises:
            ValueError: An option is wrong; the text starts with its name.
        """
        method, space, path = str(options.get("operation") or "").partition(" ")
        if space and path.startswith("/"):
            options = {**options, "operation": None, "method": method, "path": path}
        fault = Fault(id=self._randomness.identifier("fault", self._faults), account=account, **options)  # type: ignore[arg-type]
        fault.check()
        routes = self.routes()
        if routes:
            check_reachable(
                routes, operation=fault.operation, method=fault.method, path=fault.path, sandbox=fault.sandbox
            )
        self._room.take(fault, self._faults)
        self._faults[fault.id] = fault
        return fault

    def of(self, account: str) -> list[Fault]:
        """All that apply to an account (those of every account alone for `*`), in the order in which they are tried."""
        return in_order(self._faults.values(), account)

    def get(self, fault_id: str) -> Optional[Fault]:
        return self._faults.get(fault_id)

    def remove(self, fault: Fault) -> None:
        """Requests that hang end."""
        self._faults.pop(fault.id, None)
        fault.removed.set()

    def clear(self, account: str) -> None:
        """Remove those that were added for exactly this account, or for `*`."""
        for fault in self.of(account):
            if fault.account == account:
                self.remove(fault)

    def clear_all(self) -> None:
        for fault in tuple(self._faults.values()):
            self.remove(fault)

    def take(
        self,
        account: str,
        operation: str,
        method: str,
        path: str,
        sandbox: str,
        on_trigger: Callable[[str], None] = lambda _id: None,
    ) -> Optional[Injection]:
        """The first fault whose turn it is with this request. To be released when the request is over.

        Args:
            on_trigger: Called with the fault's id when its effect has happened.
        """
        for fault in self.of(account) if self._faults else ():
            if not fault.fits(account, operation, method, path, sandbox):
                continue
            fault.seen += 1
            if fault.seen <= fault.after or fault.exhausted:
                continue
            if fault.probability < 1 and self._randomness.number("fault") >= fault.probability:
                continue
            return Injection(fault, functools.partial(on_trigger, fault.id))
        return None
