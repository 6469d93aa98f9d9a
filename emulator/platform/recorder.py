"""What happens in a sandbox, recorded where a test looks for it: its log, its events, the journal."""

from __future__ import annotations

import logging
from typing import Any, Optional, Protocol, Union

from ..control.agent_replies import AgentReply
from ..control.callbacks import CallbackErrors
from ..control.clock import Clock
from ..control.journal import TEXT_CHARACTERS, Journal
from ..control.records import CommandRecord
from ..control.stubs import Stub
from ..store import LogEntry, Sandbox
from .redaction import redact_for

logger = logging.getLogger(__name__)

#: A control that may have a function of a test.
Control = Union[Stub, AgentReply]
#: Characters of a command's output that the journal keeps.
OUTPUT_KEPT = 16_384
#: Lines of a sandbox's log, and characters of one.
LOG_LINES, LOG_CHARACTERS = 5000, 8192


class EventRecorder(Protocol):
    """Records events of sandboxes."""

    def record(self, sandbox: Sandbox, kind: str, data: dict[str, Any], duration_ms: float = 0.0) -> None: ...


class SandboxRecorder:
    """Writes a sandbox's log, events and journal records. Secrets and credentials are redacted in all of them."""

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        events: EventRecorder,
        callback_errors: CallbackErrors,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._events = events
        self._callback_errors = callback_errors

    def log(self, sandbox: Sandbox, message: str, kind: str = "lifecycle") -> None:
        """Add a line of type `kind` to a sandbox's log."""
        sandbox.logs.append(LogEntry(self._clock.timestamp(), kind, redact_for(sandbox, message, LOG_CHARACTERS)))
        del sandbox.logs[:-LOG_LINES]

    def record_event(self, sandbox: Sandbox, kind: str, data: dict[str, Any], duration_ms: float = 0.0) -> None:
        """Record an event that is just over. `kind`: one of docs/contract/wire-contract.md 3.7, e.g. `file_op`."""
        self._events.record(sandbox, kind, data, duration_ms)

    def record_command(
        self,
        sandbox: Sandbox,
        data: dict[str, Any],
        duration_ms: float,
        source: str = "exec",
        output: Optional[str] = None,
        stub: str = "",
        truncated: bool = False,
    ) -> None:
        """Record a command that was run, or typed into a terminal, as an event and in the journal.

        Args:
            data: The event's data: `command`, `exit_code` (None when there is none) and more.
            source: What ran the command: `exec`, `stream`, `terminal`, `mcp` or `build`.
            output: What it printed, None when that is not known.
            stub: The id of the stub that answered; empty when the command really ran.
            truncated: The output was cut at its limit.
        """
        self.record_event(sandbox, "command", data, duration_ms)
        self._journal.add_command(
            CommandRecord(
                self._clock.timestamp(),
                sandbox.account_id,
                sandbox.id,
                redact_for(sandbox, data["command"], TEXT_CHARACTERS),
                data.get("exit_code"),
                source,
                round(duration_ms, 3),
                None if output is None else redact_for(sandbox, output, OUTPUT_KEPT, mark=False),
                stub,
                truncated,
            )
        )

    def record_lifecycle(
        self, sandbox: Sandbox, action: str, message: str, kind: str = "lifecycle", **more: Any
    ) -> None:
        """Record a step in a sandbox's life, as a line of type `kind` in its log and as a lifecycle event."""
        self.log(sandbox, message, kind)
        self.record_event(sandbox, "lifecycle", {"action": action, "message": message, **more})

    def record_error(self, sandbox: Sandbox, message: str) -> None:
        """Record an error in a sandbox, as a line in its log and as an error event."""
        self.log(sandbox, message, "error")
        self.record_event(sandbox, "error", {"message": message})

    def record_callback_error(self, sandbox: Sandbox, control: Control, error: BaseException) -> str:
        """Record that the function of a stub or reply raised, or that the reply's files could not be written, so that
        the test can be failed by it.

        Returns:
            The exception, in one line or more.
        """
        recorded = self._callback_errors.add(
            at=self._clock.timestamp(),
            account=sandbox.account_id,
            sandbox=sandbox.id,
            control=control.id,
            described=str(control),
            error=error,
            allowed=control.allow_errors,
        )
        logger.error("%s: %s failed: %s", sandbox.id, control, recorded.error)
        return recorded.error
