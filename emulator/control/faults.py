"""Faults that are injected into requests: the options of a fault, and which requests it matches.

A fault option is one field of `Fault`, and one parameter of `FaultMethods.add`. The effects on requests and WebSockets
are in `wire/fault_injection/`; `unreachable` and the end of an exec's processes are in `platform/execs.py`; a create or
snapshot that fails takes its reason from `injected_failure` in `wire/operation.py`.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, Literal, Optional, TypeVar

from .description import named, option, options_of
from .identifiers import IdOrObject
from .operations import OperationName
from .patterns import matches_glob
from .records import value
from .registry import Control, ControlInfo
from .values import RetryAfter, seconds_of

#: When the connection breaks: before the operation has run, after it, or in the middle of its answer.
Drop = Literal["before", "after", "mid-body"]
#: How what an operation begins ends: a sandbox, a snapshot, or the processes of a sandbox.
Outcome = Literal["error", "failed", "dies"]
#: outcome -> the operations that can have it, the default first
OUTCOMES = {
    "error": ("sandboxes.create",),
    "failed": ("snapshots.create",),
    "dies": ("sandboxes.exec", "sandboxes.terminal", "sandboxes.mcp"),
}
#: The operations that are WebSockets.
SOCKETS = ("sandboxes.terminal", "sandboxes.mcp")
#: A request that hangs ends by itself after this, also when its client would wait longer.
HANG_SECONDS = 600.0
H = TypeVar("H")


def default_detail(id: str) -> str:
    """The text of an injected error whose fault has no `detail`."""
    return f"injected by fault {id}"


@dataclass(frozen=True)
class FaultInfo(ControlInfo):
    """A fault as the emulator has it."""

    seen: int = value("Requests that matched.", column=True)
    triggered: int = value("Requests on which it had its effect.", column=True)

    @property
    def is_unused(self) -> bool:
        """Whether it never triggered and is not optional."""
        return not self.triggered and not self.optional

    def __str__(self) -> str:
        return f"{self.described}: triggered by {self.triggered} of {self.seen} matching requests"


@dataclass
class Fault(Control):
    """One fault: its options, and what has become of it.

    Attributes:
        seen: Requests that matched.
        triggered: Requests for which the effect happened.
        pending: Requests that took it and whose effect is still to come. They count for `times`.
    """

    NOUN = "fault"

    operation: Optional[str] = option(
        None,
        "The SDK's name of the operation such as `sandboxes.exec`, a glob (`snapshots.*`), or method and path in one"
        ' ("POST /v1/sandboxes/*/exec"). All of `operation`, `method`, `path` and `sandbox` that are given have to'
        " match.",
    )
    method: Optional[str] = option(None, "HTTP method.")
    path: Optional[str] = option(None, "A glob such as `/v1/sandboxes/*/files`.")
    sandbox: Optional[str] = option(None, "A sandbox of the account, or its id.")
    status: Optional[int] = option(
        None,
        "Answer with this HTTP status, from 400 to 599, and the platform's problem, without running the operation.",
        is_effect=True,
    )
    reason: Optional[str] = option(None, "Code of the problem (with `status`).", needs=("status",))
    detail: Optional[str] = option(
        None,
        "Text of the problem (with `status` or `rate_limit`) or of the error (`unreachable`, `outcome`).",
        needs=("status", "rate_limit", "unreachable", "outcome"),
    )
    body: Optional[str] = option(None, "Replaces the problem (with `status`).", needs=("status",))
    retry_after: Optional[int] = option(
        None, "The `Retry-After` header (with `status`).", unit="seconds", at_least=0, needs=("status",)
    )
    times: Optional[int] = option(None, "How often it triggers; always by default.", at_least=1)
    after: int = option(0, "Matching requests that pass before that.", at_least=0)
    probability: float = option(
        1.0, "Of each request, above 0 and at most 1, by the emulator's seed.", above=0, at_most=1
    )
    delay: float = option(
        0.0,
        "Time before the effect. Alone, the answer is late; it has triggered even if the client gives up.",
        unit="seconds",
        at_least=0,
    )
    drop: Optional[Drop] = option(
        None,
        'Break the connection "before" the operation runs, "after" it, or in its answer ("mid-body"; an answer without'
        ' a body is dropped whole). Of a WebSocket: "before" it is open, or else `delay` seconds later.',
        is_effect=True,
    )
    truncate: Optional[int] = option(
        None,
        "Cut the answer after so many bytes (of a WebSocket: whole messages, up to so many characters). A shorter"
        " answer is left as it is.",
        unit="bytes",
        at_least=0,
        is_effect=True,
    )
    hang: bool = option(False, "Never answer.", is_effect=True)
    close_socket: Optional[int] = option(
        None, "Close a WebSocket with this code, `delay` seconds after it was opened.", is_effect=True
    )
    unreachable: bool = option(
        False, "exec answers with `error`, as for a sandbox that cannot be reached.", is_effect=True
    )
    rate_limit: Optional[int] = option(
        None,
        'Answer 429, to be retried after so many seconds (or `{"retry_after": 7}`).',
        type=RetryAfter,
        unit="seconds",
        at_least=0,
        is_effect=True,
    )
    outcome: Optional[Outcome] = option(
        None,
        '"error" (the new sandbox), "failed" (the new snapshot), or "dies": all processes of the sandbox are killed'
        " `delay` seconds into the exec, terminal or MCP socket, if that is not over by then. For terminals and streams"
        ' use operation="sandboxes.terminal".',
        is_effect=True,
    )
    optional: bool = option(False, "Do not report it when it never triggers.")
    seen: int = 0
    triggered: int = 0
    pending: int = 0
    _removed: Optional[asyncio.Event] = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Split an operation such as `POST /path`; fill in the operation that the effect implies."""
        self.rate_limit = seconds_of(self.rate_limit)
        method, space, path = self.operation.partition(" ") if isinstance(self.operation, str) else ("", "", "")
        if space and path.startswith("/"):
            self.operation, self.method, self.path = None, method, path
        if self.operation is None and self.unreachable:
            self.operation = "sandboxes.exec"
        if self.operation is None and self.outcome is not None and self.outcome in OUTCOMES:
            self.operation = OUTCOMES[self.outcome][0]

    def check(self) -> None:
        if not self.has_effect and not self.delay:
            raise ValueError(f"the fault has no effect: give one of {', '.join(_effects())} or a delay")
        super().check()
        if self.status is not None and not _is_error(self.status):
            raise ValueError(f"status: {self.status} is not an HTTP error; use one from 400 to 599 that has a name")
        if self.body is not None and (self.reason is not None or self.detail is not None):
            raise ValueError("body: replaces the whole answer; leave out reason and detail")
        if self.path is not None and not self.path.startswith(("/", "*")):
            raise ValueError(
                f"path: {self.path!r} matches nothing; a path begins with a slash, as in /v1/sandboxes/*/exec"
            )
        if self.unreachable and self.operation != "sandboxes.exec":
            raise ValueError("unreachable: only exec answers so; use operation='sandboxes.exec'")
        if self.truncate is not None and (self.method or "").upper() == "HEAD":
            raise ValueError("truncate: an answer to HEAD has no body to cut")
        if self.outcome is not None:
            self._check_outcome(self.outcome)
        if self.close_socket is not None:
            self._check_close(self.close_socket)

    def _check_outcome(self, outcome: str) -> None:
        if self.operation not in OUTCOMES[outcome]:
            raise ValueError(f"outcome: {outcome!r} applies to {', '.join(OUTCOMES[outcome])}, not to {self.operation}")
        if self.detail is not None and outcome == "dies":
            raise ValueError("detail: is not used with outcome='dies'")

    def _check_close(self, code: int) -> None:
        if not _is_close_code(code):
            raise ValueError(f"close_socket: {code} cannot be sent; use 1000 to 1003, 1007 to 1014 or 3000 to 4999")
        if self.operation is not None and not any(matches_glob(name, self.operation) for name in SOCKETS):
            raise ValueError(f"close_socket: {self.operation} is not a WebSocket; use one of {', '.join(SOCKETS)}")
        if self.method is not None and not matches_glob("GET", self.method.upper()):
            raise ValueError(f"method: a WebSocket is opened with GET, not {self.method}")

    @property
    def removed(self) -> asyncio.Event:
        """Set when the fault is removed; requests that hang end then.

        It is made on the emulator's loop: Python 3.9 cannot make one in a thread that has none, where the entries of a
        scenario file are checked.
        """
        if self._removed is None:
            self._removed = asyncio.Event()
        return self._removed

    @property
    def has_effect(self) -> bool:
        """Whether it does more than to delay the answer."""
        return any(getattr(self, name) is not None and getattr(self, name) is not False for name in _effects())

    @property
    def is_exhausted(self) -> bool:
        """Whether it has triggered as often as it may, or will have."""
        return self.times is not None and self.triggered + self.pending >= self.times

    @property
    def interrupts(self) -> bool:
        """Whether its effect comes after a WebSocket was opened."""
        return (
            self.close_socket is not None
            or self.truncate is not None
            or self.outcome == "dies"
            or self.drop in ("after", "mid-body")
        )

    def matches(self, operation: str, method: str, path: str, sandbox: str) -> bool:
        """Whether a request matches; it is one of an account to which the fault applies."""
        return (
            (self.close_socket is None or operation in SOCKETS)
            and (self.operation is None or matches_glob(operation, self.operation))
            and (self.method is None or matches_glob(method.upper(), self.method.upper()))
            and (self.path is None or matches_glob(path, self.path))
            and (self.sandbox is None or self.sandbox == sandbox)
        )

    @property
    def error_text(self) -> str:
        """The text of the error that it injects by `status` or `outcome`."""
        return self.detail or default_detail(self.id)

    def info(self) -> FaultInfo:
        return FaultInfo(**self._info_fields(), seen=self.seen, triggered=self.triggered)

    def __str__(self) -> str:
        return self._described(omit=["detail", "body", "retry_after"])


