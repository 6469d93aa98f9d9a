"""What a client types into a shell, when a stub may answer in place of the command: the shell is given another line to
run in its place, of which the client sees nothing."""

from __future__ import annotations

import asyncio
import re
import secrets
import shlex
from typing import Optional

from ..cage.init_client import SandboxGone
from ..cage.terminal import Terminal
from ..control.stubs import Question, Stub
from ..store import Sandbox
from . import command_stubs
from .services import Services

#: How long the shell's prompt is waited for when a line that may be a stub's was typed ahead of it, and for the shell
#: to have said all it has to say at its prompt.
PROMPT_SECONDS = 2.0
_LOOK_SECONDS, _QUIET_LOOKS = 0.01, 3
#: How long the shell may take to begin the line that it was given. Then all that it shows is shown.
BEGIN_SECONDS = 5.0
#: How long the rest of a streaming client's lines is waited for.
LINES_SECONDS = 1.0
_LONGEST = 4 * 1024 * 1024
_BEGIN = re.compile(r"__CAGED_BEGIN_([0-9a-f]{16})__")
#: No marker is longer: what was searched before need not be searched again but for so much.
_MARKER = 64
#: Of what a shell shows while it is hidden; then it is shown.
_HIDDEN_MOST = 1024 * 1024
_UNBRACKETED = "\x1b[?2004l"


class Streamed:
    """In the shell of a streaming client, which types a line that prints BEGIN, the command, and a line that prints
    END (wire-contract.md 4.3): the command is held back until its end is known."""

    def __init__(self, services: Services, sandbox: Sandbox) -> None:
        self._services = services
        self._sandbox = sandbox
        self._typed = ""
        self._mark = ""
        self._held = ""
        #: The stub that has answered the newest command; None: it really ran.
        self.stub: Optional[Stub] = None

    @property
    def patience(self) -> Optional[float]:
        """Seconds after which `release` has to be called when nothing more is typed; None: never."""
        return LINES_SECONDS if self._held else None

    async def typed(self, text: str) -> str:
        """What the shell gets."""
        before = ""
        if not self._mark:
            if not self._services.stubs.usable(self._sandbox.account_id, self._sandbox.id):
                return text
            self._typed += text
            begun = _BEGIN.search(self._typed)
            newline = -1 if begun is None else self._typed.find("\n", begun.end())
            if begun is None or newline < 0:
                self._typed = self._typed[-256:]
                return text
            self._mark, self._held = begun[1], self._typed[newline + 1 :]
            before, self._typed = text[: len(text) - len(self._held)], ""
            searched = 0
        else:
            searched = max(0, len(self._held) - _MARKER)
            self._held += text
        end = self._held.find(f"__CAGED_EXIT_{self._mark}__", searched)
        if end < 0:
            return before if len(self._held) < _LONGEST else before + self.release()
        start = self._held.rfind("\n", 0, end) + 1
        command, rest = self._held[:start], self._held[start:]
        self._mark = self._held = ""
        return before + await self._in_place(command) + rest

    async def _in_place(self, command: str) -> str:
        cage = self._sandbox.cage
        found = None
        if cage is not None and command.strip("\n"):
            question = Question(self._sandbox.id, command.strip("\n"))
            found = await command_stubs.stand_in(self._services, self._sandbox, question)
        self.stub = found[0] if found else None
        if found is None or cage is None:
            return command
        try:
            return await command_stubs.command_line(self._services, self._sandbox, cage, found[1]) + "\n"
        except (SandboxGone, OSError) as error:
            return f"echo {shlex.quote(f'no stub can answer here: {error}')}; (exit {command_stubs.CANNOT_RUN})\n"

    def release(self) -> str:
        """What was held back, for the shell after all."""
        held, self._held, self._mark = self._held, "", ""
        return held


class Interactive:
    """At the prompt of a person's shell: the Enter of a line that a stub answers is not passed on. The shell's line is
    emptied and another one run, and what it shows up to the beginning of that is not shown."""

    def __init__(self, services: Services, sandbox: Sandbox, terminal: Terminal) -> None:
        self._services = services
        self._sandbox = sandbox
        self._terminal = terminal
        self._mark = ""
        self._hidden = ""
        self._shown = 0  # how often something was shown

    @property
    def patience(self) -> Optional[float]:
        """Seconds after which `release` has to be called when nothing more is shown; None: never."""
        return BEGIN_SECONDS if self._mark else None

    def may_answer(self, line: str) -> bool:
        return command_stubs.may_stand_in(self._services, self._sandbox, line)

    async def at_prompt(self) -> bool:
        """Whether the shell waits for a line, and has shown all of its prompt. A shell that starts up, or that has just
        been given back the terminal, is waited for; a program in front is not."""
        loop = asyncio.get_running_loop()
        deadline, quiet, seen = loop.time() + PROMPT_SECONDS, 0, -1
        while quiet < _QUIET_LOOKS:
            if not self._terminal.shell_in_front() or loop.time() > deadline:
                return False
            settled = self._terminal.at_prompt() and self._shown == seen and self._shown > 0
            quiet, seen = (quiet + 1 if settled else 0), self._shown
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    async def answer(self, line: str) -> Optional[tuple[Stub, str]]:
        """The stub of a line, and what is to be typed in place of its Enter. None: it really runs."""
        cage = self._sandbox.cage
        if cage is None:
            return None
        found = await command_stubs.stand_in(self._services, self._sandbox, Question(self._sandbox.id, line))
        if found is None:
            return None
        stub, output = found
        try:
            run = await command_stubs.command_line(self._services, self._sandbox, cage, output)
        except (SandboxGone, OSError) as error:
            run = f"echo {shlex.quote(f'no stub can answer here: {error}')}"
        name = secrets.token_hex(8)
        self._mark = f"\x1b]777;caged;{name}\x07"
        # In the shell's history stands what was typed, in place of this.
        remember = f"history -s -- {shlex.quote(line)}; " if self._terminal.edits_lines else ""
        return stub, f"\x15{remember}printf '\\033]777;caged;%s\\007' {name}; {run}\r"

    def shown(self, text: str) -> str:
        """What the client is to see of what the shell shows."""
        self._shown += 1
        if not self._mark:
            return text
        searched = max(0, len(self._hidden) - _MARKER)
        self._hidden += text
        at = self._hidden.find(self._mark, searched)
        if at < 0:
            return "" if len(self._hidden) < _HIDDEN_MOST else self.release()
        before, after = self._hidden[:at], self._hidden[at + len(self._mark) :]
        self._mark = self._hidden = ""
        return (f"{_UNBRACKETED}\r" if _UNBRACKETED in before else "") + after

    def release(self) -> str:
        """What was hidden, because its end did not come."""
        hidden, self._hidden, self._mark = self._hidden, "", ""
        return hidden
