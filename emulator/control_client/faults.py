"""Faults that are injected into requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

from ..control.faults import Drop, Outcome
from .admin_client import AdminClient
from .checking import amount, check_int, check_str
from .handle import Handle
from .operations import OperationName
from .transport import IdOrObject

#: Seconds, by themselves or as `{"retry_after": 7}`.
RetryAfter = Union[int, Mapping[str, int]]


@dataclass(frozen=True)
class FaultInfo:
    """A fault as the emulator has it.

    Attributes:
        account: Id of the account to which it applies, or `*`.
        options: Its options that are not the defaults.
        seen: Requests that matched.
        fired: Requests on which it had its effect.
        described: The fault in one line.
    """

    id: str
    account: str
    options: dict[str, Any]
    optional: bool
    seen: int
    fired: int
    described: str

    def __str__(self) -> str:
        return f"{self.described}: triggered by {self.fired} of {self.seen} matching requests"


class Fault(Handle):
    """The handle of a fault that was added: see `Added` for its use in a `with` statement. Requests that hang by it
    end, without an answer, when it is removed."""

    @property
    def _path(self) -> str:
        return f"/faults/{self.id}"

    @property
    def info(self) -> FaultInfo:
        return FaultInfo(**self._link.call("GET", self._path, account="*"))

    @property
    def fired(self) -> int:
        """How often it has triggered so far: on how many requests it had its effect."""
        return self.info.fired

    def _complaint(self) -> str:
        info = self.info
        return "" if info.fired or info.optional else unfired([info])


def unfired(faults: list[FaultInfo]) -> str:
    """The message about faults that never triggered."""
    lines = [f"  {fault.described} ({_why(fault)})" for fault in faults]
    hint = "remove it, correct what it matches, or add it with optional=True"
    return "\n".join(["a fault never fired:" if len(lines) == 1 else "faults never fired:", *lines, hint])


def _why(fault: FaultInfo) -> str:
    if not fault.seen:
        return "no request matched"
    if fault.seen <= int(fault.options.get("after", 0)):
        return f"{fault.seen} requests matched, all of them within `after`"
    if "probability" in fault.options:
        return f"{fault.seen} requests matched, and the effect did not happen on any of them"
    return f"{fault.seen} requests matched, but ended before the effect"


class Faults:
    """Faults of one account: the selected one, unless `account` names another. `account="*"` applies to every account.

    A request meets at most one fault: the first that matches and whose turn it is, first of its own account, then of
    every account, each in the order in which they were added. `list` shows what applies, in that order. `clear` removes
    what was added for exactly that account.
    """

    def __init__(self, link: AdminClient) -> None:
        self._link = link

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
    ) -> Fault:
        """Inject a fault into matching requests, until it is removed.

        It has triggered when its effect has happened, and only such requests count for `times`, for `fired` and in the
        journal. Where a request ends before (the command is over before `delay`, the answer has less than `truncate`
        bytes, the client disconnects, the operation is refused), the fault stays armed.

        Args:
            operation: The SDK's name of the operation such as `sandboxes.exec`, a glob (`snapshots.*`), or method and
                path in one ("POST /v1/sandboxes/*/exec"). All of `operation`, `method`, `path` and `sandbox` that are
                given have to match.
            method: HTTP method.
            path: A glob such as `/v1/sandboxes/*/files`.
            sandbox: A sandbox of the account, or its id.
            status: Answer with this status, 400 to 599, and the platform's problem, without running the operation.
            reason: Code of the problem (with `status`).
            detail: Text of the problem (with `status` or `rate_limit`) or of the error (`unreachable`, `outcome`).
            body: Replaces the problem (with `status`).
            retry_after: Seconds in the `Retry-After` header (with `status`).
            times: How often it triggers; always by default.
            after: Matching requests that pass before that.
            probability: Of each request, by the emulator's seed.
            delay: Seconds before the effect. Alone, the answer is late; a client that gives up by then has met it.
            drop: Break the connection "before" the operation runs, "after" it, or in its answer ("mid-body"; an answer
                without a body is dropped whole). Of a WebSocket: "before" it is open, or else `delay` seconds later.
            truncate: Cut the answer after so many bytes (of a WebSocket: whole messages, up to so many characters). A
                shorter answer is left as it is.
            hang: Never answer.
            close_socket: Close a WebSocket with this code, `delay` seconds after it was opened.
            unreachable: exec answers with `error`, as for a sandbox that cannot be reached.
            rate_limit: Answer 429, to be retried after so many seconds (or `{"retry_after": 7}`).
            outcome: "error" (the new sandbox), "failed" (the new snapshot), or "dies": all processes of the sandbox are
                killed `delay` seconds into the exec, terminal or MCP socket, if that is not over by then. For terminals
                and streams use operation="sandboxes.terminal".
            optional: Do not report it when it never triggers.

        Raises:
            ValueError, TypeError: An argument is wrong, or would be without effect; the text starts with its name.
        """
        options = dict(locals())
        del options["self"], options["account"]
        if isinstance(rate_limit, Mapping):
            if set(rate_limit) != {"retry_after"}:
                raise ValueError(f"rate_limit: must be seconds or {{'retry_after': seconds}}, not {dict(rate_limit)!r}")
            options["rate_limit"] = rate_limit["retry_after"]
        for name in ("delay", "probability"):
            options[name] = amount(name, options[name])
        for name in ("status", "retry_after", "times", "after", "truncate", "close_socket", "rate_limit"):
            if options[name] is not None:
                check_int(name, options[name])
        for name in ("operation", "method", "path", "reason", "detail", "body", "drop", "outcome"):
            if options[name] is not None:
                check_str(name, options[name])
        added = self._link.call("POST", "/faults", _given(options), account=account)
        return Fault(added["id"], self._link)

    def list(self, *, account: Optional[IdOrObject] = None) -> list[FaultInfo]:
        """All that apply to the account, in the order in which they are tried: its own, then those of every account."""
        return [FaultInfo(**told) for told in self._link.call("GET", "/faults", account=account)]

    def remove(self, fault_id: str) -> None:
        """Remove a fault. Requests that hang by it end, without an answer.

        Raises:
            EmulatorError: There is none with this id.
        """
        self._link.call("DELETE", f"/faults/{fault_id}", account="*")

    def clear(self, *, account: Optional[IdOrObject] = None) -> None:
        """Remove all that were added for exactly this account, or for `*`."""
        self._link.call("DELETE", "/faults", account=account)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
