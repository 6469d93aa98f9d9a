"""Terminals of sandboxes: opening and listing.

The states of a terminal, and what of its input is a command, are in `prompt_transcript.py` (a person's terminal) and
`stream_transcript.py` (a streaming client's).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .. import descriptors
from ..cage.init_client import SandboxGone
from ..cage.provisioning import Provisioner
from ..cage.terminal import Terminal
from ..control.clock import Clock
from ..control.randomness import Randomness
from ..store import AccountRecord, Sandbox
from .command_stubs import CommandStubs
from .errors import ApiError, require_descriptors
from .live_sandboxes import LiveSandboxes
from .prompt_transcript import PromptTranscript
from .recorder import SandboxRecorder
from .sandboxes import Sandboxes
from .stream_transcript import StreamTranscript
from .transcripts import Transcript

MOST_PER_SANDBOX = 64


@dataclass
class OpenTerminal:
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
    def __init__(
        self,
        clock: Clock,
        randomness: Randomness,
        live: LiveSandboxes,
        sandboxes: Sandboxes,
        command_stubs: CommandStubs,
        recorder: SandboxRecorder,
        provisioner: Provisioner,
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._live = live
        self._sandboxes = sandboxes
        self._command_stubs = command_stubs
        self._recorder = recorder
        self._provisioner = provisioner
        self._terminals: dict[str, OpenTerminal] = {}
        self._open: Counter[str] = Counter()

    def of_sandbox(self, account: AccountRecord, sandbox_id: str) -> list[OpenTerminal]:
        """The sandbox's open terminals. 404 for an unknown sandbox."""
        sandbox = self._sandboxes.get(account, sandbox_id)
        return [terminal for terminal in self._terminals.values() if terminal.sandbox_id == sandbox.id]

    @asynccontextmanager
    async def open(self, sandbox: Sandbox, rows: int, cols: int, quiet: bool) -> AsyncIterator[OpenTerminal]:
        """Open a shell in a terminal; kill it with all its processes when the block ends before it does. 409 when the
        sandbox cannot run it, 503 when too few descriptors are left."""
        await self._provisioner.free_descriptors(descriptors.has_room_for_stream)
        if self._open[sandbox.id] >= MOST_PER_SANDBOX:
            raise ApiError(409, f"{sandbox.id} has {MOST_PER_SANDBOX} terminals open already; close one first")
        require_descriptors(descriptors.has_room_for_stream(), "a terminal")
        async with self._counted(sandbox.id), self._sandboxes.active(sandbox):
            terminal = await self._start(sandbox, rows, cols, quiet)
            opened = OpenTerminal(
                id=self._randomness.identifier("term", self._terminals),
                sandbox_id=sandbox.id,
                rows=rows,
                cols=cols,
                quiet=quiet,
                created_at=self._clock.timestamp(),
                terminal=terminal,
            )
            self._terminals[opened.id] = opened
            if not quiet:
                self._recorder.log(sandbox, "terminal opened", "terminal")
            try:
                yield opened
            finally:
                del self._terminals[opened.id]
                terminal.close()
                if not quiet:
                    self._recorder.log(sandbox, "terminal closed", "terminal")

    async def _start(self, sandbox: Sandbox, rows: int, cols: int, quiet: bool) -> Terminal:
        async with self._live.of(sandbox).workspace_lock:  # a snapshot, a restore or a pause in progress comes first
            cage = self._sandboxes.running_cage(sandbox)
            try:
                return await cage.terminal(sandbox.env, rows, cols, quiet)
            except (SandboxGone, OSError) as error:
                raise ApiError(409, f"no terminal in {sandbox.id}: {error}", "sandbox_not_running") from error

    @asynccontextmanager
    async def _counted(self, sandbox_id: str) -> AsyncIterator[None]:
        """Count a terminal before it is opened, so that many at once cannot exceed the limit."""
        self._open[sandbox_id] += 1
        try:
            yield
        finally:
            self._open[sandbox_id] -= 1
            self._open += Counter()  # drops the entries that are 0

    def transcript(self, sandbox: Sandbox, opened: OpenTerminal) -> Transcript:
        """Return what records the terminal's commands."""
        parts = (self._clock, self._live, self._recorder, self._command_stubs, sandbox)
        return StreamTranscript(*parts) if opened.quiet else PromptTranscript(*parts, opened.terminal)
