"""An emulator in a process of its own, beside a command that somebody else runs.

It is forked, not started anew: nothing is imported twice. It has a session of its own, so that no key of the terminal
reaches it, and a pipe from its parent: a byte on it asks for an orderly end, end of file for one at once.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from typing import Any, Optional

import click

from ..cage.probe import IsolationUnavailable
from ..config import ConfigError, EmulatorConfig
from ..discovery import environment_variables
from .foreground import Foreground
from .orphans import kill_marked

START_LIMIT = 20.0
#: With a scenario, whose sandboxes and commands take their time.
SCENARIO_LIMIT = 600.0
_STOP = b"."


class BackgroundEmulator:
    """Started by `start`; `pid` may be waited for by whoever started it."""

    def __init__(self, pid: int, told: int, tether: int) -> None:
        self.pid = pid
        self._told = told
        self._tether = tether
        self._status: Optional[int] = None

    @classmethod
    def start(cls, config: EmulatorConfig, mark: str, stderr_level: int) -> BackgroundEmulator:
        """Returns at once. Processes that have `mark` in their environment go with the emulator when its parent is
        killed. To be called while there is one thread."""
        told, tell = os.pipe()
        tethered, tether = os.pipe()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(told)
                os.close(tether)
                os.setsid()
                nothing = os.open(os.devnull, os.O_RDWR)
                os.dup2(nothing, 0)
                os.dup2(nothing, 1)
                os.close(nothing)
                code = _emulate(config, parent, tell, tethered, mark, stderr_level)
            except SystemExit as ending:
                code = ending.code if isinstance(ending.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)  # what is above on the stack belongs to the parent
        os.close(tell)
        os.close(tethered)
        return cls(pid, told, tether)

    def variables(self, limit: float = START_LIMIT) -> dict[str, str]:
        """What the command has to have in its environment. Waits until the emulator answers, `limit` seconds at most; a
        ClickException tells why it does not."""
        if not select.select([self._told], [], [], limit)[0]:
            raise click.ClickException(f"the emulator did not answer within {limit:g} s")
        with open(self._told, encoding="utf-8") as file:
            said = file.read()
        answer: dict[str, Any] = json.loads(said) if said else {"failed": "the emulator ended before it answered"}
        if "unusable" in answer:
            raise click.UsageError(answer["unusable"])
        if "failed" in answer:
            raise click.ClickException(answer["failed"])
        return answer

    def ended(self) -> Optional[int]:
        """Its exit code (negative: the signal that ended it), None as long as it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self._status

    def ask_to_stop(self) -> None:
        try:
            os.write(self._tether, _STOP)
        except (BrokenPipeError, OSError):
            pass  # it has ended, or was let go

    def let_go(self) -> None:
        """Ends it at once, and what runs with its mark, unless it was asked to stop. Harmless to repeat."""
        if self._tether >= 0:
            os.close(self._tether)
            self._tether = -1

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after `seconds` at most."""
        deadline = time.monotonic() + seconds
        while self.ended() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.ended() is not None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _emulate(config: EmulatorConfig, parent: int, tell: int, tethered: int, mark: str, stderr_level: int) -> int:
    def answer(content: dict[str, str]) -> None:
        try:
            os.write(tell, json.dumps(content).encode())
            os.close(tell)
        except BrokenPipeError:
            pass  # nobody waits for it any more

    asked = False

    def pulled() -> None:
        nonlocal asked
        if os.read(tethered, 1) == _STOP:
            asked = True
            foreground.runtime.request_stop()
            return
        if not asked:
            kill_marked(mark)
        foreground.abandon()
        os._exit(0)

    try:
        foreground = Foreground(config, "exec", parent, stderr_level)
        runtime = foreground.runtime
        foreground.run(
            lambda: answer(
                {
                    **environment_variables(runtime.base_url, runtime.api_key, runtime.admin_key),
                    **(runtime.loaded.variables() if config.scenario is not None else {}),
                }
            ),
            (tethered, pulled),
        )
    except ConfigError as error:
        answer({"unusable": str(error)})
        return 2
    except (IsolationUnavailable, OSError) as error:
        answer({"failed": str(error)})
        return 1
    return 0
