"""Finding, freezing and killing the processes of a sandbox.

With namespaces they are all processes in the sandbox's process table but init. At level `process` they are the
descendants of its init, which is a child subreaper, so that a daemon that double-forks or calls setsid becomes its
child again. A tag shows which command has started a process. It survives fork, exec, setsid and an emptied environment:
the soft limit of RLIMIT_RTTIME, which has no effect without real-time scheduling, and which anyone may read in
/proc/PID/limits.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Callable, Optional, Union

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

#: Seconds that a freeze takes at most, and how often in a row it has to find everything stopped.
FREEZE_LIMIT, _FREEZE_ROUNDS = 1.0, 2
#: Signals in a row to each process, where one was not enough.
_FREEZE_SIGNALS = 50
#: States of a thread that does not run: stopped, traced, waiting in the kernel, ended.
_HELD = (b"T", b"t", b"D", b"Z", b"X")

_RTTIME = getattr(resource, "RLIMIT_RTTIME", None)


#: Looked up once, in the zygote, so that sandboxes do not pay for it.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if LINUX else None


def prctl(option: int, value: Union[int, bytes]) -> None:
    """Call prctl; without effect on other systems than Linux. Raises OSError."""
    if _prctl is not None:
        argument = value if isinstance(value, bytes) else ctypes.c_ulong(value)
        if _prctl(option, argument, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"prctl({option})")


def tag_children(tag: int) -> None:
    """Give every process that this one starts from now on a tag (0 up to 2**32)."""
    if _RTTIME is not None:
        _soft, hard = resource.getrlimit(_RTTIME)
        top = (1 << 62) if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(_RTTIME, (top - tag, hard))


def prefer_as_victim(pid: int) -> None:
    """Make a process, and what it starts later, what the kernel kills first when the sandbox has no memory left. By
    size alone it might choose init, and with it the sandbox: memory of a memfd counts for no process."""
    try:
        fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)
        try:
            os.write(fd, b"500")
        finally:
            os.close(fd)
    except OSError:
        pass  # it has ended, or this system has no such file


def tag_of(pid: int) -> Optional[int]:
    """Return the tag of a process; None when it has none, or has ended."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as limits:
            for line in limits:
                if line.startswith(b"Max realtime timeout"):
                    soft, hard = line[20:].split()[:2]
                    if soft == b"unlimited":
                        return None
                    return ((1 << 62) if hard == b"unlimited" else int(hard)) - int(soft)
    except OSError:
        pass
    return None


def is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal: SIGSTOP, or Ctrl-Z."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] == b"T"
    except (OSError, IndexError):
        return False


def is_held(pid: int) -> bool:
    """Return whether no thread of a process runs or can begin to run by itself: each is stopped or has ended, or waits
    in the kernel and stops when that ends."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return True  # it has ended
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/stat", "rb") as stat:
                if stat.read().rpartition(b")")[2].split()[0] not in _HELD:
                    return False
        except (OSError, IndexError):
            pass
    return True


def _children_by_task(pid: int) -> Optional[list[int]]:
    """Return the direct children of a process; None where the kernel does not list them."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", "rb") as children:
                found.extend(map(int, children.read().split()))
        except FileNotFoundError:
            if os.path.exists(f"/proc/{pid}/task/{task}/stat"):
                return None
        except OSError:
            pass
    return found


