"""Emulators as separate processes, at each isolation level that works on this machine."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import fork_server
import pytest
from leftovers import children_of, command_of, processes_with, run_dirs, unique_seconds, until

import caged
import caged.emulator
from caged import Caged
from caged.emulator import Emulator, EmulatorError

#: Names of the levels in tests: `…-user` is the level for an ordinary user when the suite runs as root.
LEVELS = ("namespace", "namespace-user", "bwrap", "bwrap-user", "process")
ISOLATED = LEVELS[:-1]
#: The levels with the user of this run. The gate runs the tests of isolation a second time as an ordinary user, so a
#: test that is not about users has nothing to gain from the other two.
OWN_USER = tuple(level for level in LEVELS if not level.endswith("-user"))
ORDINARY_USER = 65534
SECRETS = (".ssh/id_ed25519", ".aws/credentials", ".config/gh/hosts.yml", ".netrc")
SECRET = "the-developers-secret"


def isolation(level: str) -> str:
    """Return the emulator's name of the level."""
    return level.partition("-")[0]


def has_landlock_scopes() -> bool:
    """Return whether this kernel can confine signals and abstract sockets to a sandbox without namespaces."""
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) >= 6


def need(level: str) -> None:
    """Skip if the level cannot work on this machine. Other programs than ours decide: if only our isolation fails,
    the test must fail."""
    reason = why_not(level)
    if reason:
        pytest.skip(f"{level}: {reason}")


@functools.cache
def why_not(level: str) -> Optional[str]:
    selected = os.environ.get("CAGED_TEST_LEVELS")
    if selected and level not in selected.split(","):
        return f"CAGED_TEST_LEVELS selects {selected} alone"
    if level == "process":
        return None
    if sys.platform != "linux":
        return "namespaces are Linux's"
    if level.endswith("-user") and os.geteuid() != 0:
        return f"the suite runs as an ordinary user: its `{isolation(level)}` is that already"
    as_user = ["setpriv", f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups"]
    start_as_user = [*as_ordinary_user([]), sys.executable, "-c", "import caged.emulator"]
    if isolation(level) == "bwrap":
        if not shutil.which("bwrap"):
            return "there is no bwrap here"
        bwrap = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
        if level == "bwrap-user":
            return _refused([*as_user, *bwrap]) or _refused(start_as_user)
        return _refused(bwrap)
    unshare = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--ipc", "--uts", "--net", "true"]
    if level == "namespace" and os.geteuid() == 0:
        return _refused(unshare)
    if level == "namespace-user":
        refused = _refused([*as_user, *unshare[:1], "--map-root-user", *unshare[1:]])
        return refused or _refused(start_as_user)
    return _refused([*unshare[:1], "--map-root-user", *unshare[1:]])


def _refused(command: Sequence[str]) -> Optional[str]:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, cwd="/")
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return None if done.returncode == 0 else f"`{' '.join(command)}` fails: {done.stderr.strip()[-300:]}"


def subordinate_ids(folder: Path, lines: str) -> list[str]:
    """Return the words that run a command with other lines in /etc/subuid and /etc/subgid. Needs root. The folder gets
    a copy of /etc."""
    return [sys.executable, str(Path(__file__).with_name("with_subordinate_ids.py")), str(folder), lines, "--"]


def as_ordinary_user(writable: Sequence[Path]) -> list[str]:
    packages = [Path(path).parent for module in (caged, caged.emulator) for path in module.__path__]
    installed = [Path(sys.prefix), Path(sys.base_prefix), *packages]
    helper = str(Path(__file__).with_name("as_ordinary_user.py"))
    return [sys.executable, helper, *map(str, [*installed, *writable]), "--"]


