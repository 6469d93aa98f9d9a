"""A recording of everything that happens on an emulator while a command runs, in the emulator's process.

The emulator writes it, not the process that runs the command: so there is a trace also when that process is killed, and
steps of accounts that are deleted meanwhile are in it.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from caged import __version__
from caged._call_file import VARIABLE

from ..control.clock import rfc3339
from ..control.current_account import ALL_ACCOUNTS
from ..trace.call_steps import call_step
from ..trace.file import Trace, TraceHeader, UnusedControl
from ..trace.outline import cost, describe
from ..trace.redaction import TraceRedactor, redact_header, redact_steps
from .recorded_calls import read_calls

if TYPE_CHECKING:
    from ..control.registry import Control
    from ..control.step import Step
    from ..control.step_log import StepLog
    from ..runtime import Runtime

#: Lines of the emulator's log in a trace.
LOG_LINES = 100


class Recording:
    """Gathers the steps of all accounts of an emulator, and writes them once.

    Args:
        title: The command that is recorded.
        path: The file to write (`.jsonl`).
    """

    def __init__(self, title: str, path: Path) -> None:
        self._header = TraceHeader(title=title, version=__version__)
        self._path = path
        self._redactor = TraceRedactor()
        self._runtime: Optional[Runtime] = None
        self._removed: Optional[StepLog] = None
        self._calls: Optional[Path] = None
        self._began = 0.0
        self._is_written = False

    def begin(self, runtime: Runtime) -> None:
        """Record from now on. Called once the emulator answers."""
        platform = runtime.platform
        self._runtime = runtime
        self._removed = platform.steps.keep_removed(self._note_removal)
        self._redactor.hide_values([runtime.api_key, runtime.admin_key])
        platform.file_changes.enable(ALL_ACCOUNTS, True)
        self._calls = platform.run_dir / "calls.jsonl"
        self._calls.touch(mode=0o600)
        self._began = time.time()
        self._header.wall = rfc3339(self._began)
        self._header.start = platform.steps.now()
        self._header.isolation = platform.isolation.level

    def variables(self) -> dict[str, str]:
        """Environment variables of the command, by which the SDK in it records its calls."""
        return {VARIABLE: str(self._calls)} if self._calls is not None else {}

    def write(self) -> None:
        """Write what has happened so far; only the first call does. A failure is printed to stderr."""
        if self._runtime is None or self._is_written:
            return
        self._is_written = True
        try:
            self._trace(self._runtime).write(self._path)
        except Exception as error:  # whatever it is, the emulator has to end in the usual way
            print(f"Error: the trace {self._path} could not be written: {error}", file=sys.stderr, flush=True)

    def _trace(self, runtime: Runtime) -> Trace:
        platform = runtime.platform
        logs = [*platform.steps.known(None), *([self._removed] if self._removed is not None else [])]
        found = {step.id: step for log in logs for step in log}
        steps = [self._shown(step) for step in found.values()]
        for sandbox in platform.store.sandboxes.values():
            self._redactor.hide({"env": sandbox.env})
        steps += self._call_steps(steps, platform.steps.now())
        steps.sort(key=lambda step: step.start)
        redact_steps(steps, self._redactor)
        dropped = sum(log.dropped for log in logs)
        accounts = {step.account for step in steps}
        header = replace(
            self._header,
            duration_ms=round((time.time() - self._began) * 1000, 3),
            accounts={id: one.name for id, one in platform.store.accounts.items() if id in accounts},
            cost_usd=round(sum(map(cost, steps)), 6),
            unused=self._unused(steps),
            log=runtime.log.tail(LOG_LINES),
            notes=[f"{dropped} steps were dropped, because there were more than are kept."] if dropped else [],
        )
        return Trace(redact_header(header, self._redactor.redacted), steps)

    def _call_steps(self, steps: list[Step], now: float) -> list[Step]:
        """The calls of the SDK in the command and what it started. `now`: the present time on the clock of steps."""
        calls = [] if self._calls is None else read_calls(self._calls)
        accounts = {step.parent: step.account for step in steps if step.kind == "request"}
        offset, epoch = now - time.perf_counter(), time.time() - time.perf_counter()
        root = os.getcwd()
        return [call_step(call, root, offset, epoch, accounts, self._redactor.redacted) for call in calls]

    def _shown(self, step: Step) -> Step:
        """A copy of a step, as the journal shows it."""
        assert self._runtime is not None
        return replace(self._runtime.platform.journal.shown_step(step))

    def _note_removal(self, step: Step) -> None:
        shown = self._shown(step)  # now: the account's secrets are forgotten with it
        step.title, step.sandbox, step.detail = shown.title, shown.sandbox, shown.detail

    def _unused(self, steps: list[Step]) -> list[UnusedControl]:
        """The controls that exist and never applied, in the words of the steps that added them."""
        assert self._runtime is not None
        platform = self._runtime.platform
        accounts = [*platform.store.accounts, ALL_ACCOUNTS]
        controls: list[Control] = [
            control
            for registry in platform.registries
            for account in accounts
            for control in registry.added_for(account)
        ]
        added = {control: step for step in steps if step.kind == "control" for control in step.controls}
        return [
            UnusedControl(one.id, describe(one.id, added[one.id]) if one.id in added else str(one))
            for one in controls
            if one.is_unused
        ]
