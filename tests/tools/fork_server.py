"""Start Python programs as forks of a process that has imported pytest, the SDK and the emulator already.

Most of the time that a small program needs goes into imports: 0.5 s of CPU time for `python -m pytest`, 1 s more once
an emulator starts. A fork of a process that has them loaded needs a few milliseconds. It is a process of its own, with
its own environment, directory, standard streams, signals, exit handlers and exit code, so a test that runs one sees
what a user's process does. Two things differ: what is imported at which time, and the entries `cmdline` and `environ`
in /proc. A test that is about these starts an interpreter with `subprocess`.

    done = run([sys.executable, "-m", "caged.emulator", "status"], capture_output=True, text=True, timeout=30)

The server is one thread that waits for requests on a socket, one connection for each program. It starts with the first
request of a test process and ends with that process, and with it all programs that still run. The workers of xdist
share one, see `share`. Linux only; elsewhere `Process` and `run` are those of `subprocess`, because the system
libraries of macOS do not survive a fork.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import runpy
import secrets
import select
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Optional, Union

#: Environment variable of forks with the server's socket: pytest in a fork starts its xdist workers there.
ADDRESS = "TESTS_FORK_SERVER"
#: Environment variable with the directory of a server that several test processes share.
SHARED = "TESTS_FORK_SERVER_SHARED"
START_SECONDS = 60
_LENGTH = struct.Struct("!I")
#: Allocations between two collections of the youngest objects, as in tests/conftest.py. With the default of 700, a
#: twentieth of the time of short programs goes into collections.
GC_ALLOCATIONS = 20_000

# --- the client


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
            self._send_descriptors(_LENGTH.pack(len(message)), theirs)
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
        [sys.executable, os.path.abspath(__file__), name], stdin=reading, stdout=subprocess.PIPE, env=env
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


# --- the server


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
        head, streams, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
        with connection.makefile("rb") as file:
            request: dict[str, Any] = json.loads(file.read(*_LENGTH.unpack(head)))
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


#: Modules of the libraries that are imported where they are first used.
_LIBRARIES = (
    "concurrent.futures.thread",
    "encodings.idna",
    "httpcore",
    "uvicorn.lifespan.off",
    "websockets.asyncio.client",
    "websockets.sync.client",
    "xdist.dsession",
    "xdist.remote",
    "xdist.workermanage",
)


class _PluginModules:
    """A plugin of pytest that imports the modules of our plugin, as rewritten as they are in any run of pytest."""

    def pytest_collection(self) -> None:
        import caged.pytest_plugin

        for module in pkgutil.walk_packages(caged.pytest_plugin.__path__, "caged.pytest_plugin."):
            importlib.import_module(module.name)


def _keep_metadata_of_packages() -> None:
    """Let forks find the metadata of installed packages parsed. Each start of pytest reads those of all packages, which
    is a quarter of its time, and no program of the server installs a package."""
    from importlib.metadata import PathDistribution

    def keep(name: str) -> property:
        read = getattr(PathDistribution, name).fget
        kept: dict[str, Any] = {}

        def get(distribution: Any) -> Any:
            place = str(distribution._path)
            if place not in kept:
                kept[place] = read(distribution)
            return kept[place]

        return property(get)

    for name in ("entry_points", "files", "metadata"):
        setattr(PathDistribution, name, keep(name))


class _NamesOfFixtures:
    """The names of a module that may be fixtures, kept for the modules of plugins. Each start of pytest looks at every
    name of each plugin, which is a seventh of its time, and no program of the server adds a fixture to a plugin."""

    def __init__(self) -> None:
        from _pytest import fixtures

        self._kept: dict[types.ModuleType, list[str]] = {}
        self._is_keeping = True
        self._fixture = getattr(fixtures, "FixtureFunctionDefinition", None)
        if self._fixture is not None:  # older releases of pytest recognize a fixture in another way
            fixtures.dir = self._names  # type: ignore[attr-defined]

    def keep_no_more(self) -> None:
        """Look at the modules of later plugins each time: they may be those of a test."""
        self._is_keeping = False

    def _names(self, holder: object) -> list[str]:
        if not isinstance(holder, types.ModuleType):
            return dir(holder)
        if holder in self._kept:
            return self._kept[holder]
        names = dir(holder)
        if self._is_keeping:
            self._kept[holder] = [name for name in names if self._may_be_fixture(vars(holder).get(name))]
        return names

    def _may_be_fixture(self, value: object) -> bool:
        try:
            # pytest warns of a fixture in a wrapper.
            return type(value) is self._fixture or hasattr(value, "__wrapped__")
        except Exception:
            return True


def _preload() -> None:
    """Import what the programs import. First pytest's plugins by a run without tests, because it warns of any that was
    imported before and so without rewritten assertions."""
    gc.disable()  # nearly all that imports make stays
    import pytest

    _keep_metadata_of_packages()
    names_of_fixtures = _NamesOfFixtures()
    with tempfile.TemporaryDirectory() as empty, open(os.devnull, "w") as nowhere:
        before = os.getcwd()
        os.chdir(empty)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            options = ["--collect-only", "-p", "no:cacheprovider", f"--rootdir={empty}"]
            pytest.main(options, plugins=[_PluginModules()])
        os.chdir(before)
    names_of_fixtures.keep_no_more()
    import caged

    for module in pkgutil.walk_packages(caged.__path__, "caged."):
        # caged._spans imports OpenTelemetry, after which each call would have a span; an integration its framework.
        is_left_out = ".inside" in module.name or module.name.startswith("caged.integrations.")
        if not is_left_out and not module.name.endswith(("__main__", "._spans")):
            importlib.import_module(module.name)
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):  # another release of a library does not have it
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as tempfile.tempdir, contextlib.suppress(Exception):
        _run_emulator_once()  # a test of what does not work reports it
    _clear_caches()
    tempfile.tempdir = None  # each program has its own TMPDIR
    # pytest does this for the first failure that it shows: the paths of all modules, kept by the module `inspect`.
    inspect.getmodule(compile("", "no file", "exec"))
    gc.collect()
    gc.freeze()  # the forks share these pages for longer
    gc.set_threshold(GC_ALLOCATIONS)
    gc.enable()


def _run_emulator_once() -> None:
    """Do what most programs do with an emulator, so that forks find it done: expressions of routes are compiled, types
    of requests are resolved, and modules are imported that are needed only then. That takes a tenth of the processor
    time of a run of pytest with one sandbox. No thread, process or file of it is left."""
    from caged import Caged
    from caged.emulator import Emulator

    with Emulator(isolation="process", cache=False, allow_unused=True) as emulator:
        with Caged(api_key=emulator.api_key, base_url=emulator.base_url) as client:
            sandbox = client.sandboxes.create(template="minimal")
            client.sandboxes.exec(sandbox.id, "true")
            client.files.write(sandbox.id, "/workspace/file", "text")
            client.files.read(sandbox.id, "/workspace/file")
            with emulator.faults.add("sandboxes.list", status=503, optional=True):
                pass
            emulator.journal.requests()
            client.sandboxes.destroy(sandbox.id)
            client.billing.get_subscription()  # an operation that few programs use


def _clear_caches() -> None:
    """Let no program use what the server found out about its own rights: it may go on as another user."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "caged":
            for value in list(vars(module).values()):
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()


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
    _preload()
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


if sys.platform != "linux" and not os.environ.get(ADDRESS):
    Process = subprocess.Popen  # type: ignore[misc,assignment]
    run = subprocess.run  # type: ignore[assignment]

if __name__ == "__main__":
    sys.modules["fork_server"] = sys.modules["__main__"]
    _main()
