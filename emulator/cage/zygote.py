"""The emulator's end of its zygote, which is started once, and again when it was killed."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Optional

from ..descriptors import ordinary_limit
from .channel import Channel
from .init_spec import InitSpec
from .inside import frames

logger = logging.getLogger(__name__)

START_LIMIT = 30.0
STOP_LIMIT = 8.0

#: Without collections of garbage among what it imports, which find nothing, it is ready after a tenth less processor
#: time.
_BOOT = (
    "import gc, sys; gc.disable(); sys.path.insert(0, {path!r}); from inside import {module} as it; gc.freeze();"
    " gc.enable(); {call}"
)


def _ordinary_limit() -> str:
    """A statement that gives the zygote, and so every sandbox, the ordinary limit of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ordinary = ordinary_limit()
    if soft == ordinary:
        return ""
    return f"__import__('resource').setrlimit({resource.RLIMIT_NOFILE}, ({ordinary}, {hard})); "


class ZygoteError(Exception):
    """The zygote cannot be started, or has ended."""


def library_path() -> dict[str, str]:
    """Return what of the environment a bare interpreter needs to find its own libraries."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}


def python_words(program: str, library: str, module: str, call: str) -> list[str]:
    """Return the command that runs one of the `inside` modules in a bare interpreter.

    Args:
        program: The interpreter.
        library: The directory that holds the package `inside`.
        module: The module, which the call names `it`.
        call: The statement to run.
    """
    boot = _BOOT.format(path=library, module=module, call=call)
    return [program, "-I", "-S", "-X", "utf8", "-c", boot]


def _how_it_ended(status: int) -> str:
    """Describe the wait status of a process that has ended."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"was ended by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal
        return f"was ended by signal {-code}"


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    """Return when a process has ended. Blocks. Raises subprocess.TimeoutExpired after STOP_LIMIT seconds."""
    if hasattr(os, "pidfd_open"):
        try:
            ended = os.pidfd_open(process.pid)
        except OSError:
            pass  # an older kernel, or it was waited for already
        else:
            # At once when it ends; `process.wait` looks at growing intervals, of up to 50 ms.
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            poll.poll(STOP_LIMIT * 1000)
            os.close(ended)
            process.wait(0.1)
            return
    process.wait(STOP_LIMIT)


class Zygote:
    """Forks one init per sandbox.

    Args:
        run_dir: A directory that the zygote removes when the emulator has ended without removing it; None for none.
        log: Writes to the emulator's log.
        held: A descriptor that the zygote and its inits keep open as long as they run.
    """

    def __init__(self, run_dir: Optional[Path], held: Optional[int] = None) -> None:
        self._held = [held] if held is not None else []
        self._run_dir = run_dir
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._channel: Optional[Channel] = None
        self._ready: Optional[asyncio.Future[int]] = None
        self._socket: Optional[socket.socket] = None
        #: Process number of each sandbox's init on the host; at level `bwrap`, that of bwrap, whose child init is.
        self.inits: dict[str, int] = {}
        self._expected: dict[str, asyncio.Future[int]] = {}

    @property
    def held(self) -> tuple[int, ...]:
        """The descriptors that the zygote and its inits keep open."""
        return tuple(self._held)

    @property
    def pid(self) -> Optional[int]:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process without waiting for it; `create` waits. Without effect when it runs.

        Raises:
            ZygoteError: It cannot be started.
        """
        if self._channel is not None and not self._channel.closed:
            return
        if self._process is not None:
            self._process.kill()  # it has closed its socket, so it is ending or hangs
            self._process.wait()
        if not sys.executable:
            raise ZygoteError("this Python does not know its own executable (sys.executable is empty)")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        call = _ordinary_limit()
        call += f"it.main({theirs.fileno()}, {os.getpid()}, {str(self._run_dir or '')!r}, {self._held!r})"
        try:
            self._process = subprocess.Popen(
                python_words(sys.executable, str(Path(__file__).parent), "zygote", call),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *self._held],
                env={"PATH": os.defpath, "LANG": "C.UTF-8", **library_path()},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise ZygoteError(f"cannot start {sys.executable}: {error}") from error
        finally:
            theirs.close()
        self._socket = ours
        self._ready = asyncio.get_running_loop().create_future()
        self._channel = Channel(ours, self._on_message, self._on_end, self._on_refused)

    def _on_message(self, message: frames.Message, _fds: list[int]) -> None:
        if message["ev"] == "created":
            self.inits[message["id"]] = message["pid"]
            waiting = self._expected.pop(message["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message["pid"])
        elif message["ev"] == "ended":
            # One that is stopped is not among them any more.
            for sandbox_id in [name for name, pid in self.inits.items() if pid == message["pid"]]:
                # One that cannot start exits, with a reason that is reported elsewhere.
                level = logging.WARNING if os.WIFSIGNALED(message["status"]) else logging.INFO
                logger.log(level, "the first process of %s %s", sandbox_id, _how_it_ended(message["status"]))
        elif message["ev"] == "ready" and self._ready is not None and not self._ready.done():
            self._ready.set_result(message["pid"])

    def _on_refused(self, _message: frames.Message, fds: list[int]) -> None:
        """Report on a sandbox's control socket, as the zygote does, that it was not created."""
        frames.report_failure(fds[0], frames.refusal())

    def _on_end(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.cancel()

    async def create(self, spec: InitSpec) -> socket.socket:
        """Fork a new init. It reports `ready` or `failed` on its control socket.

        Args:
            spec: What the zygote and init need to know; see `init_spec.py`.

        Returns:
            The emulator's end of the control socket.

        Raises:
            ZygoteError: The zygote has not started within START_LIMIT seconds.
        """
        self.start()
        assert self._channel is not None
        assert self._ready is not None
        try:
            if not self._ready.done() or self._ready.cancelled():
                await asyncio.wait_for(asyncio.shield(self._ready), START_LIMIT)
        except (asyncio.TimeoutError, asyncio.CancelledError) as error:
            if self._ready.cancelled() or isinstance(error, asyncio.TimeoutError):
                raise ZygoteError(f"the zygote (pid {self.pid}) did not answer within {START_LIMIT:g} s") from error
            raise
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._channel.send({"op": "create", "spec": spec}, [theirs.fileno()])
        theirs.close()
        return ours

    async def init_of(self, sandbox_id: str) -> int:
        """Return the process number of a sandbox's init, which the zygote may report after init's own `ready`.

        Raises:
            ZygoteError: It has not been reported within START_LIMIT seconds.
        """
        if sandbox_id in self.inits:
            return self.inits[sandbox_id]
        waiting = self._expected.setdefault(sandbox_id, asyncio.get_running_loop().create_future())
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), START_LIMIT)
        except asyncio.TimeoutError:
            raise ZygoteError(f"the zygote did not report the init of {sandbox_id} within {START_LIMIT:g} s") from None

    def rename(self, sandbox_id: str, new_id: str) -> None:
        """Give a sandbox whose init was reported another id."""
        self.inits[new_id] = self.inits.pop(sandbox_id)

    async def stop(self) -> None:
        """End the zygote and, with it, every sandbox that is left, within STOP_LIMIT seconds."""
        if self._channel is not None:
            self._channel.close()
        process = self._process
        if process is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(None, _wait_for_end, process)
        except subprocess.TimeoutExpired:
            logger.warning("zygote %d did not end within %g s; killing it", process.pid, STOP_LIMIT)
            process.kill()
            process.wait()

    def abandon(self) -> None:
        """Do the same without the event loop, from any thread."""
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        if self._process is not None:
            try:
                _wait_for_end(self._process)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
