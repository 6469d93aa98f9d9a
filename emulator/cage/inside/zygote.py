"""The process that forks: small, single-threaded, started once per emulator.

It receives `create {spec} + [control socket]` from the emulator and forks; the child becomes the init of a sandbox. It
watches its emulator (by end of file on the socket, and by a pidfd, because a fork of the emulator's process may have a
copy of the socket) and its inits: the processes of an init that was killed become its children, and are killed. When
the emulator has ended, it kills everything below it, and removes the emulator's directory.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time

from . import cgroups, frames, id_mapping, libc, namespaces, processes, startup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

#: Seconds for which the removal of a killed emulator's directory is tried again.
REMOVAL_SECONDS = 5.0


class Zygote:
    """The event loop of the zygote. See `main` for the arguments."""

    def __init__(self, control: socket.socket, emulator: int, run_dir: str) -> None:
        self._control = control
        self._receiver = frames.Receiver(control)
        self._run_dir = run_dir
        self._pid = os.getpid()
        self._inits: set[int] = set()
        self._is_ending = False
        self._isolated: set[int] = set()  # those of them that are process 1 of a process table, or bwrap
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        #: The users that were mapped last: what they own cannot be removed without them.
        self._users: Optional[dict[str, Any]] = None
        self._pidfd = -1
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(emulator)
                self._poll.register(self._pidfd, select.POLLIN)
            except ProcessLookupError:
                control.close()
            except OSError:
                pass  # an older kernel: end of file has to be enough
        self._wakeups = processes.Wakeups()
        self._poll.register(self._wakeups.fd, select.POLLIN)

    def run(self) -> None:
        """Serve until the emulator has ended, or requests the end."""
        try:
            frames.send(self._control, {"ev": "ready", "pid": self._pid})
        except OSError:
            return  # the emulator has ended already
        while True:
            for fd, _event in self._poll.poll():
                if fd == self._wakeups.fd:
                    self._wakeups.drain()
                    self._reap()
                elif fd == self._pidfd:
                    return
                else:
                    try:
                        messages = self._receiver.receive()
                    except (EOFError, OSError):
                        return
                    for message, fds in messages:
                        if message["op"] == "stop":
                            return
                        self._create(message["spec"], fds)

    def _create(self, spec: dict[str, Any], fds: list[int]) -> None:
        """Fork an init. A failure is reported on that sandbox's own socket, and has no effect on the others."""
        forks = {"namespace": self._fork_into_namespaces, "bwrap": self._fork_bwrap}
        if not fds:
            return  # this process has no descriptor left to receive it; the emulator sees end of file
        try:
            pid = forks.get(spec["isolation"], self._fork)(dict(spec, zygote=self._pid), fds[0])
            if pid is not None:
                self._inits.add(pid)
                if spec["isolation"] != "process":
                    self._isolated.add(pid)
                frames.send(self._control, {"ev": "created", "id": spec["id"], "pid": pid})
        except OSError as error:
            frames.report_failure(fds[0], f"no process can be started: {error.strerror}")
        finally:
            for fd in fds:
                os.close(fd)

    def _in_child(self, work: Callable[[], None]) -> None:
        """Do the work of a forked child, and end it."""
        status = 1
        try:
            self._wakeups.close()
            if self._pidfd >= 0:
                os.close(self._pidfd)
            self._control.close()
            work()
            status = 0
        finally:
            os._exit(status)

    def _fork(self, spec: dict[str, Any], control: int) -> int:
        pid = os.fork()
        if pid == 0:
            self._in_child(lambda: startup.main(socket.socket(fileno=control), spec))
        return pid

    def _fork_into_namespaces(self, spec: dict[str, Any], control: int) -> Optional[int]:
        """Returns None when the kernel refuses, which is reported on init's socket."""
        ids = os.geteuid(), os.getegid()
        users = spec["users"]
        mapped, go = os.pipe() if users else (None, None)
        try:
            pid, own_user = namespaces.fork_into_namespaces(spec["network"])
        except libc.IsolationError as error:
            for fd in (mapped, go):
                if fd is not None:
                    os.close(fd)
            frames.report_failure(control, str(error))
            return None
        if pid == 0:
            user = ids if own_user else None
            if go is not None:
                os.close(go)
            self._in_child(
                lambda: startup.main_in_namespaces(socket.socket(fileno=control), spec, user=user, mapped=mapped)
            )
        if mapped is not None and go is not None:
            os.close(mapped)
            self._users = users
            id_mapping.finish(go, pid, users)  # init reports a failure
        return pid

    def _fork_bwrap(self, spec: dict[str, Any], control: int) -> int:
        pid = os.fork()
        if pid == 0:

            def become_bwrap() -> None:
                os.set_inheritable(control, True)
                # Its messages belong into the error of the create, not on the emulator's terminal.
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                os.dup2(os.open(spec["bwrap_errors"], flags, 0o600), 2)
                try:
                    os.execv(spec["bwrap"][0], [word.replace("@FD@", str(control)) for word in spec["bwrap"]])
                except OSError as error:
                    failed = {"ev": "failed", "error": f"{spec['bwrap'][0]}: {error.strerror}"}
                    frames.send(socket.socket(fileno=control), failed)

            self._in_child(become_bwrap)
        return pid

    def _reap(self) -> None:
        if self._reap_once():
            processes.kill_until_gone(self._orphans, self._reap_once)

    def _reap_once(self) -> bool:
        """Reap what has ended, and report each init that did not end in order. Returns whether there was an init."""
        lost = [(pid, status) for pid, status in processes.reap() if pid in self._inits]
        for pid, status in lost:
            self._inits.discard(pid)
            self._isolated.discard(pid)
            if status and not self._is_ending:
                try:
                    frames.send(self._control, {"ev": "ended", "pid": pid, "status": status})
                except OSError:
                    pass  # the emulator has ended
        return bool(lost)

    def _orphans(self) -> list[int]:
        """The processes below the zygote that are not below a living init."""
        # What an init leaves becomes a child of the zygote itself. To subtract what is below the living ones from all
        # would find some of that, too: what loses its parent meanwhile is seen the first time, and not the second.
        left = [pid for pid in processes.children(self._pid) if pid not in self._inits]
        return left + processes.descendants(left)

    def end(self, remove: bool) -> None:
        """End every sandbox: request it of the inits, wait a moment, and kill what is left.

        Args:
            remove: Whether to remove the emulator's directory, too.
        """
        self._is_ending = True
        # Process 1 of a process table ignores SIGTERM, and its SIGKILL ends everything in the table.
        processes.signal_all(self._inits, signal.SIGTERM)
        processes.signal_all(self._isolated, signal.SIGKILL)
        deadline = time.monotonic() + 2.0
        while self._inits and time.monotonic() < deadline:
            self._reap_once()
            time.sleep(0.001)
        processes.kill_until_gone(lambda: processes.descendants([self._pid]), self._reap_once)
        if remove and self._run_dir:
            cgroups.remove_all(self._run_dir)
            _remove_directory(self._run_dir, self._users)