@functools.cache
def masks_of(user: Optional[int]) -> Path:
    """Return the XDG_CACHE_HOME of all emulators of this test run with this user, None for its own.

    To make a mask for user namespaces takes 0.2 s of CPU time, and none depends on the directories of an emulator.
    """
    if fork_server.SHARED in os.environ:
        path = Path(os.environ[fork_server.SHARED], f"masks-of-{'suite' if user is None else user}")
        path.mkdir(exist_ok=True)
    else:
        path = Path(tempfile.mkdtemp(prefix="masks-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    if user is not None:
        os.chown(path, user, user)
    return path


class Served:
    """A `caged-emulator serve` with its own temp directory and its own home, which contains secrets.

    `run_base`: directory for its files, by default its temp directory. `wrap`: words before the command; `prepare`:
    words that run as the suite's own user, before it becomes an ordinary one. `masks`: its XDG_CACHE_HOME.
    `process.pid` is the emulator's if each of these programs execs the next.
    """

    def __init__(
        self,
        folder: Path,
        level: str = "auto",
        *options: str,
        wrap: Sequence[str] = (),
        run_base: Optional[Path] = None,
        prepare: Sequence[str] = (),
        masks: Optional[Path] = None,
    ) -> None:
        self.level = level
        self.tmp = folder / "tmp"
        self.home = folder / "home"
        self._ready = folder / "ready.json"
        self._ready.unlink(missing_ok=True)
        self.tmp.mkdir(exist_ok=True)
        for name in SECRETS:
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.home / name).write_text(SECRET)
        (self.tmp / "host-file").write_text(SECRET)
        user = level.endswith("-user")
        if user:
            for path in (folder, self.tmp, self.tmp / "host-file", self.home, *self.home.rglob("*")):
                os.chown(path, ORDINARY_USER, ORDINARY_USER, follow_symlinks=False)
        masks = masks or masks_of(ORDINARY_USER if user else None)
        serve = [sys.executable, "-m", "caged.emulator", "serve", "--isolation", isolation(level)]
        serve += ["--port", "0", "--ready-file", str(self._ready), *options]
        command = [*prepare, *(as_ordinary_user([folder, masks]) if user else ()), *wrap, *serve]
        # A fork of an interpreter with all modules imported takes a fifth of the time.
        start_process = fork_server.Process if command[0] == sys.executable else subprocess.Popen
        self.process = start_process(
            command,
            env={
                **_environment(),
                "TMPDIR": str(self.tmp),
                "HOME": str(self.home),
                "XDG_CACHE_HOME": str(masks),
                "CAGED_CACHE_DIR": str(self.home / ".cache" / "caged"),
                "CAGED_EMULATOR_LOCATOR_DIR": str(folder / "locators"),
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        base = run_base or self.tmp
        try:
            until(lambda: self._ready.exists() or self.process.poll() is not None, 60)
            if self.process.poll() is not None:
                raise AssertionError(self.process.communicate()[0])
            # The start removes the directories of dead emulators; one may be half removed.
            until(lambda: len(run_dirs(base)) == 1, what=lambda: run_dirs(base))
        except BaseException:
            self._kill()
            raise
        served = json.loads(self._ready.read_text())
        self.base_url, self.api_key, self.admin_key = served["base_url"], served["api_key"], served["admin_key"]
        self.client = Caged(api_key=self.api_key, base_url=self.base_url)
        (self.run_dir,) = run_dirs(base)

    @property
    def zygote(self) -> int:
        # There may be a process for files of the sandboxes' users besides.
        (pid,) = (pid for pid in children_of(self.process.pid) if "import zygote" in command_of(pid))
        return pid

    def sandbox_dir(self, sandbox_id: str) -> Path:
        return self.run_dir / "sandboxes" / sandbox_id

    @contextlib.contextmanager
    def sandbox(self, **options: object) -> Iterator[str]:
        box = self.client.sandboxes.create(**options)  # type: ignore[arg-type]
        assert box.status == "running", [entry.message for entry in self.client.sandboxes.logs(box.id)]
        try:
            yield box.id
        finally:
            self.client.sandboxes.destroy(box.id)

    def create_with_init(self) -> tuple[str, int]:
        """Create a sandbox. Returns it and the pid of its first process on the host."""
        box = self.client.sandboxes.create().id
        return box, self.init_of(box)

    def init_of(self, box: str) -> int:
        """Return the pid of a sandbox's first process on the host: what a command in it descends from. The sandbox may
        be older than its id."""
        mark = unique_seconds()
        self.run(box, f"sleep {mark} >/dev/null 2>&1 &")
        until(lambda: processes_with(mark))
        pid = command = int(processes_with(mark)[0].partition(":")[0])
        while (parent := _parent_of(pid)) != self.zygote:
            pid = parent
        os.kill(command, signal.SIGKILL)
        if isolation(self.level) == "bwrap":  # it stays outside of the PID namespace and waits for process 1
            (pid,) = children_of(pid)
        return pid

    def run(self, sandbox_id: str, command: str) -> str:
        """Run a command, which must succeed, and return its output."""
        result = self.client.sandboxes.exec(sandbox_id, command)
        assert result.exit_code == 0, f"exit {result.exit_code} {result.error or ''}: {result.output}"
        return result.output

    def ours(self) -> list[str]:
        """Return all running processes of this emulator's sandboxes: zygote, inits and bwraps."""
        return processes_with(str(self.run_dir))

    def stop(self) -> str:
        """Stop the emulator and return its output."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=60)[0]

    def end(self) -> None:
        """End the emulator, by force if necessary."""
        self.client.close()
        self._kill()

    def _kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stdout and not self.process.stdout.closed:
            self.process.communicate(timeout=60)


def _parent_of(pid: int) -> int:
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent, f"{pid} is not below the zygote"
    return parent


class SharedBoxes:
    """Sandboxes for tests that do not change them: one for each level and set of options, created when first
    needed."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], tuple[Served, str]] = {}

    def get(self, served: Served, **options: object) -> str:
        key = (served.level, repr(options))
        if key not in self._made:
            self._made[key] = (served, served.client.sandboxes.create(**options).id)  # type: ignore[arg-type]
        return self._made[key][1]

    def destroy(self) -> None:
        """Destroy them all. The next `get` creates a new one."""
        while self._made:
            _, (served, box) = self._made.popitem()
            served.client.sandboxes.destroy(box)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}


def is_mapped(client: Caged, box: str) -> bool:
    """Return whether a sandbox has users besides root by newuidmap."""
    return len(client.sandboxes.exec(box, "cat /proc/self/uid_map").output.splitlines()) > 1


@contextlib.contextmanager
def client_of(level: str) -> Iterator[Caged]:
    """A client of an emulator in this process. Skips if this machine cannot have the level."""
    need(level)
    emulator = Emulator(isolation=level)
    try:
        emulator.start()
    except EmulatorError as error:
        pytest.skip(f"{level} isolation does not work here: {str(error).splitlines()[0]}")
    with emulator.client() as client:
        yield client
    emulator.stop()
