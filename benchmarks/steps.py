"""python benchmarks/steps.py: what steps cost a request and an exec, and what the changed files cost an exec.

Both sides run in turns on one emulator. Without steps: the methods that record them do nothing.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

from _timing import Row, alternate, report

from caged.emulator import Emulator
from caged.emulator.control.step import Step
from caged.emulator.control.steps import Steps

ROUNDS = 600
_NONE = Step("s0", "event", "", "", "", "", 0.0)
_RECORDING = ("begin", "assign", "finish", "add", "changed", "running_command")
_WITH = {name: getattr(Steps, name) for name in _RECORDING}


def _without(name: str) -> Callable[..., Any]:
    return lambda *_arguments, **_options: _NONE if name in ("begin", "add") else None


def _record(enabled: bool) -> None:
    for name in _RECORDING:
        setattr(Steps, name, _WITH[name] if enabled else _without(name))


def _in_turns(act: Callable[[], Any], switch: Callable[[bool], None]) -> tuple[float, float]:
    """Median milliseconds without and with what `switch` switches on. The switching is not measured: it takes place in
    calls of its own between the others."""
    _off, without, _on, with_ = alternate(ROUNDS, lambda: switch(False), act, lambda: switch(True), act)
    return without, with_


def main() -> int:
    rows = []
    with Emulator() as emulator, emulator.client() as caged:
        box = caged.sandboxes.create().id
        for name, act in (
            ("account.get", caged.account.get),
            ('exec("true")', lambda: caged.sandboxes.exec(box, "true")),
        ):
            without, with_ = _in_turns(act, _record)
            rows.append(Row(f"{name} with steps", with_, without, "the same without steps", 1.03))
        _record(True)
        caged.sandboxes.exec(box, "for i in $(seq 20); do echo $i > f$i; done")
        without, with_ = _in_turns(lambda: caged.sandboxes.exec(box, "true"), lambda on: _files(emulator, on))
        print(f"file changes: {with_ - without:+.3f} ms an exec with 20 files in /workspace (at most 1 ms)")
    return report(rows)


def _files(emulator: Emulator, on: bool) -> None:
    runtime = emulator._runtime
    assert runtime is not None
    runtime.platform.file_changes.enable("*", on)


if __name__ == "__main__":
    sys.exit(main())
