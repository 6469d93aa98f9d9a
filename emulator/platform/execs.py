"""Running one command."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Optional

from ..cage.command_result import CommandResult
from ..cage.init_client import SandboxGone
from ..control.faults import Injection
from ..store import Account, Sandbox
from ..workers import checkpoint
from . import limits
from .command_stubs import Chosen, choose
from .errors import not_found
from .sandboxes import Sandboxes
from .services import Services, redacted

#: How programs say that they were given no more memory. The kernel tells nobody about a process's own limit.
_OUT_OF_MEMORY = re.compile(rb"MemoryError|[Cc]annot allocate memory|out of memory|bad_alloc|memory exhausted")


@dataclass(frozen=True)
class Outcome:
    """`error` is set, and `exit_code` -1, only when the command could not be run at all."""

    output: str
    exit_code: int
    error: Optional[str] = None


#: Bytes of output that are decoded on the event loop.
DECODED_AT_ONCE = 64 * 1024


def _decode(output: bytes) -> str:
    """Blocks."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = []
    for at in range(0, len(output), DECODED_AT_ONCE):
        checkpoint()
        pieces.append(decoder.decode(output[at : at + DECODED_AT_ONCE]))
    return "".join([*pieces, decoder.decode(b"", final=True)])


def _die(sandbox: Sandbox, injection: Injection) -> None:
    if sandbox.cage is not None and sandbox.cage.alive:
        sandbox.cage.crash()
        injection.trigger()


class Execs:
    def __init__(self, services: Services, sandboxes: Sandboxes) -> None:
        self._services = services
        self._sandboxes = sandboxes
        #: By sandbox: what ends the waiting for a command.
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        services.signals.connect("out_of_budget", self._end_waiting)

    def _end_waiting(self, sandbox: Sandbox) -> None:
        for ending in self._waiting.get(sandbox.id, ()):
            if not ending.done():
                ending.set_result(None)

    async def _unless_out_of_budget(self, sandbox: Sandbox, work: Coroutine[Any, Any, CommandResult]) -> CommandResult:
        """The result of `work`. Raises Gone, and kills the command, when the sandbox meets the end of its budget
        before: it will never be resumed, and the command not end."""
        ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(sandbox.id, set())
        waiting.add(ending)
        working = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {working, ending}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            budget = f"its budget of ${sandbox.budget or 0:.2f} was used up"
            raise SandboxGone(f"{budget}, and it was paused, before the command ended")
        finally:
            waiting.discard(ending)
            if not waiting:
                self._waiting.pop(sandbox.id, None)
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)

    async def run(
        self, account: Account, sandbox_id: str, command: str, injection: Optional[Injection] = None
    ) -> Outcome:
        """Cancelled (the client hung up), it kills the command and its children. `injection`: a fault
        for it."""
        fault = injection.fault if injection is not None else None
        sandbox = self._sandboxes.get(account, sandbox_id)
        if injection is not None and fault is not None and fault.unreachable:
            injection.trigger()
            return Outcome("", -1, fault.detail or f"sandbox {sandbox_id} cannot be reached")
        if sandbox.status != "running" or sandbox.cage is None:
            return self._not_running(sandbox)
        start = self._services.clock.stopwatch()
        async with self._sandboxes.active(sandbox):
            async with sandbox.disk:
                pass  # a snapshot, a restore or a pause in progress comes first
            if sandbox.status == "destroyed":
                raise not_found("sandbox", sandbox_id)
            if sandbox.status != "running":
                return self._not_running(sandbox)
            dying = None
            chosen = Chosen()
            try:
                chosen = await choose(self._services, sandbox, command)
                if injection is not None and fault is not None and fault.outcome == "dies":
                    dying = asyncio.get_running_loop().call_later(fault.delay, _die, sandbox, injection)
                    if not fault.delay:
                        await asyncio.sleep(0)  # before a stub that answers at once
                work = chosen.run(sandbox, sandbox.cage, command, limits.OUTPUT_BYTES)
                result = await self._unless_out_of_budget(sandbox, work)
            except asyncio.CancelledError:
                self._over(sandbox, command, None, start, "killed: the client hung up", stub=chosen.stub)
                raise
            except SandboxGone as error:
                self._over(sandbox, command, None, start, f"not run: {error}", stub=chosen.stub)
                return Outcome("", -1, f"sandbox {sandbox_id} cannot run commands: {error}")
            finally:
                if dying is not None:
                    dying.cancel()
        milliseconds = round((self._services.clock.stopwatch() - start) * 1000)
        if result.error is not None:
            self._over(sandbox, command, None, start, f"not started: {result.error}", stub=chosen.stub)
            return Outcome("", -1, chosen.not_started(result.error))
        output = await self._decoded(result.output)
        if result.truncated:
            output += f"\n[caged: output cut after {limits.OUTPUT_BYTES // 1024**2} MiB]\n"
        ended = f"exit {result.code}, {milliseconds} ms"
        self._over(sandbox, command, result.code, start, ended, output, chosen.stub, result.truncated)
        if result.code:
            self._note_memory(sandbox, result.output[-4000:])
        return Outcome(output, result.code)

    async def _decoded(self, output: bytes) -> str:
        """A large one in a thread, in pieces: bytes that are no text take long."""
        if len(output) <= DECODED_AT_ONCE:
            return output.decode("utf-8", "replace")
        return await self._services.workers.walk.run(_decode, output)

    def _note_memory(self, sandbox: Sandbox, said: bytes) -> None:
        """A line in the log when a command failed for want of memory."""
        group = sandbox.cage.memory if sandbox.cage is not None else None
        if group is not None:
            before, sandbox.memory_kills = sandbox.memory_kills, group.kills()
            if sandbox.memory_kills > before:
                memory = sandbox.memory_mb
                self._services.failed(sandbox, f"killed for want of memory: the sandbox has {memory} MB")
        elif _OUT_OF_MEMORY.search(said):
            self._services.failed(sandbox, f"out of memory: a process here has {sandbox.memory_mb} MB")

    def _not_running(self, sandbox: Sandbox) -> Outcome:
        hint = "; resume it first" if sandbox.status in ("paused", "stopped") else ""
        return Outcome("", -1, f"sandbox {sandbox.id} is {sandbox.status}, not running{hint}")

    def _over(
        self,
        sandbox: Sandbox,
        command: str,
        code: Optional[int],
        start: float,
        outcome: str,
        output: Optional[str] = None,
        stub: str = "",
        truncated: bool = False,
    ) -> None:
        """Into the log and among the events. `code` is None for a command that has none, `start` of the stopwatch."""
        data = {"command": command, "exit_code": code}
        if code is None:
            data["error"] = outcome
        milliseconds = (self._services.clock.stopwatch() - start) * 1000
        self._services.ran(sandbox, data, milliseconds, output=output, stub=stub, truncated=truncated)
        shown = redacted(sandbox, command, limits.LOGGED_COMMAND)
        self._services.note(sandbox, f"$ {shown} ({outcome}{f', {stub}' if stub else ''})", "command")
