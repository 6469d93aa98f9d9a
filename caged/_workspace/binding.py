"""What every part of a bound sandbox has: a session and an id, and scripts that run there."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Optional, TypeVar, Union

from .. import _arguments as arguments
from .._constants import EXEC_TIMEOUT
from .._core import CallPlan, perform
from .._errors import CagedError, CagedSandboxError
from .._http import AsyncSession, Session
from .._models.sandboxes import ExecResult, Sandbox
from .._resources.sandbox_calls import exec_
from .._settings import Settings
from .cancellation import completed
from .command_output import decode
from .script_header import helper_header

T = TypeVar("T")

_REMOVED_TOGETHER = 16
#: Seconds that the removal of what an interrupted call has left may take.
_REMOVAL = 5.0
_BEGUN = "@caged-sdk"
# As the shells say it, from the beginning of the program's name: a search that also began within it would take minutes
# for a megabyte of base64, which is one name.
_MISSING = re.compile(r"(?<![\w.+-])([\w.+-]+): (?:command )?not found$", re.MULTILINE)


@dataclass
class OpenBlock:
    """A block that has opened a sandbox.

    Attributes:
        keep: Whether its end leaves the sandbox alone.
        options: What the sandbox was created with.
    """

    keep: bool
    options: Mapping[str, Any]


class Binding:
    """A sandbox, as plans see it.

    Attributes:
        settings: The client's.
        sandbox_id: The sandbox.
        sandbox: As the API last answered; None before the first answer.
        opened: The block that opened it; None when none did.
        finished: Names of commands whose files are still there. To remove them takes a third of the time of a short
            command, so it is done for many at once.
        left: Lines of shell, each of which removes the temporary files of one interrupted call. They are run when that
            call ends.
    """

    def __init__(
        self,
        settings: Settings,
        sandbox_id: str,
        sandbox: Optional[Sandbox] = None,
        opened: Optional[OpenBlock] = None,
    ) -> None:
        self.settings = settings
        self.sandbox_id = sandbox_id
        self.sandbox = sandbox
        self.opened = opened
        self.finished: list[str] = []
        self.left: list[str] = []

    def take_finished(self) -> list[str]:
        """Names of commands whose files the next script removes; empty for most."""
        if len(self.finished) < _REMOVED_TOGETHER:
            return []
        names, self.finished = self.finished, []
        return names

    def send(self, text: str, timeout: Optional[float], repeatable: bool = False) -> CallPlan[ExecResult]:
        """Run a command of the shell.

        Args:
            repeatable: Whether it only reads, and so may be sent again where its answer is lost.

        Raises:
            CagedSandboxError: The sandbox cannot run commands.
        """
        call = exec_(self.sandbox_id, text, timeout)
        result = yield from perform(self.settings, replace(call, repeatable=True) if repeatable else call)
        if result.error:
            raise CagedSandboxError(f"sandbox {self.sandbox_id} cannot run commands: {result.error}")
        return result

    def execute(
        self, title: str, script: str, timeout: Optional[float] = EXEC_TIMEOUT, repeatable: bool = False
    ) -> CallPlan[str]:
        """Run a script of the SDK's own, and return its output.

        Args:
            title: What it is for, e.g. ``read /etc/passwd``; logs show it.
            script: For `sh`. It must not fail.
            timeout: Seconds.
            repeatable: Whether it only reads, see `send`.

        Raises:
            CagedSandboxError: The sandbox cannot run commands, or the script failed.
        """
        result = yield from self.send(f"{helper_header(title)}echo {_BEGUN}\n{script}", timeout, repeatable)
        # A shell that cannot set the locale, for example, says so first.
        _, begun, output = result.output.partition(f"{_BEGUN}\n")
        if result.exit_code != 0 or not begun:
            raise self.failure(output or result.output)
        return output

    def interruptible(self, plan: CallPlan[T], removal: str) -> CallPlan[T]:
        """Carry out a plan that removes what it made where it fails.

        Args:
            removal: Shell that removes it where the plan is interrupted: by Ctrl-C, or the cancellation of a coroutine.
        """
        try:
            return (yield from plan)
        except Exception:
            raise
        except BaseException:  # GeneratorExit, where the interruption was in the session
            self.left.append(removal)
            raise

    def remove_left(self) -> CallPlan[None]:
        """Remove what interrupted calls have left. Where that fails, the interruption is still what to report."""
        lines, self.left = self.left, []
        yield from self.execute("remove what is left", "".join(f"{line}\n" for line in lines) + ":\n", _REMOVAL)

    def failure(self, output: str, before: str = "") -> CagedSandboxError:
        """The error for a script that ended early: it must not fail, so something in the sandbox is missing or full.

        Args:
            before: What comes first in the message.
        """
        said = output.strip()[-500:] or "it printed nothing"
        missing = _MISSING.search(output)
        if missing is not None:
            line = output[output.rfind("\n", 0, missing.start()) + 1 : missing.end()]
            said = f"it has no program {missing[1]!r}, which the SDK needs: {line[-500:]}"
        return CagedSandboxError(f"{before}sandbox {self.sandbox_id} could not run a script of the SDK: {said}")


def new_name() -> str:
    """A name that no other call has, for files and environment variables in the sandbox."""
    return secrets.token_hex(8)


def decode_base64(binding: Binding, text: str) -> bytes:
    """The bytes of `base64`'s output."""
    try:
        return decode(text)
    except ValueError:
        raise binding.failure(text) from None


def bound(settings: Settings, sandbox: Union[str, Sandbox], opened: Optional[OpenBlock]) -> Binding:
    """The binding to a sandbox, given by its id or as a create returned it."""
    known = sandbox if isinstance(sandbox, Sandbox) else None
    sandbox_id: Any = sandbox if known is None else known.id
    arguments.segment("sandbox_id", sandbox_id)
    return Binding(settings, sandbox_id, known, opened)


class Bound:
    """Base of the blocking methods of a bound sandbox.

    Attributes:
        id: The sandbox's.
    """

    def __init__(self, session: Session, sandbox: Union[str, Sandbox], opened: Optional[OpenBlock] = None) -> None:
        self._session = session
        self._binding = bound(session.settings, sandbox, opened)
        self.id = self._binding.sandbox_id

    def _run(self, plan: CallPlan[T]) -> T:
        try:
            return self._session.run(plan)
        finally:
            if self._binding.left:
                with suppress(CagedError):
                    self._session.run(self._binding.remove_left())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r})"


class AsyncBound:
    """Base of the coroutines of a bound sandbox. Attributes as `Bound`."""

    def __init__(self, session: AsyncSession, sandbox: Union[str, Sandbox], opened: Optional[OpenBlock] = None) -> None:
        self._session = session
        self._binding = bound(session.settings, sandbox, opened)
        self.id = self._binding.sandbox_id

    async def _run(self, plan: CallPlan[T]) -> T:
        try:
            return await self._session.run(plan)
        finally:
            if self._binding.left:
                task, _ = await completed(self._session.run(self._binding.remove_left()))
                if not task.cancelled():
                    task.exception()  # seen

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r})"
