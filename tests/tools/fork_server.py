"""Start Python programs as forks of a process that has imported pytest, the SDK and the emulator already.

Most of the time that a small program needs goes into imports: 0.5 s of CPU time for `python -m pytest`, 1 s more once
an emulator starts. A fork of a process that has them loaded needs a few milliseconds. It is a process of its own, with
its own environment, directory, standard streams, signals, exit handlers and exit code, so a test that runs one sees
what a user's process does. Two things differ: what is imported at which time, and the entries `cmdline` and `environ`
in /proc. A test that is about these starts an interpreter with `subprocess`.

    done = run([sys.executable, "-m", "caged.emulator", "status"], capture_output=True, text=True, timeout=30)

The server is one thread that waits for requests on a socket, one connection for each program; its code is in
`fork_server_process.py`. It starts with the first request of a test process and ends with that process, and with it all
programs that still run. The workers of xdist share one, see `share`. Linux only; elsewhere `Process` and `run` are
those of `subprocess`, because the system libraries of macOS do not survive a fork.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import io
import json
import os
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Optional, Union

#: Environment variable of forks with the server's socket: pytest in a fork starts its xdist workers there.
ADDRESS = "TESTS_FORK_SERVER"
#: Environment variable with the directory of a server that several test processes share.
SHARED = "TESTS_FORK_SERVER_SHARED"
START_SECONDS = 60
_PROGRAM = Path(__file__).resolve().with_name("fork_server_process.py")
#: The length of a request, which comes before it.
LENGTH = struct.Struct("!I")


class Process:
    """A Python program that the server runs, with the part of the interface of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        args: Sequence[str],
        *,
        stdin: Union[int, IO[Any], None] = None,
        stdout: Union[int, IO[Any], None] = None,
        stderr: Union[int, IO[Any], None] = None,
        cwd: Optional[Union[str, os.PathLike[str]]] = None,
        env: Optional[Mapping[str, str]] = None,
        text: bool = False,
        start_new_session: bool = False,
    ) -> None:
        """Start the program.

        Args:
            args: The interpreter of this process, then `-m MODULE`, `-c CODE` or a script, then arguments.
            start_new_session: Whether the program leads a session of its own, with all processes that it starts.
        """
        if args[0] != sys.executable or (args[1].startswith("-") and args[1] not in ("-m", "-c")):
            raise ValueError(f"the fork server runs [sys.executable, '-m' or '-c' or a script, ...], not {list(args)}")
        self.args = list(args)
        self.returncode: Optional[int] = None
        self._received = b""
        self._waiting = threading.Lock()
        self._readers: list[threading.Thread] = []
        theirs: list[int] = []  # what the program has as its descriptors 0, 1 and 2
        to_close: list[int] = []
        self.stdin = self._pipe(stdin, 0, theirs, to_close, text)
        self.stdout = self._pipe(stdout, 1, theirs, to_close, text)
        self.stderr = self._pipe(stderr, 2, theirs, to_close, text)
        environment = dict(os.environ if env is None else env)
        request = {
            "words": self.args[1:],
            "cwd": os.path.abspath(cwd or "."),
            "env": {**environment, ADDRESS: address()},
            "session": start_new_session,
        }
        try:
            self._connection = _connect(request["env"][ADDRESS])
            message = json.dumps(request).encode()
            self._send_descriptors(LENGTH.pack(len(message)), theirs)
            self._connection.sendall(message)
            self.pid = int(self._line(START_SECONDS))
        finally:
            for number in to_close:
                os.close(number)

    @staticmethod
    def _pipe(given: Any, number: int, theirs: list[int], to_close: list[int], text: bool) -> Optional[IO[Any]]:
        if given == subprocess.PIPE:
            reading, writing = os.pipe()
            ours, other = (writing, reading) if number == 0 else (reading, writing)
            theirs.append(other)
            to_close.append(other)
            raw = open(ours, "wb" if number == 0 else "rb", 0 if number == 0 else -1)  # noqa: SIM115
            return io.TextIOWrapper(raw, write_through=True) if text else raw  # type: ignore[type-var]
        if given == subprocess.STDOUT:
            theirs.append(theirs[1])
        elif given == subprocess.DEVNULL:
            theirs.append(os.open(os.devnull, os.O_RDWR))
            to_close.append(theirs[-1])
        else:
            theirs.append(number if given is None else given if isinstance(given, int) else given.fileno())
        return None

    def _send_descriptors(self, data: bytes, descriptors: list[int]) -> None:
        """Send descriptors, which the kernel refuses an ordinary user as long as an attack of another test has too many
        on their way."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.send_fds(self._connection, [data], descriptors)
                return
            except OSError as error:
                if error.errno != errno.ETOOMANYREFS or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _line(self, seconds: Optional[float]) -> str:
        """Return the next line of the server. Raises TimeoutError if it does not arrive in time."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._received:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._connection], [], [], left)[0]:
                raise TimeoutError
            piece = self._connection.recv(100)
            if not piece:
                raise RuntimeError(f"the fork server ended while it ran {self.args}")
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def wait(self, timeout: Optional[float] = None) -> int:
        """Wait for the end and return the exit code. subprocess.TimeoutExpired after `timeout` seconds.

        Several threads may call it: one of them reads from the server, and the others wait for that one.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._waiting.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        try:
            if self.returncode is None:
                self.returncode = int(self._line(None if deadline is None else max(0.0, deadline - time.monotonic())))
                self._connection.close()
            return self.returncode
        except TimeoutError:
            raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
        finally:
            self._waiting.release()

    def poll(self) -> Optional[int]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def communicate(self, input: Any = None, timeout: Optional[float] = None) -> tuple[Any, Any]:
        """Send the input, read all output, wait for the end. subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pipes = (self.stdout, self.stderr)
        parts: list[list[Any]] = [[], []]
        threads = [
            threading.Thread(target=lambda pipe=pipe, part=part: part.append(pipe.read()), daemon=True)
            for pipe, part in zip(pipes, parts)
            if pipe is not None
        ]
        self._readers = threads
        for thread in threads:
            thread.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                if input:
                    self.stdin.write(input)
                self.stdin.close()
        for thread in threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        self._close()
        out, err = (None if pipe is None else part[0] for pipe, part in zip(pipes, parts))
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, but the end is not reported yet
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _close(self) -> None:
        for reader in self._readers:
            reader.join(1)  # after the program's end; a child that it left may still have the other end
            if reader.is_alive():
                return
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self.wait()


