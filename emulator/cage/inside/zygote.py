"""The one process that forks: clean, single-threaded, started once per emulator.

It takes `create {spec} + [control socket]` from the emulator, forks, and the child becomes the init of a
sandbox. It watches its emulator (end of file on the socket, and a pidfd, because a process forked by the
emulator's owner may hold a copy of the socket) and its inits: what an init that was killed left behind is
reparented here and killed here. When the emulator is gone, so is everything below, and then the run's
directory.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time

from . import cgroups, frames, init, libc, namespaces, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional


class Zygote:
    def __init__(self, control: socket.socket, emulator: int, run_dir: str) -> None:
        self._control = control
        self._receiver = frames.Receiver(control)
        self._run_dir = run_dir
        self._pid = os.getpid()
        self._inits: set[int] = set()
        self._walled: set[int] = set()  # those of them that are process 1 of a table, or bwrap
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._pidfd = -1
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(emulator)
                self._poll.register(self._pidfd, select.POLLIN)
            except ProcessLookupError:
                control.close()
            except OSError:
                pass  # an older kernel: end of file has to do
        self._wakeups = processes.Wakeups()
        self._poll.register(self._wakeups.fd, select.POLLIN)

    def run(self) -> None:
        try:
            frames.send(self._control, {"ev": "ready", "pid": self._pid})
        except OSError:
            return  # the emulator is gone already
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
        """A create that fails is that sandbox's misfortune, told over its own socket; the others live on."""
        isolated = {"namespace": self._fork_into_namespaces, "bwrap": self._fork_bwrap}
        if not fds:
            return  # no descriptor was left to take it with; the emulator sees its end closed
        try:
            pid = isolated.get(spec["isolation"], self._fork)(dict(spec, zygote=self._pid), fds[0])
            if pid is not None:
                self._inits.add(pid)
                if spec["isolation"] != "process":
                    self._walled.add(pid)
                frames.send(self._control, {"ev": "created", "id": spec["id"], "pid": pid})
        except OSError as error:
            with socket.socket(fileno=os.dup(fds[0])) as control:
                frames.send(control, {"ev": "failed", "error": f"no process can be started: {error.strerror}"})
        finally:
            for fd in fds:
                os.close(fd)

    def _in_child(self, work: Callable[[], None]) -> None:
        """The whole life of a forked child."""
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
            self._in_child(lambda: init.main(socket.socket(fileno=control), spec))
        return pid

    def _fork_into_namespaces(self, spec: dict[str, Any], control: int) -> Optional[int]:
        """None when the kernel refuses; init's socket says why."""
        ids = os.geteuid(), os.getegid()
        try:
            pid, own_user = namespaces.fork_into_namespaces(spec["network"])
        except libc.IsolationError as error:
            with socket.socket(fileno=os.dup(control)) as told:
                frames.send(told, {"ev": "failed", "error": str(error)})
            return None
        if pid == 0:
            user = ids if own_user else None
            self._in_child(lambda: init.main_in_namespaces(socket.socket(fileno=control), spec, user=user))
        return pid

    def _fork_bwrap(self, spec: dict[str, Any], control: int) -> int:
        pid = os.fork()
        if pid == 0:

            def become_bwrap() -> None:
                os.set_inheritable(control, True)
                # Its complaints are for whoever asked for the sandbox, not for the emulator's terminal.
                os.dup2(os.open(spec["bwrap_said"], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), 2)
                try:
                    os.execv(spec["bwrap"][0], [word.replace("@FD@", str(control)) for word in spec["bwrap"]])
                except OSError as error:
                    failed = {"ev": "failed", "error": f"{spec['bwrap'][0]}: {error.strerror}"}
                    frames.send(socket.socket(fileno=control), failed)

            self._in_child(become_bwrap)
        return pid

    def _reap(self) -> None:
        lost = {pid for pid, _status in processes.reap()} & self._inits
        self._inits -= lost
        self._walled -= lost
        if lost:
            processes.kill_until_gone(self._orphans, self._reap_quietly)

    def _reap_quietly(self) -> None:
        for pid, _status in processes.reap():
            self._inits.discard(pid)
            self._walled.discard(pid)

    def _orphans(self) -> list[int]:
        """What hangs below the zygote but not below a living init."""
        below = processes.descendants([self._pid])
        sheltered = set(processes.descendants(self._inits)) | self._inits
        return [pid for pid in below if pid not in sheltered]

    def end(self, remove: bool) -> None:
        """Takes every sandbox down: asks the inits, gives them a moment, then takes what is left by force."""
        # Process 1 of a table of its own does not hear SIGTERM, and its SIGKILL takes everything along.
        processes.signal_all(self._inits, signal.SIGTERM)
        processes.signal_all(self._walled, signal.SIGKILL)
        deadline = time.monotonic() + 2.0
        while self._inits and time.monotonic() < deadline:
            self._reap_quietly()
            time.sleep(0.001)
        processes.kill_until_gone(lambda: processes.descendants([self._pid]), self._reap_quietly)
        if remove and self._run_dir:
            import subprocess  # large, and not needed before

            cgroups.remove_all(self._run_dir)
            # rm, because a sandbox may hold a tree deeper than Python's own removal goes.
            # The lock goes last: without one, nothing would show the next emulator that it may remove the rest.
            names = [os.path.join(self._run_dir, name) for name in os.listdir(self._run_dir) if name != "lock"]
            for paths in (names, [self._run_dir]):
                subprocess.run(["rm", "-rf", "--", *paths], stderr=subprocess.DEVNULL, check=False)


def main(control_fd: int, emulator: int, run_dir: str, held: list[int]) -> None:
    """`run_dir`: removed when the emulator has gone without doing so itself; empty for none. `held`: descriptors that
    are open as long as this process and its inits live, and in no command."""
    for fd in held:
        os.set_inheritable(fd, False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # Ctrl-C is for the emulator, which then takes this process down in order.
        signal.signal(number, signal.SIG_IGN)
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    if processes.LINUX:
        libc.load()
    zygote = Zygote(socket.socket(fileno=control_fd), emulator, run_dir)
    gc.collect()
    gc.freeze()
    remove = False
    try:
        zygote.run()
        remove = True  # the emulator is gone; after a failure of our own it may be alive, and its files in use
    finally:
        zygote.end(remove)
