"""What a terminal's transcript is: it sees what is typed and shown, and records the commands."""

from __future__ import annotations

from typing import Optional

from ..control.clock import Clock
from ..store import Sandbox
from . import limits
from .recorder import SandboxRecorder
from .redaction import redact_for


class Transcript:
    """Between a client and a shell in a terminal. Records each command as an event and in the sandbox's log, and lets
    command stubs answer in place of the shell.

    Attributes:
        source: The commands' `source` in the journal.
    """

    source = "terminal"

    def __init__(self, clock: Clock, recorder: SandboxRecorder, sandbox: Sandbox) -> None:
        self._clock = clock
        self._recorder = recorder
        self._sandbox = sandbox

    async def handle_input(self, text: str) -> tuple[str, str]:
        """Take what the client has typed. Return what the client is shown at once (shells show what is typed
        themselves), and what the shell gets."""
        raise NotImplementedError

    def handle_output(self, text: str) -> str:
        """Take what the shell shows, and return what the client is shown."""
        raise NotImplementedError

    @property
    def input_patience(self) -> Optional[float]:
        """Seconds without input after which `release_input` has to be called; None: never."""
        return None

    def release_input(self) -> str:
        """Return the input that was held back, for the shell."""
        return ""

    @property
    def output_patience(self) -> Optional[float]:
        """Seconds without output after which `release_output` has to be called; None: never."""
        return None

    def release_output(self) -> str:
        """Return the output that was hidden, for the client."""
        return ""

    def close(self) -> None:
        """Record what is left: the terminal is closed."""

    def _record(
        self, command: str, more: Optional[dict[str, object]] = None, milliseconds: float = 0.0, stub: str = ""
    ) -> None:
        """`more`: with an `exit_code`, None when there is none, where the end of the command was seen."""
        data = {"command": command, "source": self.source, **(more or {})}
        self._recorder.record_command(self._sandbox, data, milliseconds, self.source, stub=stub)
        shown = redact_for(self._sandbox, command, limits.LOGGED_COMMAND)
        code = more.get("exit_code") if more else None
        outcome = "terminal" if not more else "no exit code" if code is None else f"exit {code}"
        self._recorder.log(self._sandbox, f"$ {shown} ({outcome})", "command")
