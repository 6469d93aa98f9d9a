"""An emulator in a background process, while its parent runs a command in the foreground.

The process is forked, so that nothing is imported twice. It has a session of its own, so that no key of the terminal
reaches it, and reads from a pipe of its parent: a byte requests an orderly end, end of file an immediate one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Optional

import click

from ..cage.probe import IsolationUnavailable
from ..config import ConfigError, EmulatorConfig
from ..discovery import environment_variables
from .foreground import Foreground
from .orphans import kill_marked

if TYPE_CHECKING:
    from .recording import Recording

START_LIMIT = 60.0
#: With a scenario, whose sandboxes and commands take their time.
SCENARIO_LIMIT = 600.0
_STOP = b"."


class BackgroundEmulator:
    """The parent's end of it, made by `start`."""

    def __init__(self, pid: int, answer: int, tether: int) -> None:
        self.pid = pid
        self._answer = answer
        self._tether = tether
        self._status: Optional[int] = None

    @classmethod
    def start(
        cls, config: EmulatorConfig, mark: str, stderr_level: int, recording: Optional[Recording] = None
    ) -> BackgroundEmulator:
        """Fork, and return at once. Call it while there is one thread.

        Args:
            config: The emulator's settings.
            mark: `NAME=value`. When the parent is killed, processes with it in their environment end with the emulator.
            stderr_level: The level from which on lines of the emulator's log are printed to stderr.
            recording: What records everything that happens, and is written when the emulator is to end.
        """
        answer, answering = os.pipe()
        tethered, tether = os.pipe()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(answer)
                os.close(tether)
                os.setsid()
                nothing = os.open(os.devnull, os.O_RDWR)
                os.dup2(nothing, 0)
                os.dup2(nothing, 1)
                os.close(nothing)
                code = _Child(answering, tethered, mark, recording).run(config, parent, stderr_level)
            except SystemExit as ending:
                code = ending.code if isinstance(ending.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)  # without it, the parent's frames would run here, too
        os.close(answering)
        os.close(tethered)
        return cls(pid, answer, tether)

    def variables(self, limit: float = START_LIMIT) -> dict[str, str]:
        """Wait until the emulator answers, and return the environment variables that lead to it.

        Args:
            limit: The longest wait, in seconds.

        Raises:
            click.ClickException: It does not answer; the text says why.
        """
        if not select.select([self._answer], [], [], limit)[0]:
            raise click.ClickException(f"the emulator did not answer within {limit:g} s")
        with open(self._answer, encoding="utf-8") as file:
            text = file.read()
        answer: dict[str, Any] = json.loads(text) if text else {"failed": "the emulator ended before it answered"}
        if "unusable" in answer:
            raise click.UsageError(answer["unusable"])
        if "failed" in answer:
            raise click.ClickException(answer["failed"])
        return answer

    def exit_code(self) -> Optional[int]:
        """Its exit code, negative for the signal that ended it; None as long as it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self._status

    def request_stop(self) -> None:
        """Request an orderly end, and return at once."""
        try:
            os.write(self._tether, _STOP)
        except OSError:
            pass  # it has ended, or was abandoned

    def abandon(self) -> None:
        """End it at once, and the processes that have its mark, unless it was requested to stop. Harmless to repeat."""
        if self._tether >= 0:
            os.close(self._tether)
            self._tether = -1

    def wait(self, seconds: float) -> bool:
        """Wait for its end, `seconds` at most. Returns whether it has ended."""
        deadline = time.monotonic() + seconds
        while self.exit_code() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.exit_code() is not None

    def kill(self) -> None:
        """End it with SIGKILL; its zygote removes what it leaves."""
        os.kill(self.pid, signal.SIGKILL)


class _Child:
    """The emulator in the forked process.

    Args:
        answering: The descriptor to which it writes one answer: the variables that lead to it, or why there are none.
        tethered: The descriptor from which it reads what its parent requests.
        mark: As of `BackgroundEmulator.start`.
        recording: As of `BackgroundEmulator.start`.
    """

    def __init__(self, answering: int, tethered: int, mark: str, recording: Optional[Recording]) -> None:
        self._answering = answering
        self._tethered = tethered
        self._mark = mark
        self._recording = recording
        self._is_stop_requested = False

    def run(self, config: EmulatorConfig, parent: int, stderr_level: int) -> int:
        """Run the emulator until its end. Returns its exit code."""
        try:
            foreground = Foreground(config, "exec", parent, stderr_level)
            try:
                foreground.run(
                    lambda: self._on_ready(foreground, config), (self._tethered, lambda: self._on_tether(foreground))
                )
            finally:
                self._write_recording()  # a signal may have ended it
        except ConfigError as error:
            self._answer({"unusable": str(error)})
            return 2
        except (IsolationUnavailable, OSError) as error:
            self._answer({"failed": str(error)})
            return 1
        return 0

    def _on_ready(self, foreground: Foreground, config: EmulatorConfig) -> None:
        """Answer with the environment variables of the emulator, which now serves."""
        runtime = foreground.runtime
        if self._recording is not None:
            self._recording.begin(runtime)
        variables = environment_variables(runtime.base_url, runtime.api_key, runtime.admin_key)
        if self._recording is not None:
            variables.update(self._recording.variables())
        self._answer({**variables, **(runtime.loaded.variables() if config.scenario is not None else {})})

    def _on_tether(self, foreground: Foreground) -> None:
        """Do what the parent requests; its end requests an immediate one."""
        if os.read(self._tethered, 1) == _STOP:
            self._is_stop_requested = True
            self._write_recording()  # before the sandboxes end, which is not the command's doing
            foreground.runtime.request_stop()
            return
        if not self._is_stop_requested:
            kill_marked(self._mark)
        self._write_recording()
        foreground.abandon()
        os._exit(0)

    def _write_recording(self) -> None:
        if self._recording is not None:
            self._recording.write()

    def _answer(self, content: dict[str, str]) -> None:
        try:
            os.write(self._answering, json.dumps(content).encode())
            os.close(self._answering)
        except BrokenPipeError:
            pass  # the parent has ended, or does not wait any more
