"""The processes of one sandbox, behind their init."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import Any, Callable, Optional

from .channel import Channel
from .inside import frames
from .output import Output
from .shim_rpc import Answer, Asked, ShimCalls
from .terminal import Terminal

READY_LIMIT = 10.0
STOP_LIMIT = 8.0
FREEZE_LIMIT = 5.0
CONNECT_LIMIT = 5.0
LISTEN_LIMIT = 5.0
KILL_LIMIT = 5.0
TERMINAL_LIMIT = 10.0
OUTPUT_LIMIT = 16 * 1024 * 1024


class SandboxGone(Exception):
    """The sandbox's processes are gone: its init died or was stopped."""


@dataclass(frozen=True)
class Result:
    """`code` is 128+n after a signal. `error`: the command could not be started, and `code` is -1. `errors`: standard
    error, when it was asked for apart. `timed_out`: it was killed because its time was up. `signal`: the one that ended
    it, 0 when it exited by itself."""

    output: bytes
    code: int
    truncated: bool
    error: Optional[str] = None
    errors: bytes = b""
    timed_out: bool = False
    signal: int = 0


class SandboxProcesses:
    """`on_lost` is called when init dies without having been asked to, `on_overrun` when it has killed everything
    because there were too many processes."""

    def __init__(
        self,
        control: socket.socket,
        on_lost: Callable[[], None],
        on_ask: Optional[Asked] = None,
        on_overrun: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._on_overrun = on_overrun
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._asking = ShimCalls(on_ask)
        self._ready: asyncio.Future[Optional[socket.socket]] = self._loop.create_future()
        self._stopped: asyncio.Future[int] = self._loop.create_future()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._outputs: set[Output] = set()
        self._opening: dict[int, asyncio.Future[Terminal]] = {}
        self._terminals: dict[int, Terminal] = {}
        self._next_id = 0
        self._stopping = False
        self._channel = Channel(control, self._on_message, self._on_end)

    @property
    def alive(self) -> bool:
        return not self._channel.closed and not self._stopping

    async def ready(self) -> Optional[socket.socket]:
        """Returns when init answers, with the socket that it listens on for the proxy, if it does. Gone when it
        cannot build its isolation, and after READY_LIMIT seconds."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._ready), READY_LIMIT)
        except asyncio.TimeoutError:
            raise SandboxGone(f"the sandbox's init did not answer within {READY_LIMIT:g} s") from None

    def _on_message(self, message: frames.Message, fds: list[int]) -> None:
        event = message["ev"]
        if event == "exit" and message["id"] in self._terminals:
            self._terminals.pop(message["id"]).ended(message["code"])
        elif event in ("exit", "done"):
            future = self._waiting.get(message["id"])
            if future is not None and not future.done():
                future.set_result(message)
        elif event == "pty":
            self._terminal_open(message["id"], fds)
        elif event == "connected":
            self._connected(message, fds)
        elif event in ("ready", "failed") and self._ready.done():
            for fd in fds:  # nobody waits any more
                os.close(fd)
        elif event == "ready":
            self._ready.set_result(socket.socket(fileno=fds[0]) if fds else None)
        elif event == "failed":
            self._ready.set_exception(SandboxGone(message["error"]))
        elif event == "stopped":
            if not self._stopped.done():
                self._stopped.set_result(message["survivors"])
        elif event == "overrun":
            self._on_overrun(message["processes"])
        elif event == "ask":
            self._asking.asked(message["id"], message["question"], Answer(self._channel, message["id"]))
        elif event == "unasked":
            self._asking.unasked(message["id"])

    def _connected(self, message: frames.Message, fds: list[int]) -> None:
        future = self._waiting.get(message["id"])
        if future is not None and not future.done():
            future.set_result({**message, "sockets": fds})
            return
        for fd in fds:
            os.close(fd)

    async def connect(self, host: str, port: int) -> socket.socket:
        """A non-blocking socket of the sandbox's own network, on its way to a port in it. Raises Gone, OSError."""
        request = self._expect()
        future = self._waiting[request]
        try:
            self._channel.send({"op": "connect", "id": request, "host": host, "port": port})
            done, _ = await asyncio.wait({future}, timeout=CONNECT_LIMIT)
            if not done:
                raise SandboxGone(f"the sandbox's init did not open a connection within {CONNECT_LIMIT:g} s")
            message = future.result()
            if not message.get("sockets"):
                raise OSError(message.get("error", "no descriptor left"))
            return socket.socket(fileno=message["sockets"][0])
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                for fd in future.result().get("sockets", ()):
                    os.close(fd)
            raise
        finally:
            del self._waiting[request]

    def _terminal_open(self, command: int, fds: list[int]) -> None:
        opening = self._opening.pop(command, None)
        if not fds or opening is None or opening.done():
            self._channel.send({"op": "kill", "id": command})
            for fd in fds:
                os.close(fd)
            return
        terminal = Terminal(fds[0], lambda: self._channel.send({"op": "kill", "id": command}))
        self._terminals[command] = terminal
        opening.set_result(terminal)

    async def terminal(
        self, argv: list[str], env: dict[str, str], cwd: str, rows: int, cols: int, quiet: bool
    ) -> Terminal:
        """A program that a new terminal controls. `quiet`: see `inside/terminals.py`. Raises Gone, also when it cannot
        be started. Who gets it has to close it."""
        command = self._expect()
        failed = self._waiting[command]
        opening: asyncio.Future[Terminal] = self._loop.create_future()
        self._opening[command] = opening
        size = {"rows": rows, "cols": cols, "quiet": quiet}
        try:
            self._channel.send({"op": "pty", "id": command, "argv": argv, "env": env, "cwd": cwd, **size})
            either: set[asyncio.Future[Any]] = {opening, failed}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=TERMINAL_LIMIT)
            if opening.done():
                return opening.result()
            if failed.done():
                raise SandboxGone(failed.result()["error"])
            raise SandboxGone(f"the sandbox's init did not open a terminal within {TERMINAL_LIMIT:g} s")
        except asyncio.CancelledError:
            if opening.done():
                opening.result().close()
            raise
        finally:
            self._opening.pop(command, None)
            del self._waiting[command]

    def _on_end(self) -> None:
        gone = SandboxGone("the sandbox's processes are gone")
        failed_to_start = not self._ready.done() or self._ready.exception() is not None
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._waiting.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(gone)
                future.exception()  # seen: nobody may be waiting
        if not self._stopped.done():
            self._stopped.set_result(0)
        for output in list(self._outputs):
            output.close()
        for terminal in self._terminals.values():
            terminal.ended(None)
        self._terminals.clear()
        if not self._stopping and not failed_to_start:
            self._on_lost()

    def _expect(self) -> int:
        if not self.alive:
            raise SandboxGone("the sandbox's processes are gone")
        self._next_id += 1
        self._waiting[self._next_id] = self._loop.create_future()
        return self._next_id

    async def run(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        limit: int = OUTPUT_LIMIT,
        apart: bool = False,
        seconds: Optional[float] = None,
    ) -> Result:
        """Runs a program without input, and returns when it exits, also when its children go on. Standard output and
        error share one pipe, or, `apart`, have one each, of which `limit` bytes each are kept. When it takes longer
        than `seconds`, it is killed with all that came from it; so it is when this is cancelled. Raises Gone."""
        command = self._expect()
        outputs: list[Output] = []
        writers: list[int] = []
        try:
            try:
                for _ in range(2 if apart else 1):
                    reader, writer = os.pipe()
                    writers.append(writer)
                    outputs.append(Output(reader, limit, self._outputs.discard))
                    self._outputs.add(outputs[-1])
                self._channel.send({"op": "run", "id": command, "argv": argv, "env": env, "cwd": cwd}, writers)
            except OSError as error:
                for output in outputs:
                    output.close()
                return Result(b"", -1, False, f"the emulator has no descriptor left ({error.strerror})")
            finally:
                for writer in writers:
                    os.close(writer)
            try:
                message, timed_out = await self._end_of(command, seconds)
            except asyncio.CancelledError:
                self._channel.send({"op": "kill", "id": command})
                for output in outputs:
                    output.close()
                raise
            if self._stopping:
                raise SandboxGone("the sandbox was stopped while the command ran")
            collected = [output.finish() for output in outputs]
            if "error" in message:
                return Result(b"", -1, False, message["error"])
            truncated = any(output.truncated for output in outputs)
            errors, ended_by = b"".join(collected[1:]), message.get("signal", 0)
            return Result(collected[0], message["code"], truncated, None, errors, timed_out, ended_by)
        finally:
            del self._waiting[command]

    async def _end_of(self, command: int, seconds: Optional[float]) -> tuple[dict[str, Any], bool]:
        """What init said of the end of a command, and whether it had to be killed for its time."""
        waiting = self._waiting[command]
        done, _ = await asyncio.wait({waiting}, timeout=seconds)
        if done:
            return waiting.result(), False
        self._channel.send({"op": "kill", "id": command})
        done, _ = await asyncio.wait({waiting}, timeout=KILL_LIMIT)
        if not done:
            raise SandboxGone(f"a command that was out of time could not be killed within {KILL_LIMIT:g} s")
        return waiting.result(), True

    async def _tell(self, op: str, limit: float, **more: str) -> dict[str, Any]:
        request = self._expect()
        try:
            self._channel.send({"op": op, "id": request, **more})
            return await asyncio.wait_for(self._waiting[request], limit)
        except asyncio.TimeoutError:
            raise SandboxGone(f"the sandbox's init did not {op} within {limit:g} s") from None
        finally:
            del self._waiting[request]

    async def freeze(self) -> None:
        """SIGSTOP to every process of the sandbox; returns when all have it."""
        await self._tell("freeze", FREEZE_LIMIT)

    async def thaw(self) -> None:
        await self._tell("thaw", FREEZE_LIMIT)

    async def listen(self, directory: str) -> None:
        """Programs inside can ask from now on; harmless to repeat. Raises Gone, also when it cannot be."""
        message = await self._tell("listen", LISTEN_LIMIT, directory=directory)
        if "error" in message:
            raise SandboxGone(f"programs in the sandbox cannot ask the emulator: {message['error']}")

    async def stop(self) -> int:
        """Kills everything and returns how many processes survived that (0, unless one is stuck in the kernel).
        Commands that are still running raise Gone in their callers. Bounded by STOP_LIMIT seconds."""
        self._stopping = True
        if self._channel.closed:
            return 0
        self._channel.send({"op": "stop"})
        try:
            survivors = await asyncio.wait_for(asyncio.shield(self._stopped), STOP_LIMIT)
        except asyncio.TimeoutError:
            survivors = 1
        self._asking.cancel()
        self._channel.close()
        return survivors
