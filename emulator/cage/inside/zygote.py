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
import shutil
import signal
import socket
import time
from typing import Any

from . import frames, init, processes


class Zygote:
    def __init__(self, control: socket.socket, emulator: int, run_dir: str) -> None:
        self._control = control
        self._receiver = frames.Receiver(control)
        self._run_dir = run_dir
        self._pid = os.getpid()
        self._inits: set[int] = set()
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
        self._wake_r, self._wake_w = os.pipe()
        for fd in (self._wake_r, self._wake_w):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll.register(self._wake_r, select.POLLIN)

    def run(self) -> None:
        try:
            frames.send(self._control, {"ev": "ready", "pid": self._pid})
        except OSError:
            return  # the emulator has ended already
        while True:
            for fd, _event in self._poll.poll():
                if fd == self._wake_r:
                    self._drain_wakeups()
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
                        self._create(message["spec"], fds[0])

    def _create(self, spec: dict[str, Any], control: int) -> None:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                for fd in (self._wake_r, self._wake_w, self._pidfd):
                    if fd >= 0:
                        os.close(fd)
                self._control.close()
                init.main(socket.socket(fileno=control), dict(spec, zygote=self._pid))
                status = 0
            finally:
                os._exit(status)
        self._inits.add(pid)
        os.close(control)

    def _drain_wakeups(self) -> None:
        try:
            while os.read(self._wake_r, 512):
                pass
        except BlockingIOError:
            pass

    def _reap(self) -> None:
        lost = False
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            lost = lost or pid in self._inits
            self._inits.discard(pid)
        if lost:
            processes.kill_until_gone(self._orphans, self._reap_quietly)

    def _reap_quietly(self) -> None:
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._inits.discard(pid)

    def _orphans(self) -> list[int]:
        """What hangs below the zygote but not below a living init."""
        below = processes.descendants([self._pid])
        sheltered = set(processes.descendants(self._inits)) | self._inits
        return [pid for pid in below if pid not in sheltered]

    def end(self) -> None:
        """Takes every sandbox down: asks the inits, gives them a moment, then takes what is left by force."""
        processes.signal_all(self._inits, signal.SIGTERM)
        deadline = time.monotonic() + 2.0
        while self._inits and time.monotonic() < deadline:
            self._reap_quietly()
            time.sleep(0.001)
        processes.kill_until_gone(lambda: processes.descendants([self._pid]), self._reap_quietly)
        if self._run_dir:
            shutil.rmtree(self._run_dir, ignore_errors=True)


def main(control_fd: int, emulator: int, run_dir: str) -> None:
    """`run_dir`: removed when the emulator has gone without doing so itself; empty for none."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # Ctrl-C is for the emulator, which then takes this process down in order.
        signal.signal(number, signal.SIG_IGN)
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    zygote = Zygote(socket.socket(fileno=control_fd), emulator, run_dir)
    gc.collect()
    gc.freeze()
    try:
        zygote.run()
    finally:
        zygote.end()
