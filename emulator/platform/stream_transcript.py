"""The terminal of a streaming client: the states of its command, as its markers report them.

At first, and when its command has ended, the terminal is *idle*: what is typed goes to the shell at once. The line that
prints BEGIN begins a command. Where command stubs apply to the sandbox, the command is *held* back until the line that
prints EXIT is typed, because a stub can only answer a whole command; else it is *passed* to the shell as it comes. A
held command is released, and passed from then on, when nothing more is typed for some time, or when it is very long.
With the line that prints EXIT the command, or the line that a stub has put in its place, is *running*, until the shell
shows EXIT with the exit code. A client may type the next command before that; the end of the first one is then not
recorded. Closing the terminal ends a running command without an exit code.
"""

from __future__ import annotations

import re
import shlex
from typing import Literal, Optional

from ..cage.init_client import SandboxGone
from ..control.clock import Clock
from ..control.stubs import Invocation
from ..store import Sandbox
from . import stream_markers
from .command_stubs import CANNOT_RUN, CommandStubs
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .transcripts import PRINTED_CHARACTERS, Transcript

State = Literal["idle", "held", "passed", "running"]
Event = Literal["begin", "begin stubbed", "release", "end", "exit", "close"]

#: For each state: the events that are possible in it, each with the state that it leads to. `begin stubbed` is a BEGIN
#: line in a sandbox to which stubs apply, `end` the line that prints EXIT, `exit` what that line has printed.
TRANSITIONS: dict[State, dict[Event, State]] = {
    "idle": {"begin": "passed", "begin stubbed": "held", "close": "idle"},
    "held": {"release": "passed", "end": "running", "close": "idle"},
    "passed": {"end": "running", "close": "idle"},
    "running": {"exit": "idle", "begin": "passed", "begin stubbed": "held", "close": "idle"},
}

#: How long the rest of a held command is waited for.
LINES_SECONDS = 1.0
#: Characters of a command that are held, and of one that is passed that are remembered.
HELD_CHARACTERS, PASSED_CHARACTERS = 4 * 1024 * 1024, 64 * 1024
#: Characters before which a BEGIN line must have ended.
_BEGIN_LINE_CHARACTERS = 256


class StreamedOutput:
    """What a command prints: what is shown between the line BEGIN and the marker EXIT.

    Args:
        key: That of the markers.
    """

    def __init__(self, key: str) -> None:
        self._begin = re.compile(rf"{re.escape(stream_markers.begin_marker(key))}\r?\n")
        self._end = re.compile(rf"{re.escape(stream_markers.exit_marker(key))}\s*[0-9]")
        self._held = ""
        self._has_begun = self._has_ended = False

    def take(self, text: str) -> str:
        """Take what is shown, and return what the command printed of it. What may be the beginning of a marker is held
        back until more is shown."""
        if self._has_ended:
            return ""
        self._held += text
        if not self._has_begun:
            begin = self._begin.search(self._held)
            if begin is None:
                self._held = self._held[-stream_markers.LONGEST :]
                return ""
            self._has_begun, self._held = True, self._held[begin.end() :]
        end = self._end.search(self._held)
        if end is not None:
            self._has_ended = True
            return self._held[: end.start()]
        place = self._held.find(stream_markers.PREFIX, max(0, len(self._held) - stream_markers.LONGEST))
        if place < 0:
            place = len(self._held) - _partial(self._held)
        printed, self._held = self._held[:place], self._held[place:]
        return printed

    def rest(self) -> str:
        """What was held back: nothing more is shown."""
        return self._held if self._has_begun and not self._has_ended else ""


def _partial(text: str) -> int:
    """How many characters at the end of a text may be the beginning of a marker."""
    prefix = stream_markers.PREFIX
    return next((size for size in range(len(prefix), 0, -1) if text.endswith(prefix[:size])), 0)


