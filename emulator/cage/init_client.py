"""The client of one sandbox's init: starts commands and terminals, opens connections, freezes, thaws and stops.

The protocol is described in `inside/init.py`. Paths, environments and files are the business of `cage.py`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from typing import Any, Callable, Optional

from .channel import Channel
from .command_result import CommandResult, not_started
from .inside import frames
from .output import OUTPUT_LIMIT, READ_AFTER, READ_AFTER_LONGEST, OutputReader, OutputWatch
from .shim_rpc import ShimHandler, ShimReply, ShimRequests
from .terminal import Terminal

READY_LIMIT = 10.0
STOP_LIMIT = 8.0
ASSIGN_LIMIT = 2.0
FREEZE_LIMIT = 5.0
CONNECT_LIMIT = 5.0
LISTEN_LIMIT = 5.0
KILL_LIMIT = 5.0
REMOUNT_LIMIT = 10.0
TERMINAL_LIMIT = 10.0


class SandboxGone(Exception):
    """The sandbox's processes have ended: its init died or was stopped."""


class InitClient:
    """The emulator's end of the control socket of one init.

    Args:
        control: The socket.
        on_lost: Called when init ends without `stop`.
        on_shim_request: Replies to shims in the sandbox.
        on_overrun: Called with the number of processes after init has killed all because there were too many.
    """

    def __init__(
        self,
        control: socket.socket,
        on_lost: Callable[[], None],
        on_shim_request: Optional[ShimHandler] = None,
        on_overrun: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._on_overrun = on_overrun
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._shim_requests = ShimRequests(on_shim_request)
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._listening: Optional[socket.socket] = None  # until `ready` returns it
        self._stopped: asyncio.Future[int] = self._loop.create_future()
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}  # requests, by id
        self._outputs: set[OutputReader] = set()
        self._opening: dict[int, asyncio.Future[Terminal]] = {}
        self._terminals: dict[int, Terminal] = {}
        self._next_id = 0
        self._stopping = False
        self._root: Optional[int] = None
        self._channel = Channel(control, self._on_message, self._on_end, self._on_refused)

    @property
    def alive(self) -> bool:
        return not self._channel.closed and not self._stopping

    @property
    def descriptors(self) -> int:
        """How many descriptors of this process it holds while no command runs."""
        return (not self._channel.closed) + (self._root is not None)

    def is_connected(self) -> bool:
        """Whether init still has its end of the control socket, which the event loop may not have noticed yet."""
        return self.alive and self._channel.is_connected()

    async def assign(self, sandbox_id: str, hosts: Optional[bytes]) -> None:
        """Make this the init of a sandbox that was not known when it started.

        Args:
            sandbox_id: The sandbox's id, which becomes the host name.
            hosts: The content of its /etc/hosts; None where init does not write that file.

        Raises:
            SandboxGone: Init has ended, or has not answered within ASSIGN_LIMIT seconds.
        """
        shown = {} if hosts is None else {"hosts": hosts.decode("latin-1")}
        message = await self._request("assign", ASSIGN_LIMIT, host=sandbox_id, **shown)
        if "error" in message:
            raise SandboxGone(message["error"])

    def report_to(
        self,
        on_lost: Callable[[], None],
        on_shim_request: Optional[ShimHandler],
        on_overrun: Callable[[int], None],
    ) -> None:
        """Report to others from now on; the arguments are those of the class."""
        self._on_lost = on_lost
        self._on_overrun = on_overrun
        self._shim_requests = ShimRequests(on_shim_request)

    def open_root(self) -> Optional[int]:
        """Return a descriptor of the sandbox's root directory for the caller to close. It is opened as a path alone
        (O_PATH), and leads to the sandbox's whole file system, with its mounts.

        Returns:
            The descriptor; None at level `process`, and after the sandbox has ended.

        Raises:
            OSError: There is no descriptor left.
        """
        # A duplicate: a thread that still uses it when the sandbox ends must not find another file under its number.
        return None if self._root is None else os.dup(self._root)

    async def ready(self) -> Optional[socket.socket]:
        """Wait until init has started.

        Returns:
            The socket on which it listens for the proxy, if the sandbox has one.

        Raises:
            SandboxGone: Init cannot build its isolation, or has not started within READY_LIMIT seconds.
        """
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), READY_LIMIT)
        except asyncio.TimeoutError:
            raise SandboxGone(f"the sandbox's init did not answer within {READY_LIMIT:g} s") from None
        listening, self._listening = self._listening, None
        return listening

    # --- events

    def _on_message(self, message: frames.Message, fds: list[int]) -> None:
        event = message["ev"]
        if event == "exit" and message["id"] in self._terminals:
            self._terminals.pop(message["id"]).ended(message["code"])
        elif event in ("exit", "done", "connected"):
            self._complete(message, fds)
        elif event == "pty":
            self._on_terminal(message["id"], fds)
        elif event in ("ready", "failed"):
            self._on_started(message, fds)
        elif event == "stopped":
            if not self._stopped.done():
                self._stopped.set_result(message["survivors"])
        elif event == "overrun":
            self._on_overrun(message["processes"])
        elif event == "shim_request":
            self._shim_requests.start(message["id"], message["request"], ShimReply(self._channel, message["id"]))
        elif event == "shim_cancelled":
            self._shim_requests.cancel(message["id"])

    def _complete(self, message: frames.Message, fds: list[int]) -> None:
        future = self._pending.get(message["id"])
        if future is not None and not future.done():
            future.set_result({**message, "sockets": fds} if fds else message)
        else:
            _close_all(fds)  # the request was cancelled

    def _on_refused(self, message: frames.Message, _fds: list[int]) -> None:
        self._complete({"id": message["id"], "error": frames.refusal()}, [])

    def _on_started(self, message: frames.Message, fds: list[int]) -> None:
        if self._ready.done():
            _close_all(fds)
        elif message["ev"] == "ready" and len(fds) < message.get("fds", 0):
            _close_all(fds)
            self._ready.set_exception(SandboxGone("the emulator has no descriptor left"))
        elif message["ev"] == "ready":
            if message["root"]:
                self._root = fds.pop(0)
            if fds:
                self._listening = socket.socket(fileno=fds[0])
            self._ready.set_result(None)
        else:
            self._ready.set_exception(SandboxGone(message["error"]))

    def _on_terminal(self, command: int, fds: list[int]) -> None:
        opening = self._opening.pop(command, None)
        if not fds or opening is None or opening.done():
            self._kill(command)
            _close_all(fds)
            return
        terminal = Terminal(fds[0], lambda: self._kill(command))
        self._terminals[command] = terminal
        opening.set_result(terminal)

    def _on_end(self) -> None:
        if self._root is not None:
            os.close(self._root)
            self._root = None
        if self._listening is not None:  # `ready` was cancelled, or has not been called
            self._listening.close()
            self._listening = None
        gone = SandboxGone("the sandbox's processes are gone")
        failed_to_start = not self._ready.done() or self._ready.exception() is not None
        pending: list[asyncio.Future[Any]] = [self._ready, *self._pending.values()]
        for future in pending:
            if not future.done():
                future.set_exception(gone)
                future.exception()  # marks it as retrieved: its caller may have been cancelled
        if not self._stopped.done():
            self._stopped.set_result(0)
        for output in list(self._outputs):
            output.close()
        for terminal in self._terminals.values():
            terminal.ended(None)
        self._terminals.clear()
        if not self._stopping and not failed_to_start:
            self._on_lost()

    # --- requests

    def _new_request(self) -> int:
        if not self.alive:
            raise SandboxGone("the sandbox's processes are gone")
        self._next_id += 1
        self._pending[self._next_id] = self._loop.create_future()
        return self._next_id

    async def _request(self, op: str, limit: float, **fields: str) -> dict[str, Any]:
        request = self._new_request()
        try:
            self._channel.send({"op": op, "id": request, **fields})
            return await asyncio.wait_for(self._pending[request], limit)
        except asyncio.TimeoutError:
            raise SandboxGone(f"the sandbox's init did not {op} within {limit:g} s") from None
        finally:
            del self._pending[request]

    def _kill(self, command: int) -> None:
        self._channel.send({"op": "kill", "id": command})

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a non-blocking socket of the sandbox's own network that is connecting to a port in it.

        Raises:
            SandboxGone: The sandbox has ended, or init has not answered within CONNECT_LIMIT seconds.
            OSError: The connection failed at once.
        """
        return await self._request_socket("connect", host=host, port=port)

    async def serve(self) -> socket.socket:
        """Return a socket that listens on a free port of loopback in the sandbox's own network. Raises as `connect`."""
        return await self._request_socket("serve")

    async def _request_socket(self, op: str, **fields: object) -> socket.socket:
        request = self._new_request()
        future = self._pending[request]
        try:
            self._channel.send({"op": op, "id": request, **fields})
            done, _ = await asyncio.wait({future}, timeout=CONNECT_LIMIT)
            if not done:
                raise SandboxGone(f"the sandbox's init did not open a socket within {CONNECT_LIMIT:g} s")
            message = future.result()
            if not message.get("sockets"):
                raise OSError(message.get("error", "no descriptor left"))
            return socket.socket(fileno=message["sockets"][0])
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                _close_all(future.result().get("sockets", ()))
            raise
        finally:
            del self._pending[request]

    async def terminal(
        self, argv: list[str], env: dict[str, str], cwd: str, rows: int, cols: int, quiet: bool
    ) -> Terminal:
        """Start a program on a new terminal, which the caller has to close.

        Args:
            argv: The program and its arguments.
            env: Its environment.
            cwd: Its working directory, as the sandbox has it.
            rows: Lines of the terminal.
            cols: Characters of a line.
            quiet: See `inside/terminals.py`.

        Raises:
            SandboxGone: The sandbox has ended, or the program cannot be started.
        """
        command = self._new_request()
        failed = self._pending[command]
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
            del self._pending[command]

    async def run(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        limit: int = OUTPUT_LIMIT,
        separate: bool = False,
        seconds: Optional[float] = None,
        watch: Optional[OutputWatch] = None,
    ) -> CommandResult:
        """Run a program without input until it exits; processes that it has started may go on.

        When this is cancelled, the program is killed with all processes that it has started.

        Args:
            argv: The program and its arguments.
            env: Its environment.
            cwd: Its working directory, as the sandbox has it.
            limit: The number of bytes to keep of each output.
            separate: Whether standard error gets a pipe of its own.
            seconds: The time after which the program is killed as if this were cancelled; None for no limit.
            watch: What shows its output while it runs, and after it was killed.

        Raises:
            SandboxGone: The sandbox ends.
        """
        command = self._new_request()
        outputs: list[OutputReader] = []
        if watch is not None:
            watch.attach(outputs, lambda error: self._abort(command, error))
        try:
            try:
                on_reading = (lambda: None) if watch is None else watch.on_reading
                fields: dict[str, object] = {"argv": argv, "env": env, "cwd": cwd}
                self._send_run(command, fields, outputs, limit, 2 if separate else 1, on_reading)
                if seconds is None:
                    message, timed_out = await self._pending[command], False
                else:
                    message, timed_out = await self._end_within(command, seconds)
            except OSError as error:
                _close_outputs(outputs)
                return not_started(f"the emulator has no descriptor left ({error.strerror})")
            except (asyncio.CancelledError, SandboxGone):
                for output in outputs:
                    output.drain()
                self._kill(command)
                _close_outputs(outputs)
                raise
            if self._stopping:
                raise SandboxGone("the sandbox was stopped while the command ran")
            written = [output.finish() for output in outputs]
            if "error" in message:
                return not_started(message["error"])
            truncated = any(output.truncated for output in outputs)
            errors, ended_by = b"".join(written[1:]), message.get("signal", 0)
            times = outputs[0].relative_times()
            return CommandResult(written[0], message["code"], truncated, None, errors, timed_out, ended_by, times)
        finally:
            del self._pending[command]

    def _abort(self, command: int, error: Exception) -> None:
        future = self._pending.get(command)
        if future is not None and not future.done():
            future.set_exception(error)
            future.exception()  # marks it as retrieved: its caller may be cancelled meanwhile

    def _send_run(
        self,
        command: int,
        fields: dict[str, object],
        outputs: list[OutputReader],
        limit: int,
        pipes: int,
        on_reading: Callable[[], None],
    ) -> None:
        """Make the pipes and send the request. Raises OSError when there is no descriptor left."""
        readers: list[int] = []
        writers: list[int] = []
        try:
            for _ in range(pipes):
                reader, writer = os.pipe()
                readers.append(reader)
                writers.append(writer)
            self._channel.send({"op": "run", "id": command, **fields}, writers)
        except OSError:
            _close_all(readers)
            raise
        finally:
            _close_all(writers)
        after = min(READ_AFTER * len(self._pending), READ_AFTER_LONGEST)
        for reader in readers:  # only now, while init starts the command
            outputs.append(OutputReader(reader, limit, self._outputs.discard, on_reading, after))
            self._outputs.add(outputs[-1])

    async def _end_within(self, command: int, seconds: float) -> tuple[dict[str, Any], bool]:
        """Init's report of the end of a command, and whether it was killed because of its time limit."""
        pending = self._pending[command]
        done, _ = await asyncio.wait({pending}, timeout=seconds)
        if done:
            return pending.result(), False
        self._kill(command)
        done, _ = await asyncio.wait({pending}, timeout=KILL_LIMIT)
        if not done:
            raise SandboxGone(f"a command that was out of time could not be killed within {KILL_LIMIT:g} s")
        return pending.result(), True

    async def freeze(self) -> None:
        """Stop every process of the sandbox by SIGSTOP; returns when all are stopped."""
        await self._request("freeze", FREEZE_LIMIT)

    async def thaw(self) -> None:
        """Continue the processes that `freeze` has stopped."""
        await self._request("thaw", FREEZE_LIMIT)

    async def listen(self, directory: str) -> None:
        """Accept requests of shims from now on; repeating it has no effect.

        Raises:
            SandboxGone: The sandbox has ended, or the socket cannot be made in `directory`.
        """
        message = await self._request("listen", LISTEN_LIMIT, directory=directory)
        if "error" in message:
            raise SandboxGone(f"programs in the sandbox cannot reach the emulator: {message['error']}")

    async def remount(self) -> None:
        """Mount the overlays of the sandbox's root again, since their upper layers were replaced.

        Raises:
            SandboxGone: The sandbox has ended.
            OSError: They cannot be mounted. The old ones still are.
        """
        message = await self._request("remount", REMOUNT_LIMIT)
        if "error" in message:
            raise OSError(errno.EIO, f"the file system cannot be mounted again: {message['error']}")

    async def stop(self) -> int:
        """Kill every process, within STOP_LIMIT seconds. Calls of `run` raise SandboxGone.

        Returns:
            The number of processes that survived: 0, unless one is stuck in the kernel.
        """
        self._stopping = True
        if self._channel.closed:
            return 0
        self._channel.send({"op": "stop"})
        await asyncio.wait({self._stopped}, timeout=STOP_LIMIT)
        survivors = self._stopped.result() if self._stopped.done() else 1
        self._shim_requests.cancel_all()
        self._channel.close()
        return survivors


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _close_outputs(outputs: list[OutputReader]) -> None:
    for output in outputs:
        output.close()
