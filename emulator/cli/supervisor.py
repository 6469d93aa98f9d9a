"""Runs one command in the foreground: with this process's terminal, signals and exit code.

The command stays in this process group, so that it can read from the terminal, and Ctrl-C and Ctrl-Z reach both
processes without an imitation of a shell's job control. The kernel says where a signal came from: one from the terminal
has reached the command already and is not forwarded.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Callable, Optional

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_SI_KERNEL = 0x80
#: A second Ctrl-C within this many seconds ends the command at once. After that it counts as a first one again: an
#: interpreter's prompt goes on after Ctrl-C and may receive many.
AGAIN_SECONDS = 2.0
NOT_FOUND = 127
CANNOT_RUN = 126
_PR_SET_PDEATHSIG = 1
_prctl: Optional[Callable[..., int]] = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class CommandNotStarted(Exception):
    """The command could not be started; `code` is the exit code of a shell in that case."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class InterruptedTwice(Exception):
    """The command was killed because Ctrl-C came twice."""


class Supervisor:
    """Runs the command, with the signals of this process's only thread blocked so that none gets lost. Make it when
    only the command is left to be run, and exit afterwards."""

    def __init__(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, children cannot be waited for
        #: Without the signals that the parent process has set to be ignored.
        self._forwarded = {number for number in _FORWARDED if signal.getsignal(number) != signal.SIG_IGN}
        self._watched = {*self._forwarded, signal.SIGCHLD}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._watched)
        self._interrupted_at = -AGAIN_SECONDS

    def run(self, words: Sequence[str], environment: Mapping[str, str], on_child: Callable[[], None]) -> int:
        """Run the command.

        Args:
            words: The program and its arguments.
            environment: Its environment.
            on_child: Called when a child of this process has ended.

        Returns:
            Its exit code, 128 + n when signal n ended it.

        Raises:
            CommandNotStarted: There is no such program, or it cannot be run.
            InterruptedTwice: Ctrl-C came twice; the command was killed.
        """
        try:
            process = subprocess.Popen(words, env=environment, preexec_fn=self._become_command(), close_fds=False)
        except FileNotFoundError:
            raise CommandNotStarted(f"cannot run {words[0]!r}: there is no such program", NOT_FOUND) from None
        except OSError as error:
            raise CommandNotStarted(f"cannot run {words[0]!r}: {error.strerror}", CANNOT_RUN) from error
        while True:
            code = process.poll()
            if code is not None:
                return 128 - code if code < 0 else code
            number, is_delivered = self._next(process.pid)
            if number == signal.SIGCHLD:
                on_child()
                continue
            if number == signal.SIGINT:
                now = time.monotonic()
                if now - self._interrupted_at < AGAIN_SECONDS:
                    process.kill()
                    process.wait()
                    raise InterruptedTwice
                self._interrupted_at = now
            if not is_delivered:
                process.send_signal(number)

    def wait_for(self, ended: Callable[[], bool], seconds: float) -> None:
        """Wait until `ended`, a condition on a child, is true, a signal arrives, or `seconds` have passed."""
        deadline = time.monotonic() + seconds
        while not ended() and time.monotonic() < deadline:
            if sys.platform == "darwin":
                time.sleep(0.02)  # it has no wait for signals with a limit
                continue
            info = signal.sigtimedwait(self._watched, max(0.0, deadline - time.monotonic()))
            if info is not None and info.si_signo != signal.SIGCHLD:
                return

    def _next(self, command: int) -> tuple[int, bool]:
        """The next signal, and whether the command has received it, too."""
        if sys.platform == "darwin":
            number = signal.sigwait(self._watched)
            return number, number in (signal.SIGINT, signal.SIGQUIT) and _same_group(command)  # most likely typed
        info = signal.sigwaitinfo(self._watched)
        return info.si_signo, info.si_code == _SI_KERNEL and _same_group(command)

    def _become_command(self) -> Callable[[], None]:
        parent = os.getpid()

        def between_fork_and_exec() -> None:
            if _prctl is not None:
                _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(1)  # the parent died before the death signal was set
            for number in self._forwarded:
                signal.signal(number, signal.SIG_DFL)  # a handler of ours must not run here
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

        return between_fork_and_exec


def _same_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpgrp()
    except ProcessLookupError:
        return True