class StreamTranscript(Transcript):
    source = "stream"

    def __init__(
        self, clock: Clock, live: LiveSandboxes, recorder: SandboxRecorder, stubs: CommandStubs, sandbox: Sandbox
    ) -> None:
        super().__init__(clock, recorder, sandbox)
        self._live = live
        self._stubs = stubs
        self.state: State = "idle"
        self._key = ""  # of the newest markers
        self._before = ""  # typed since the last command
        self._lines = ""  # typed since BEGIN
        self._command = ""
        self._stub = ""
        self._tail = ""  # of what was shown
        self._output = StreamedOutput("")
        self._early = ""  # the output of a command that is not typed to its end yet

    def _move(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state][event]

    # --- typed

    async def handle_input(self, text: str) -> tuple[str, str]:
        if self.state in ("held", "passed"):
            return "", await self._typed_command(text)
        self._before += text
        begin = stream_markers.BEGIN.search(self._before)
        newline = -1 if begin is None else self._before.find("\n", begin.end())
        if begin is None or newline < 0:
            self._before = self._before[-_BEGIN_LINE_CHARACTERS:]
            return "", text
        rest = self._before[newline + 1 :]
        self._key, self._before, self._lines = begin[1], "", ""
        self._output, self._early = StreamedOutput(self._key), ""
        self._look_ahead()
        self._move("begin stubbed" if self._stubs.has_any(self._sandbox) else "begin")
        return "", text[: len(text) - len(rest)] + await self._typed_command(rest)

    async def _typed_command(self, text: str) -> str:
        """Take more of the lines behind BEGIN, and return what the shell gets."""
        searched = max(0, len(self._lines) - stream_markers.LONGEST)
        self._lines += text
        end = self._lines.find(stream_markers.exit_marker(self._key), searched)
        if end < 0:
            if self.state == "passed":
                self._lines = self._lines[-PASSED_CHARACTERS:]
                return text
            return "" if len(self._lines) < HELD_CHARACTERS else self.release_input()
        start = self._lines.rfind("\n", 0, end) + 1
        lines, rest, held = self._lines[:start], self._lines[start:], self.state == "held"
        self._move("end")
        self._lines, self._command, self._stub = "", lines.strip("\n"), ""
        if self._command:
            self._begin(self._command)
            self._note_printed(self._early)
            self._early = ""
        return await self._stubbed(lines) + rest if held else text

    async def _stubbed(self, lines: str) -> str:
        """Return what the shell runs in place of a command: the command itself when no stub answers."""
        cage = self._live.of(self._sandbox).cage
        if cage is None or not self._command:
            return lines
        invocation = Invocation(self._sandbox.id, self._command)
        found = await self._stubs.answer(self._sandbox, invocation)
        if found is None:
            self._note_near_misses(self._stubs.near_misses(self._sandbox, invocation))
            return lines
        self._stub = found[0].id
        try:
            return await self._stubs.command_line(self._sandbox, cage, found[1]) + "\n"
        except (SandboxGone, OSError) as error:
            return f"echo {shlex.quote(f'no stub can answer here: {error}')}; (exit {CANNOT_RUN})\n"

    @property
    def input_patience(self) -> Optional[float]:
        return LINES_SECONDS if self.state == "held" and self._lines else None

    def release_input(self) -> str:
        if self.state != "held":
            return ""
        self._move("release")
        held, self._lines = self._lines, self._lines[-PASSED_CHARACTERS:]
        return held

    # --- shown

    def handle_output(self, text: str) -> str:
        printed = self._output.take(text) if self.state != "idle" else ""
        if self.state == "running":
            self._note_printed(printed)
        else:
            self._early = (self._early + printed)[:PRINTED_CHARACTERS]
        if self.state == "running" and self._command:
            self._tail = self._tail[-stream_markers.LONGEST :] + text
            for found in stream_markers.EXIT.finditer(self._tail):
                if found[1] == self._key:
                    self._record_end(int(found[2]))
                    self._move("exit")
                    break
        return text

    def close(self) -> None:
        """Record a running command without an exit code: it was killed, or it has killed its shell."""
        if self.state == "running" and self._command:
            self._note_printed(self._output.rest())
            self._record_end(None)
        self._move("close")

    def _record_end(self, exit_code: Optional[int]) -> None:
        self._end(exit_code, has_exit_code=True, stub=self._stub)
        self._finish_output()
        self._command = ""
