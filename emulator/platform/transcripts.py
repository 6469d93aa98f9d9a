"""What a terminal's transcript is: it sees what is typed and shown, and records the commands."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from ..control.clock import Clock
from ..control.records import CommandSource
from ..control.step_output import PIECES
from ..store import Sandbox
from . import limits
from .recorder import RunningCommand, SandboxRecorder
from .redaction import redact_for

if TYPE_CHECKING:
    from ..cage.file_changes import Scan

#: Characters of what a terminal shows after one command that are kept: of its beginning, and of its end.
PRINTED_CHARACTERS = 128 * 1024


class Transcript:
    """Between a client and a shell in a terminal. Records each command as an event and in the sandbox's log, and lets
    command stubs answer in place of the shell.

    Attributes:
        source: The commands' `source` in the journal.
    """

    source: CommandSource = "terminal"

    def __init__(self, clock: Clock, recorder: SandboxRecorder, sandbox: Sandbox) -> None:
        self._clock = clock
        self._recorder = recorder
        self._sandbox = sandbox
        #: The command that was typed last, and what was shown since then, with its times.
        self._run: Optional[RunningCommand] = None
        self._printed = _Printed()
        self._files_before: Optional[Scan] = None
        self._files_ahead: Optional[Scan] = None

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

    def _look_ahead(self) -> None:
        """Scan the files before a command of which a part is passed on before the whole is known."""
        self._files_ahead = self._recorder.file_changes.scan_now(self._sandbox)

    def _begin(self, command: str) -> None:
        """Note that a command begins."""
        if self._run is not None:
            self._recorder.abandon_command(self._run, "its end was not seen: the next command was typed before")
            self._finish_output()
        self._run = self._recorder.begin_command(self._sandbox, command, self.source)
        ahead, self._files_ahead = self._files_ahead, None
        self._files_before = ahead if ahead is not None else self._recorder.file_changes.scan_now(self._sandbox)
        self._printed = _Printed()

    def _note_printed(self, text: str) -> None:
        """Keep what the terminal shows after a command has begun."""
        if self._run is not None and text:
            self._printed.add(text, self._run.seconds)

    def _note_near_misses(self, lines: Sequence[str]) -> None:
        """Note why no stub has answered the command."""
        if self._run is not None:
            self._run.near_misses = lines
            self._recorder.note_near_misses(self._sandbox, self._run.step, lines)

    def _end(self, exit_code: Optional[int], has_exit_code: bool, stub: str = "") -> None:
        """Record the end of the command. `has_exit_code`: whether its end was seen."""
        run = self._run
        if run is None:
            return
        duration: dict[str, Any] = {} if has_exit_code else {"duration_ms": 0.0}
        run.end(exit_code, has_exit_code=has_exit_code, stub=stub, source=self.source, **duration)
        shown = redact_for(self._sandbox, run.command, limits.LOGGED_COMMAND)
        outcome = "terminal" if not has_exit_code else "no exit code" if exit_code is None else f"exit {exit_code}"
        self._recorder.log(self._sandbox, f"$ {shown} ({outcome})", "command")

    def _finish_output(self) -> None:
        """Add to the command's step what was printed, of which nothing more is shown, and which files were changed."""
        run, self._run = self._run, None
        before, self._files_before = self._files_before, None
        if run is not None and before is not None:
            files = self._recorder.file_changes
            files.add(self._sandbox, run.step, before, files.scan_now(self._sandbox))
        if run is not None and self._printed.size:
            self._recorder.record_output(run, self._printed.text, self._printed.size, self._printed.times)


class _Printed:
    """What a terminal shows: its beginning, its end and the times.

    Attributes:
        size: Characters of all of it.
    """

    def __init__(self) -> None:
        self.size = 0
        self._beginning: list[str] = []
        self._end: deque[str] = deque()
        self._end_size = 0
        self._times: list[tuple[float, int]] = []

    def add(self, text: str, seconds: float) -> None:
        """Add a text. `seconds`: when it was shown, after the beginning of the command."""
        room = max(0, PRINTED_CHARACTERS - self.size)
        if room:
            self._beginning.append(text[:room])
        if text[room:]:
            self._end.append(text[room:])
            self._end_size += len(text) - room
            while self._end_size - len(self._end[0]) >= PRINTED_CHARACTERS:
                self._end_size -= len(self._end.popleft())
        self.size += len(text)
        if len(self._times) < PIECES:
            self._times.append((seconds, self.size))

    @property
    def text(self) -> str:
        """All of it; where that is much, its beginning and its end, each of at least PRINTED_CHARACTERS."""
        return "".join([*self._beginning, *self._end])

    @property
    def times(self) -> list[tuple[float, float]]:
        """Seconds, and the part of the output, from 0 to 1, that was shown by then."""
        return [(seconds, size / self.size) for seconds, size in self._times]