def _remove_directory(path: str, users: Optional[dict[str, Any]]) -> None:
    """Remove the emulator's directory, and what it was making in the cache. What cannot be removed is tried again for
    REMOVAL_SECONDS: processes of the emulator that are not below the zygote may write into it until they notice that
    the emulator has ended.

    Args:
        path: The directory.
        users: The users that were mapped, who may own files in it; None for none.
    """
    deadline = time.monotonic() + REMOVAL_SECONDS
    pause = 0.01
    while True:
        failure = _try_to_remove(path, users)
        if not failure:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(pause)
        pause = min(pause * 2, 0.5)
    try:
        sys.stderr.write(f"{path} of an emulator that was killed is left, until the next one starts: {failure}\n")
    except OSError:
        pass  # there is no reader any more


def _try_to_remove(path: str, users: Optional[dict[str, Any]]) -> str:
    """Remove the emulator's directory, and return why it is left; "" when it is gone. The lock is removed last: without
    it, the next emulator could not see that it may remove the rest."""
    try:
        names = [os.path.join(path, name) for name in os.listdir(path) if name != "lock"]
    except FileNotFoundError:
        return ""
    names += _find_unfinished(os.path.join(path, "building"))
    # Most are empty directories, for which a process would cost more than all the rest of the end.
    full = [name for name in names if not _remove_empty(name)]
    failure = _rm(full) if full else ""
    left = [name for name in full if os.path.lexists(name)] if users else []
    if users and left:
        try:
            id_mapping.remove(left, users)
            failure = ""
        except (OSError, libc.IsolationError) as error:
            failure = str(error)
    if any(os.path.lexists(name) for name in full):
        return failure or "files were added meanwhile"
    try:
        os.unlink(os.path.join(path, "lock"))
    except OSError:
        pass
    if not _remove_empty(path):
        failure = _rm([path])
    return (failure or "files were added meanwhile") if os.path.lexists(path) else ""


def _find_unfinished(links: str) -> list[str]:
    """Return what the emulator was making in the cache, to which it has links in a directory of its own."""
    try:
        targets = [os.readlink(os.path.join(links, name)) for name in os.listdir(links)]
    except OSError:
        return []  # it has not used the cache
    # Nothing else is removed, whatever is in that directory.
    return [one for one in targets if os.path.isabs(one) and os.path.basename(os.path.dirname(one)) == "building"]


def _remove_empty(path: str) -> bool:
    """Remove a path if it is an empty directory, and return whether it is gone."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def _rm(paths: list[str]) -> str:
    """Remove trees by rm, because a tree in a sandbox may be deeper than Python's own removal can go. Spawned without
    the module subprocess, whose import takes as long as the start of this process. Returns why it fails; "" if not."""
    silent = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    try:
        pid = os.posix_spawnp("rm", ["rm", "-rf", "--", *paths], os.environ, file_actions=silent)
        status = os.waitpid(pid, 0)[1]
    except OSError as error:
        return f"rm: {error.strerror}"
    return f"rm: status {status}" if status else ""


def main(control_fd: int, emulator: int, run_dir: str, held: list[int]) -> None:
    """Run the zygote.

    Args:
        control_fd: The socket that leads to the emulator.
        emulator: The process number of the emulator.
        run_dir: The directory to remove when the emulator has ended without removing it; "" for none.
        held: Descriptors that stay open in this process and its inits, and are closed in commands.
    """
    for fd in held:
        os.set_inheritable(fd, False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # Ctrl-C is for the emulator, which then ends this process in order.
        signal.signal(number, signal.SIG_IGN)
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    if processes.LINUX:
        libc.load()
    zygote = Zygote(socket.socket(fileno=control_fd), emulator, run_dir)
    gc.freeze()  # for the inits, which share these objects
    remove = False
    try:
        zygote.run()
        remove = True  # the emulator has ended; after a failure of the zygote it may run, and use its files
    finally:
        zygote.end(remove)
    os._exit(0)  # to end the interpreter in order takes a seventh of the time of all that this process does
