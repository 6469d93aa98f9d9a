"""The terminal of a person: the lines that are typed at the shell's prompt, and stubs that answer in their place.

The output is *shown* to the client as it comes. When a stub answers a line, its Enter is not passed on: the shell's
line is emptied and another one is run in its place, which first prints a mark. Until the mark comes, the output is
*hidden*: the client sees nothing of that line. When the mark does not come in time, or is far away, what was hidden is
released.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shlex
from typing import Literal, Optional

from ..cage.init_client import SandboxGone
from ..cage.terminal import Terminal
from ..control.clock import Clock
from ..control.stubs import Invocation, Stub
from ..store import Sandbox
from .command_stubs import CommandStubs
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .transcripts import Transcript

State = Literal["shown", "hidden"]
Event = Literal["replace", "mark", "release"]

#: For each state of the output: the events that are possible in it, each with the state that it leads to.
TRANSITIONS: dict[State, dict[Event, State]] = {
    "shown": {"replace": "hidden"},
    "hidden": {"mark": "shown", "release": "shown", "replace": "hidden"},
}

#: How long the shell's prompt is waited for when a line that a stub may answer was typed ahead of it, and for the shell
#: to have written all of its prompt.
PROMPT_SECONDS = 2.0
_LOOK_SECONDS, _QUIET_LOOKS = 0.01, 3
#: How long the shell may take to begin the line that it was given. Then all that it shows is shown.
BEGIN_SECONDS = 5.0
#: Characters that are hidden at most.
_HIDDEN_CHARACTERS = 1024 * 1024
#: No mark is longer: what was searched once is searched again only that far back.
_MARK_CHARACTERS = 64
_UNBRACKETED = "\x1b[?2004l"
_LINE_CHARACTERS = 4096
_LINE = re.compile(r"([^\r\n]*)([\r\n]?)(.*)", re.S)
_ERASE, _KILL_LINE, _INTERRUPT = "\x7f\b", "\x15", "\x03\x04"


class ShellOutput:
    """The output of a shell, hidden from the line that is run in place of a stubbed one up to its mark."""

    def __init__(self) -> None:
        self.state: State = "shown"
        self._mark = ""
        self._hidden = ""
        #: How often something was taken.
        self.count = 0

    def replace(self, mark: str) -> None:
        """Hide everything up to `mark`."""
        self.state = TRANSITIONS[self.state]["replace"]
        self._mark = mark

    def take(self, text: str) -> str:
        """Take what the shell shows, and return what the client is shown."""
        self.count += 1
        if self.state == "shown":
            return text
        searched = max(0, len(self._hidden) - _MARK_CHARACTERS)
        self._hidden += text
        at = self._hidden.find(self._mark, searched)
        if at < 0:
            return "" if len(self._hidden) < _HIDDEN_CHARACTERS else self.release()
        before, after = self._hidden[:at], self._hidden[at + len(self._mark) :]
        self.state, self._hidden = TRANSITIONS[self.state]["mark"], ""
        return (f"{_UNBRACKETED}\r" if _UNBRACKETED in before else "") + after

    def release(self) -> str:
        """Return what was hidden, because the mark did not come."""
        if self.state == "shown":
            return ""
        hidden, self._hidden = self._hidden, ""
        self.state = TRANSITIONS[self.state]["release"]
        return hidden


class PromptTranscript(Transcript):
    """A line counts as a command when it was typed at the shell's prompt. What a program reads, such as a password, is
    not recorded."""

    def __init__(
        self,
        clock: Clock,
        live: LiveSandboxes,
        recorder: SandboxRecorder,
        stubs: CommandStubs,
        sandbox: Sandbox,
        terminal: Terminal,
    ) -> None:
        super().__init__(clock, recorder, sandbox)
        self._live = live
        self._stubs = stubs
        self._terminal = terminal
        self._output = ShellOutput()
        self._line = ""
        self._is_ahead = False

    async def handle_input(self, text: str) -> tuple[str, str]:
        # Only the first line of a message: what will read the others is not known yet. They are typed ahead.
        first, ended, rest = _LINE.match(text).groups()  # type: ignore[union-attr]
        shown, passed = "", text
        if not self._is_ahead and len(first) <= _LINE_CHARACTERS:
            self._edit(first)
            line = self._line.strip()
            if ended and line:
                replacement = await self._stubbed(line)
                if replacement is not None:
                    shown, passed = f"{first}\r\n", replacement + rest
                elif self._terminal.at_prompt():
                    self._record(line)
                    invocation = Invocation(self._sandbox.id, line)
                    self._note_near_misses(self._stubs.near_misses(self._sandbox, invocation))
        if ended:
            self._line = ""
            self._is_ahead = rest != "" and rest[-1] not in "\r\n"
        return shown, passed

    def _edit(self, text: str) -> None:
        for character in text:
            if character in _ERASE:
                self._line = self._line[:-1]
            elif character == _KILL_LINE or character in _INTERRUPT:
                self._line = ""
            elif len(self._line) < _LINE_CHARACTERS:
                self._line += character

    async def _stubbed(self, line: str) -> Optional[str]:
        """Return what is typed in place of a line's Enter; None when the line really runs."""
        if not self._stubs.may_answer(self._sandbox, line) or not await self._waits_at_prompt():
            return None
        cage = self._live.of(self._sandbox).cage
        if cage is None:
            return None
        found = await self._stubs.answer(self._sandbox, Invocation(self._sandbox.id, line))
        if found is None:
            return None
        stub: Stub = found[0]
        try:
            run = await self._stubs.command_line(self._sandbox, cage, found[1])
        except (SandboxGone, OSError) as error:
            run = f"echo {shlex.quote(f'no stub can answer here: {error}')}"
        name = secrets.token_hex(8)
        self._output.replace(f"\x1b]777;caged;{name}\x07")
        # The shell's history has what was typed, in place of this.
        remember = f"history -s -- {shlex.quote(line)}; " if self._terminal.edits_lines else ""
        self._record(line, stub.id)
        return f"\x15{remember}printf '\\033]777;caged;%s\\007' {name}; {run}\r"

    async def _waits_at_prompt(self) -> bool:
        """Whether the shell waits for a line, and has shown all of its prompt. A shell that starts up, or that has just
        been given back the terminal, is waited for; a program in front is not."""
        loop = asyncio.get_running_loop()
        deadline, quiet, seen = loop.time() + PROMPT_SECONDS, 0, -1
        while quiet < _QUIET_LOOKS:
            if not self._terminal.shell_in_front() or loop.time() > deadline:
                return False
            count = self._output.count
            quiet = quiet + 1 if self._terminal.at_prompt() and count == seen and count > 0 else 0
            seen = count
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    def handle_output(self, text: str) -> str:
        shown = self._output.take(text)
        self._note_printed(shown)
        return shown

    def close(self) -> None:
        self._finish_output()

    def _record(self, line: str, stub: str = "") -> None:
        """Record a command at once: its end is not seen."""
        self._finish_output()
        self._begin(line)
        self._end(None, has_exit_code=False, stub=stub)

    @property
    def output_patience(self) -> Optional[float]:
        return BEGIN_SECONDS if self._output.state == "hidden" else None

    def release_output(self) -> str:
        return self._output.release()