@functools.cache
def _effects() -> tuple[str, ...]:
    return tuple(one.name for one in options_of(Fault) if one.is_effect)


def _is_close_code(code: int) -> bool:
    """Whether a close frame may carry it: RFC 6455 7.4 reserves 1004 to 1006 and 1015."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _is_error(status: int) -> bool:
    try:
        return HTTPStatus(status) >= 400
    except ValueError:
        return False


class FaultMethods(Generic[H]):
    """The methods that add faults, as callers see them. H: the class of the handles that they return."""

    @named("faults.add")
    def add(
        self,
        operation: Optional[OperationName] = None,
        *,
        method: Optional[str] = None,
        path: Optional[str] = None,
        sandbox: Optional[IdOrObject] = None,
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
        account: Optional[IdOrObject] = None,
    ) -> H:
        """Inject a fault into matching requests, until it is removed.

        It has triggered when its effect has happened, and only such requests count for `times`, for `triggered` and in
        the journal. Where a request ends before (the command is over before `delay`, the answer has less than
        `truncate` bytes, the client disconnects, the operation is refused), the fault stays armed.

        Args:
            operation: The SDK's name of the operation such as `sandboxes.exec`, a glob (`snapshots.*`), or method and
                path in one ("POST /v1/sandboxes/*/exec"). All of `operation`, `method`, `path` and `sandbox` that are
                given have to match.
            method: HTTP method.
            path: A glob such as `/v1/sandboxes/*/files`.
            sandbox: A sandbox of the account, or its id.
            status: Answer with this HTTP status, from 400 to 599, and the platform's problem, without running the
                operation.
            reason: Code of the problem (with `status`).
            detail: Text of the problem (with `status` or `rate_limit`) or of the error (`unreachable`, `outcome`).
            body: Replaces the problem (with `status`).
            retry_after: The `Retry-After` header (with `status`). In seconds.
            times: How often it triggers; always by default.
            after: Matching requests that pass before that.
            probability: Of each request, above 0 and at most 1, by the emulator's seed.
            delay: Time before the effect. Alone, the answer is late; it has triggered even if the client gives up. In
                seconds.
            drop: Break the connection "before" the operation runs, "after" it, or in its answer ("mid-body"; an answer
                without a body is dropped whole). Of a WebSocket: "before" it is open, or else `delay` seconds later.
            truncate: Cut the answer after so many bytes (of a WebSocket: whole messages, up to so many characters). A
                shorter answer is left as it is. In bytes.
            hang: Never answer.
            close_socket: Close a WebSocket with this code, `delay` seconds after it was opened.
            unreachable: exec answers with `error`, as for a sandbox that cannot be reached.
            rate_limit: Answer 429, to be retried after so many seconds (or `{"retry_after": 7}`). In seconds.
            outcome: "error" (the new sandbox), "failed" (the new snapshot), or "dies": all processes of the sandbox are
                killed `delay` seconds into the exec, terminal or MCP socket, if that is not over by then. For terminals
                and streams use operation="sandboxes.terminal".
            optional: Do not report it when it never triggers.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The handle of the fault.

        Raises:
            ValueError, TypeError: An argument is wrong, or would be without effect; the text starts with its name.
        """
        return self._add_fault(dict(locals()))

    def _add_fault(self, arguments: dict[str, Any]) -> H:
        """Add a fault. `arguments`: the local names of `add`, `self` and `account` among them."""
        raise NotImplementedError
