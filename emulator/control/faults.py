"""What a test asked to go wrong: which calls, when, and in what way. Decided here; done in `wire/faulty.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Callable, Literal, Optional, get_args

from .chance import Chance
from .scope import EVERYBODY

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
    """Which calls: all of `operation` (`sandboxes.exec`, or a pattern such as `snapshots.*`), `method`, `path` (a
    pattern such as `/v1/sandboxes/*/exec`) and `sandbox` that are given have to fit; none given means every call.

    When: the first `after` calls that fit are left alone, then `times` of them meet it (None: all), each with
    `probability`.

    What, one of: `status` (with `reason`, `detail`, `retry_after`, or a `body` in place of the problem), `rate_limit`
    (a 429 that says so many seconds), `drop` (the connection breaks `before` the call is done, `after` it, or
    `mid-body` of its answer; of a WebSocket: `before` it is open, or else `delay` seconds after that), `truncate` (so
    many bytes of the answer arrive; of a WebSocket: messages with so many characters), `hang` (no answer),
    `close_socket` (the WebSocket closes with that code, after `delay`), `unreachable` (exec answers with `error`),
    `outcome` (`error`: the create ends so; `failed`: the snapshot does; `dies`: the sandbox's processes are killed
    `delay` seconds into it, when it is not over by then). `delay` (seconds) alone only makes the call late; with the
    others it comes before them.

    `optional`: nobody minds when it never fires.
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
    removed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def check(self) -> None:
        """ValueError, naming the option, for what cannot be done."""
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
            raise ValueError(f"nothing would go wrong: give one of {', '.join(effects)} or a delay")
        self._check_numbers()
        if self.drop is not None and self.drop not in DROPS:
            raise ValueError(f"drop: {self.drop!r} is unknown; use one of {', '.join(DROPS)}")
        if self.status is None and (self.reason is not None or self.body is not None or self.retry_after is not None):
            raise ValueError("reason, body and retry_after go with a status")
        if self.outcome is not None:
            self._check_outcome(self.outcome)
        if self.unreachable:
            self.operation = self.operation or "sandboxes.exec"
            if self.operation != "sandboxes.exec":
                raise ValueError("unreachable: only exec answers so; use operation='sandboxes.exec'")
        if self.close_socket is not None and not self._may_be(SOCKETS):
            raise ValueError(f"close_socket: {self.operation} is no WebSocket; use one of {', '.join(SOCKETS)}")

    def _check_numbers(self) -> None:
        if self.status is not None and not _is_error(self.status):
            raise ValueError(f"status: {self.status} is no error of HTTP; use one from 400 to 599 that has a name")
        if self.times is not None and self.times < 1:
            raise ValueError("times: must be at least 1")
        for name in ("after", "delay", "truncate", "rate_limit", "retry_after"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name}: must not be negative")
        if not 0 < self.probability <= 1:
            raise ValueError("probability: must be above 0 and at most 1")
        if self.close_socket is not None and not _is_close_code(self.close_socket):
            raise ValueError(
                f"close_socket: {self.close_socket} cannot be sent; use 1000 to 1003, 1007 to 1014 or 3000 to 4999"
            )
        if self.path is not None and not self.path.startswith(("/", "*")):
            raise ValueError(f"path: {self.path!r} fits nothing; paths begin with a slash, as in /v1/sandboxes/*/exec")

    def _check_outcome(self, outcome: str) -> None:
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome: {outcome!r} is unknown; use one of {', '.join(OUTCOMES)}")
        if self.operation is None:
            self.operation = OUTCOMES[outcome][0]
        if self.operation not in OUTCOMES[outcome]:
            raise ValueError(f"outcome: {outcome} is one of {', '.join(OUTCOMES[outcome])}, not of {self.operation}")

    @property
    def exhausted(self) -> bool:
        return self.times is not None and self.fired >= self.times

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
            self.account in (account, EVERYBODY)
            and (self.close_socket is None or operation in SOCKETS)
            and (self.operation is None or fnmatchcase(operation, self.operation))
            and (self.method is None or method.upper() == self.method.upper())
            and (self.path is None or fnmatchcase(path, self.path))
            and (self.sandbox is None or self.sandbox == sandbox)
        )

    def __str__(self) -> str:
        """As it would be asked for: operation='sandboxes.exec', status=503."""
        names = ["operation", "method", "path", "sandbox", "status", "reason", "rate_limit", "drop", "truncate"]
        names += ["close_socket", "outcome", "hang", "unreachable", "delay", "after", "times", "probability"]
        given = {name: getattr(self, name) for name in names}
        shown = [f"{name}={value!r}" for name, value in given.items() if value is not None and value is not False]
        shown = [text for text in shown if text not in ("delay=0.0", "after=0", "probability=1.0")]
        return f"fault {self.id} ({', '.join(shown)})"


def _is_close_code(code: int) -> bool:
    """One that may travel: 1004 to 1006 and 1015 only ever stand for what did not."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _is_error(status: int) -> bool:
    try:
        return HTTPStatus(status) >= 400
    except ValueError:
        return False


class Faults:
    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._faults: dict[str, Fault] = {}
        #: The names of all calls, so that a misspelt one is refused; set when the routes are made.
        self.operations: Callable[[], frozenset[str]] = frozenset

    def add(self, account: str, **options: object) -> Fault:
        """ValueError for options that make no sense. An operation like `POST /v1/sandboxes` is a method and a path."""
        method, space, path = str(options.get("operation") or "").partition(" ")
        if space and path.startswith("/"):
            options = {**options, "operation": None, "method": method, "path": path}
        fault = Fault(id=self._chance.identifier("fault", self._faults), account=account, **options)  # type: ignore[arg-type]
        fault.check()
        self._check_operation(fault.operation)
        self._faults[fault.id] = fault
        return fault

    def _check_operation(self, pattern: Optional[str]) -> None:
        known = self.operations() if pattern is not None else frozenset()
        if pattern is None or not known or any(fnmatchcase(name, pattern) for name in known):
            return
        import difflib  # for who misspells only

        near = difflib.get_close_matches(pattern, sorted(known), 3, 0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; they are named as in the SDK, e.g. sandboxes.exec"
        raise ValueError(f"operation: {pattern!r} is no call of the API{hint}")

    def of(self, account: str) -> list[Fault]:
        """In the order they came."""
        return [fault for fault in self._faults.values() if account in (fault.account, EVERYBODY)]

    def get(self, fault_id: str) -> Optional[Fault]:
        return self._faults.get(fault_id)

    def remove(self, fault: Fault) -> None:
        """What hangs by it goes on."""
        self._faults.pop(fault.id, None)
        fault.removed.set()

    def clear(self, account: str) -> None:
        for fault in self.of(account):
            self.remove(fault)

    def take(self, account: str, operation: str, method: str, path: str, sandbox: str) -> Optional[Fault]:
        """The first fault that this call meets; it counts as fired."""
        for fault in tuple(self._faults.values()) if self._faults else ():
            if not fault.fits(account, operation, method, path, sandbox):
                continue
            fault.seen += 1
            if fault.seen <= fault.after or fault.exhausted:
                continue
            if fault.probability < 1 and self._chance.number("fault") >= fault.probability:
                continue
            fault.fired += 1
            return fault
        return None