def parent_in_proc() -> int:
    """Return the parent's number as /proc shows it, also when that belongs to an outer process table, for which
    os.getppid returns 0. 0 when the parent has ended."""
    with open("/proc/self/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[1])


def _parents() -> dict[int, int]:
    """Return the parent of every process on the machine, by pid."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    parents[int(name)] = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                pass
    return parents


def children(pid: int) -> list[int]:
    """Return the direct children of a process at this moment."""
    if not LINUX:
        return []
    found = _children_by_task(pid)
    return [child for child, parent in _parents().items() if parent == pid] if found is None else found


def descendants(roots: Iterable[int]) -> list[int]:
    """Return every process below `roots` at this moment, without `roots` themselves."""
    if not LINUX:
        return []
    queue = list(roots)
    seen: set[int] = set(queue)
    found: list[int] = []
    while queue:
        children = _children_by_task(queue.pop())
        if children is None:
            return _descendants_by_scan(seen - set(found))
        for child in children:
            if child not in seen:
                seen.add(child)
                found.append(child)
                queue.append(child)
    return found


def _descendants_by_scan(roots: set[int]) -> list[int]:
    by_parent: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        by_parent.setdefault(parent, []).append(pid)
    queue, found = list(roots), []
    while queue:
        for child in by_parent.get(queue.pop(), ()):
            found.append(child)
            queue.append(child)
    return found


class Wakeups:
    """A descriptor that becomes readable when a signal arrives, so that a poll sees it."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe()
        for fd in (self.fd, self._write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def drain(self) -> None:
        try:
            while os.read(self.fd, 512):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self.fd)
        os.close(self._write)


def reap() -> Iterator[tuple[int, int]]:
    """Yield pid and wait status of every child that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def has_children() -> bool:
    """Return whether this process has children, whether they run or have ended. For an init, which becomes the parent
    of every orphan in its sandbox, that is whether the sandbox has processes; to list them takes a hundred times as
    long."""
    if not LINUX:
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def signal_until_settled(
    find: Callable[[], list[int]], number: int, limit: float = 2.0, reap: Callable[[], None] = lambda: None
) -> bool:
    """Send a signal to the processes that `find` returns, repeatedly, until it returns no new one: a process may fork
    while it is being searched for. Returns False when that takes longer than `limit` seconds."""
    deadline = time.monotonic() + limit
    signalled: set[int] = set()
    while True:
        reap()
        new = [pid for pid in find() if pid not in signalled]
        if not new:
            return True
        signal_all(new, number)
        signalled.update(new)
        if time.monotonic() > deadline:
            return False


def kill_until_gone(find: Callable[[], list[int]], reap: Callable[[], object], limit: float = 5.0) -> bool:
    """Send SIGKILL to the processes that `find` returns until it returns none. Returns False when some are left after
    `limit` seconds (stuck in the kernel)."""
    deadline = time.monotonic() + limit
    pause = 0.0002
    while True:
        reap()
        left = find()
        if not left:
            return True
        signal_all(left, signal.SIGKILL)
        reap()
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


class ProcessTree:
    """The processes of a sandbox at level `process`: the descendants of its init, `root`."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._stopped_before: set[int] = set()  # by a user, when `freeze` was called

    def freeze(self) -> None:
        """Stop every process. One that runs until the signal reaches it may continue others, so that they are looked
        at, and signalled again: many times in a row, so that one of them reaches all at once."""
        self._stopped_before = {pid for pid in self.all_pids() if is_stopped(pid)}
        deadline = time.monotonic() + FREEZE_LIMIT
        rounds = attempts = 0
        while rounds < _FREEZE_ROUNDS and (not attempts or time.monotonic() < deadline):
            self.signal_all(signal.SIGSTOP)
            if attempts > rounds:  # some went on running
                pids = self.all_pids()
                for _ in range(_FREEZE_SIGNALS):
                    signal_all(pids, signal.SIGSTOP)
            rounds = rounds + 1 if self._wait_until_held() else 0
            attempts += 1

    def _wait_until_held(self) -> bool:
        """Return whether all processes are held within a moment."""
        pause = 0.0001
        while not all(is_held(pid) for pid in self.all_pids()):
            if pause > 0.001:
                return False
            time.sleep(pause)
            pause *= 2
        return True

    def thaw(self) -> None:
        """Continue what `freeze` has stopped, but not a job that a user had stopped before."""
        for pid in self.all_pids():
            if pid not in self._stopped_before:
                try:
                    os.kill(pid, signal.SIGCONT)
                except (ProcessLookupError, PermissionError):
                    pass
        self._stopped_before.clear()

    def all_pids(self) -> list[int]:
        """Return the numbers of all processes, without init."""
        return descendants([self._root])

    def count_tasks(self) -> int:
        """Return the number of processes and threads, which the kernel counts alike."""
        count = 0
        for pid in self.all_pids():
            try:
                count += len(os.listdir(f"/proc/{pid}/task"))
            except OSError:
                pass  # it has ended
        return count

    def of_command(self, tag: int) -> list[int]:
        """Return the processes that a command has started, with their children."""
        return [pid for pid in self.all_pids() if tag_of(pid) == tag]

    def signal_all(self, number: int) -> None:
        """Send a signal to every process, including those that are forked meanwhile."""
        signal_until_settled(self.all_pids, number)

    def kill_all(self, reap: Callable[[], None]) -> bool:
        """Kill every process. Returns False when some are left after five seconds."""
        if LINUX and not has_children():
            return True
        return kill_until_gone(self.all_pids, reap)


class ProcessTable(ProcessTree):
    """The processes of a sandbox with a process table of its own, in which init is number 1."""

    def __init__(self) -> None:
        super().__init__(1)

    def all_pids(self) -> list[int]:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]

    def signal_all(self, number: int) -> None:
        try:
            os.kill(-1, number)  # all in this table but init; the kernel includes processes that are being forked
        except ProcessLookupError:
            pass