def run(
    args: Sequence[str],
    *,
    input: Any = None,
    capture_output: bool = False,
    timeout: Optional[float] = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`, by the fork server."""
    if capture_output:
        options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if input is not None:
        options["stdin"] = subprocess.PIPE
    process = Process(args, **options)
    try:
        out, err = process.communicate(input, timeout)
    except BaseException:
        process.kill()
        process.wait(60)
        process._close()
        raise
    done = subprocess.CompletedProcess(process.args, process.wait(), out, err)
    if check:
        done.check_returncode()
    return done


_server: Optional[subprocess.Popen[bytes]] = None
_address = ""
#: What the server waits for the end of: a pipe's end that this process has open.
_kept_open = -1


@contextlib.contextmanager
def share() -> Iterator[None]:
    """Let the processes that this one starts meanwhile, the workers of xdist, share a server.

    What it imports first takes 0.7 s of CPU time. It starts with the first request of any of them, and ends with the
    last of them that has made one.
    """
    os.environ[SHARED] = directory = tempfile.mkdtemp(prefix="fork-server-")
    try:
        yield
    finally:
        del os.environ[SHARED]
        shutil.rmtree(directory, ignore_errors=True)


def address() -> str:
    """The server's address. Starts the server with the first call in a process, or in those that share one."""
    global _address
    if ADDRESS in os.environ:
        return os.environ[ADDRESS]
    if not _address or (_server is not None and _server.poll() is not None):
        if SHARED in os.environ:
            _address = _shared_address(os.environ[SHARED])
        else:
            reading, writing = os.pipe()
            _address = f"caged-tests-{os.getpid()}-{secrets.token_hex(8)}"
            _start(_address, reading, writing)
        atexit.register(stop)
    return _address


def _shared_address(directory: str) -> str:
    """The address of the server of several processes. Starts it where none runs."""
    global _kept_open
    name, pipe = f"caged-tests-{os.path.basename(directory)}", os.path.join(directory, "pipe")
    with open(os.path.join(directory, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(pipe)
        try:
            # Fails where no server reads it.
            _kept_open = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            _start(name, reading, os.open(pipe, os.O_WRONLY))
    return name


def _start(name: str, reading: int, writing: int) -> None:
    """Start a server. It ends when no process has the writing end of the pipe open."""
    global _server, _kept_open
    left_out = ("CAGED_", "PYTHON", "PYTEST_", SHARED)
    env = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    env[ADDRESS] = name  # in /proc/PID/environ of every program, where a test can look for it
    _server = subprocess.Popen(
        [sys.executable, str(_PROGRAM), name],
        stdin=reading,
        stdout=subprocess.PIPE,
        env=env,
    )
    os.close(reading)
    _kept_open = writing
    assert _server.stdout is not None
    if not select.select([_server.stdout], [], [], START_SECONDS)[0] or not _server.stdout.readline():
        _server.kill()
        raise RuntimeError(f"the fork server did not start within {START_SECONDS} s, or failed: see its errors")


def stop() -> None:
    """Let the server end: with the programs that it still runs, unless another process shares it."""
    global _server, _address, _kept_open
    if _kept_open >= 0:
        os.close(_kept_open)
    if _server is not None and _server.stdout is not None:
        _server.stdout.close()
        if SHARED not in os.environ:
            _server.wait(10)
    _server, _address, _kept_open = None, "", -1


def _connect(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"\0{address}")  # the abstract namespace of Linux: no file is left behind
    return connection


if sys.platform != "linux" and not os.environ.get(ADDRESS):
    Process = subprocess.Popen  # type: ignore[misc,assignment]
    run = subprocess.run  # type: ignore[assignment]
