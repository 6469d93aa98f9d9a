"""The process of the fork server: `fork_server.py` starts it, and requests forks of it. Each fork becomes the requested
program."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import runpy
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
import types
from typing import Any, Optional

from fork_server import ADDRESS, LENGTH, START_SECONDS, Process
from fork_server_preload import preload


class _Server:
    """Forks a process for each connection and reports its number and its exit code, a line each."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"\0{address}")
        self._listener.listen(100)
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._running: dict[int, socket.socket] = {}

    def leave(self) -> None:
        """Close it in a process that has let a fork serve."""
        for number in (self._listener.detach(), self._woken, self._wake):
            os.close(number)

    def serve(self) -> Optional[dict[str, Any]]:
        """Return the request in the fork that has to run it, and None in the server when its client is gone."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        print("ready", flush=True)
        with selectors.DefaultSelector() as self._selector:
            for source in (self._listener, self._woken, 0):
                self._selector.register(source, selectors.EVENT_READ)
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj == 0:
                        self._kill(list(self._running))
                        return None
                    if key.fileobj == self._woken:
                        self._reap()
                    elif key.fileobj is self._listener:
                        request = self._accept()
                        if request is not None:
                            return request
                    elif key.data in self._running:  # its client has gone
                        self._selector.unregister(key.fileobj)
                        self._kill([key.data])

    def _accept(self) -> Optional[dict[str, Any]]:
        connection, _ = self._listener.accept()
        connection.settimeout(START_SECONDS)
        head, streams, _, _ = socket.recv_fds(connection, LENGTH.size, 3)
        with connection.makefile("rb") as file:
            request: dict[str, Any] = json.loads(file.read(*LENGTH.unpack(head)))
        pid = os.fork()
        if pid == 0:
            self._become_program(connection, streams)
            return request
        for number in streams:
            os.close(number)
        self._running[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        connection.sendall(f"{pid}\n".encode())
        return None

    def _become_program(self, connection: socket.socket, streams: list[int]) -> None:
        signal.set_wakeup_fd(-1)
        # This run of the tests may ignore signals, for example under nohup or as a background job.
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for other in (connection, self._listener, *self._running.values()):
            other.close()
        # Copy to numbers above 2 first, so that no stream overwrites one that is still to be copied.
        for target, source in enumerate(streams):
            os.dup2(source, target)
        for number in (self._woken, self._wake, *streams):
            os.close(number)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 1000):
                pass
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._running.pop(pid) as connection:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(connection)
                with contextlib.suppress(OSError):  # its client has gone
                    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())

    @staticmethod
    def _kill(pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _run_program(request: dict[str, Any]) -> None:
    """Run the requested program like `python WORDS...` in its environment and directory."""
    os.environ.clear()
    os.environ.update(request["env"])
    if request["session"]:
        os.setsid()
        if "xdist" in sys.modules and request["words"][:2] == ["-m", "pytest"]:
            _serve_own_session()
    os.chdir(request["cwd"])
    _open_streams()
    paths = [path for path in request["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[0:1] = paths  # the server's own script was started from the directory that this removes
    if "xdist" in sys.modules:
        _fork_xdist_workers()
    become(request["words"])


def _serve_own_session() -> None:
    """Start a server in the session that this program leads, for workers that are in it. It ends with the program."""
    server = _Server(f"caged-tests-{os.getpid()}-{secrets.token_hex(8)}")
    closed_at_end, _kept_open = os.pipe()
    if os.fork() != 0:
        server.leave()
        os.close(closed_at_end)
        os.environ[ADDRESS] = server.address
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for the program and its workers
    os.close(_kept_open)
    os.dup2(closed_at_end, 0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(nowhere, number)
    for number in (closed_at_end, nowhere):
        os.close(number)
    request = server.serve()
    if request is None:
        os._exit(0)
    _end(_exit_code(request))


def become(words: list[str]) -> None:
    """Run a program in this process: the words are what follows `python` on a command line."""
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.path.insert(0, "")
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(words[1], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = words
        sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
        runpy.run_path(words[0], run_name="__main__")


def _open_streams() -> None:
    """Create new objects for the standard streams, because their buffering depends on their targets."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        buffered = open(number, "wb" if number else "rb", closefd=False)  # noqa: SIM115
        eager = number == 2 or os.isatty(number)
        errors = "backslashreplace" if number == 2 else "strict"
        stream = io.TextIOWrapper(buffered, encoding="utf-8", errors=errors, line_buffering=eager)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _fork_xdist_workers() -> None:
    """Let xdist start its workers by the server, too."""
    from execnet import gateway_io
    from execnet.gateway_base import Popen2IO

    def start(self: Any, args: list[str], execmodel: Any) -> None:
        words = [word for word in args if word != "-u"]
        self.popen = Process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)

    gateway_io.Popen2IOMaster.__init__ = start  # type: ignore[method-assign]


def _main() -> None:
    preload()
    request = _Server(sys.argv[1]).serve()
    if request is not None:
        _end(_exit_code(request))


def _exit_code(request: dict[str, Any]) -> int:
    """Run the program and return what `python` exits with after it."""
    try:
        _run_program(request)
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            return ending.code or 0
        print(ending.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        raise  # Python then kills itself with the signal
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end(code: int) -> None:
    """End as Python does, without the destruction of every module: in a fork that copies all memory, and takes ten
    times as long as the rest of a small program."""
    for step in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except ValueError:
            pass  # the program has closed it
        except OSError:
            raise SystemExit(code) from None  # Python reports it, and exits with 120
    os._exit(code & 0xFF)


if __name__ == "__main__":
    # A program in a fork finds this module, and so that it is in one (`continuing.py`).
    sys.modules["fork_server_process"] = sys.modules["__main__"]
    _main()
