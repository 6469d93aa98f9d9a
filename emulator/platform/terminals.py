"""Terminals of sandboxes: opening, listing, and what of them becomes an event."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Optional

from .. import descriptors
from ..cage.init_client import SandboxGone
from ..cage.terminal import Terminal
from ..store import Account, Sandbox
from . import limits
from .errors import ApiError, not_running, require_descriptors
from .sandboxes import Sandboxes
from .services import Services, redacted
from .terminal_stubs import Interactive, Streamed

MOST_PER_SANDBOX = 64
#: What streaming clients type around their command, and what the shell then prints (wire-contract.md 4.3).
_BEGIN = re.compile(r"__CAGED_BEGIN_([0-9a-f]{16})__")
_END = re.compile(r"__CAGED_EXIT_([0-9a-f]{16})__\s*(\d+)")
_LONGEST_LINE = 4096
_LINE = re.compile(r"([^\r\n]*)([\r\n]?)(.*)", re.S)
_ERASE, _KILL_LINE, _INTERRUPT = "\x7f\b", "\x15", "\x03\x04"


@dataclass
class Session:
    """One open terminal. `quiet`: the shell of a streaming exec, which has no size of its own."""

    id: str
    sandbox_id: str
    rows: int
    cols: int
    quiet: bool
    created_at: str
    terminal: Terminal

    def resize(self, rows: int, cols: int) -> None:
        self.rows, self.cols = rows, cols
        self.terminal.resize(rows, cols)


class Terminals:
    def __init__(self, services: Services, sandboxes: Sandboxes) -> None:
        self._services = services
        self._sandboxes = sandboxes
        self._sessions: dict[str, Session] = {}
        self._open: Counter[str] = Counter()

    def of_sandbox(self, account: Account, sandbox_id: str) -> list[Session]:
        sandbox = self._sandboxes.get(account, sandbox_id)
        return [session for session in self._sessions.values() if session.sandbox_id == sandbox.id]

    @asynccontextmanager
    async def open(self, sandbox: Sandbox, rows: int, cols: int, quiet: bool) -> AsyncIterator[Session]:
        """A shell in a terminal, killed with all that came from it when the block ends before it does. 409 when the
        sandbox cannot run it, 503 when too few descriptors are left."""
        if self._open[sandbox.id] >= MOST_PER_SANDBOX:
            raise ApiError(409, f"{sandbox.id} has {MOST_PER_SANDBOX} terminals open already; close one first")
        require_descriptors(descriptors.has_room_for_stream(), "a terminal")
        async with self._counted(sandbox.id), self._sandboxes.active(sandbox):
            async with sandbox.disk:  # a snapshot, a restore or a pause in progress comes first
                cage = sandbox.cage
                if sandbox.status != "running" or cage is None:
                    raise not_running(sandbox.id, sandbox.status)
                try:
                    terminal = await cage.terminal(sandbox.env, rows, cols, quiet)
                except (SandboxGone, OSError) as error:
                    raise ApiError(409, f"no terminal in {sandbox.id}: {error}", "sandbox_not_running") from error
            session = Session(
                id=self._services.randomness.identifier("term", self._sessions),
                sandbox_id=sandbox.id,
                rows=rows,
                cols=cols,
                quiet=quiet,
                created_at=self._services.clock.timestamp(),
                terminal=terminal,
            )
            self._sessions[session.id] = session
            if not quiet:
                self._services.note(sandbox, "terminal opened", "terminal")
            try:
                yield session
            finally:
                del self._sessions[session.id]
                terminal.close()
                if not quiet:
                    self._services.note(sandbox, "terminal closed", "terminal")

    @asynccontextmanager
    async def _counted(self, sandbox_id: str) -> AsyncIterator[None]:
        """From before it is opened, so that many at once do not slip through."""
        self._open[sandbox_id] += 1
        try:
            yield
        finally:
            self._open[sandbox_id] -= 1
            self._open += Counter()  # forgets those with none

    def transcript(self, sandbox: Sandbox, session: Session) -> Transcript:
        return Transcript(self._services, sandbox, session)


class Transcript:
    """Tells the commands of a terminal, as events and in the sandbox's log, from what is typed and shown.

    A line counts when it was typed at the shell's prompt: not what goes to a program, such as a password. In the shell
    of a streaming client it is the command between the markers, and its exit code is known.
    """

    def __init__(self, services: Services, sandbox: Sandbox, session: Session) -> None:
        self._services = services
        self._sandbox = sandbox
        self._session = session
        self._line = ""
        self._ahead = False
        self._marked = ""  # typed since the last marker
        self._mark = ""
        self._command = ""
        self._begun = 0.0
        self._shown = ""
        self._streamed = Streamed(services, sandbox)
        self._interactive = Interactive(services, sandbox, session.terminal)

    async def typed(self, text: str) -> tuple[str, str]:
        """(what the client is shown for it at once, what the shell gets). Shells show what is typed themselves."""
        if self._session.quiet:
            self._typed_by_client(text)
            return "", await self._streamed.typed(text)
        # Only the first line of a message: who will read the others is not known yet. The rest of them is typed ahead.
        first, ended, rest = _LINE.match(text).groups()  # type: ignore[union-attr]
        shown, passed = "", text
        if not self._ahead and len(first) <= _LONGEST_LINE:
            self._edit(first)
            line = self._line.strip()
            if ended and line:
                instead = await self._stubbed(line)
                if instead is not None:
                    shown, passed = f"{first}\r\n", instead + rest
                elif self._session.terminal.at_prompt():
                    self._tell(line, {})
        if ended:
            self._line = ""
            self._ahead = rest != "" and rest[-1] not in "\r\n"
        return shown, passed

    async def _stubbed(self, line: str) -> Optional[str]:
        """What is to be typed in place of a line's Enter; None: the line itself."""
        stubs = self._interactive
        if not stubs.may_answer(line) or not await stubs.at_prompt():
            return None
        found = await stubs.answer(line)
        if found is None:
            return None
        self._tell(line, {}, stub=found[0].id)
        return found[1]

    @property
    def typing_patience(self) -> Optional[float]:
        """Seconds after which `nothing_typed` has to be called when nothing more is typed; None: never."""
        return self._streamed.patience

    def nothing_typed(self) -> str:
        """What the shell gets of what was held back."""
        return self._streamed.release()

    @property
    def showing_patience(self) -> Optional[float]:
        """Seconds after which `nothing_shown` has to be called when nothing more is shown; None: never."""
        return self._interactive.patience

    def nothing_shown(self) -> str:
        """What the client is to see of what was hidden."""
        return self._interactive.release()

    def _edit(self, text: str) -> None:
        for character in text:
            if character in _ERASE:
                self._line = self._line[:-1]
            elif character == _KILL_LINE or character in _INTERRUPT:
                self._line = ""
            elif len(self._line) < _LONGEST_LINE:
                self._line += character

    def _typed_by_client(self, text: str) -> None:
        self._marked = (self._marked + text)[-65536:]
        begun = _BEGIN.search(self._marked)
        if begun:
            self._mark = begun.group(1)
            self._marked = self._marked[begun.end() :].partition("\n")[2]
        ended = self._marked.find(f"__CAGED_EXIT_{self._mark}__") if self._mark else -1
        if ended >= 0:
            self._command = self._marked[:ended].rpartition("\n")[0].strip("\n")
            self._begun = self._services.clock.stopwatch()
            self._marked = ""

    def shown(self, text: str) -> str:
        """What the client is to see of what the shell shows."""
        if not self._session.quiet:
            return self._interactive.shown(text)
        self._look_for_end(text)
        return text

    def _look_for_end(self, text: str) -> None:
        if not self._command:
            return
        self._shown = self._shown[-64:] + text
        for found in _END.finditer(self._shown):
            if found.group(1) == self._mark:
                self._end({"exit_code": int(found.group(2))})
                return

    def end(self) -> None:
        """The terminal is closed: a streamed command that has not ended was killed, or killed its shell."""
        if self._command:
            self._end({"exit_code": None})

    def _end(self, more: dict[str, object]) -> None:
        stub = self._streamed.stub
        milliseconds = (self._services.clock.stopwatch() - self._begun) * 1000
        self._tell(self._command, more, milliseconds, stub.id if stub is not None else "")
        self._command = ""

    def _tell(self, command: str, more: dict[str, object], milliseconds: float = 0.0, stub: str = "") -> None:
        source = "stream" if self._session.quiet else "terminal"
        data = {"command": command, "source": source, **more}
        self._services.ran(self._sandbox, data, milliseconds, source, stub=stub)
        shown = redacted(self._sandbox, command, limits.LOGGED_COMMAND)
        code = more.get("exit_code")
        outcome = "terminal" if not more else "no exit code" if code is None else f"exit {code}"
        self._services.note(self._sandbox, f"$ {shown} ({outcome})", "command")
