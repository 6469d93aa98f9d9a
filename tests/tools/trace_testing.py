"""Traces for tests: one of a real run of the emulator, and artificial ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from caged import CagedServerError
from caged.emulator import Emulator
from caged.emulator.control.step import Step
from caged.emulator.trace.file import Trace, TraceHeader, UnusedControl

PATH = "tests/test_checkout.py"
NODE_ID = f"{PATH}::test_agent_repairs_the_sum"
#: The test that the trace is of.
SOURCE = """\
def test_agent_repairs_the_sum(caged_client, caged_emulator):
    caged_emulator.faults.add("sandboxes.exec", status=503, times=1)
    caged_emulator.faults.add("snapshots.create", status=500)
    caged_emulator.commands.stub("npm install*", "added 42 packages\\n")
    caged_emulator.agent("claude-code").reply("I changed add() so that it adds.", files=REPAIRED, cost_usd=0.25)
    box = caged_client.sandboxes.create(template="minimal", agents=["claude-code"])
    caged_client.files.write(box.id, "/workspace/calc.py", BROKEN)
    caged_client.files.write(box.id, "/workspace/run_tests.sh", RUNNER)
    with pytest.raises(CagedServerError):
        caged_client.sandboxes.exec(box.id, "npm install --silent")
    caged_client.sandboxes.exec(box.id, "npm install --silent")
    caged_client.sandboxes.exec(box.id, "sh run_tests.sh")
    caged_emulator.clock.advance(minutes=5)
    caged_client.sandboxes.exec(box.id, "claude -p 'the sum is wrong, repair calc.py'")
    result = caged_client.sandboxes.exec(box.id, "sh run_tests.sh")
    caged_client.sandboxes.destroy(box.id)
    assert result.exit_code == 0, result.output
""".splitlines()
FIRST_LINE = 12
BROKEN = "def add(a, b):\n    return a - b\n\n\ndef double(a):\n    return add(a, a)\n"
WRONG = "def add(a, b):\n    return a + b + 1\n\n\ndef double(a):\n    return add(a, a)\n"
#: A test runner with colours, a line that it overwrites, and pauses.
RUNNER = r"""
printf '\033[1mcollecting\033[0m ... '; sleep 0.2
printf '\r\033[Kcollected 2 items\n\n'; sleep 0.1
printf 'test_calc.py \033[32m.\033[0m\033[31mF\033[0m\n\n'
printf '\033[1m\033[31mE   assert add(1, 2) == 3\033[0m\n'
printf '\033[1m\033[31mE    +  where 4 = add(1, 2)\033[0m\n\n'; sleep 0.3
printf '\033[38;5;208mtest_calc.py\033[0m:5: \033[38;2;220;50;47mAssertionError\033[0m\n'
printf '\033[31m===== \033[1m1 failed\033[0m\033[31m, \033[32m1 passed\033[31m in 0.61s =====\033[0m\n'
exit 1
"""


def step(step_id: str, kind: Any = "request", title: str = "GET /v1/account", start: float = 0.0, **more: Any) -> Step:
    """Make a finished step, with defaults for everything that does not matter to a test."""
    fields: dict[str, Any] = {
        "account": "acc_1",
        "at": "2026-01-01T00:00:00Z",
        "wall": "2026-01-01T00:00:00Z",
        "status": "ok",
        "duration_ms": 1.0,
        **more,
    }
    return Step(id=step_id, kind=kind, title=title, start=start, **fields)


def real_trace() -> Trace:
    """The trace of a test in which an agent repairs a file wrongly: a fault, a stub, a prompt, a move of the clock."""
    with Emulator(allow_unused=True) as emulator, emulator.client() as client:
        emulator.journal.record_file_changes(True)
        emulator.faults.add("sandboxes.exec", status=503, times=1)
        never = emulator.faults.add("snapshots.create", status=500)
        emulator.commands.stub("npm install*", "added 42 packages\n")
        claude = emulator.agent("claude-code")
        claude.reply("I changed add() so that it adds.\n", files={"calc.py": WRONG}, cost_usd=0.25, model="sonnet")
        box = client.sandboxes.create(template="minimal", agents=["claude-code"])
        client.files.write(box.id, "/workspace/calc.py", BROKEN)
        client.files.write(box.id, "/workspace/run_tests.sh", RUNNER)
        with pytest.raises(CagedServerError):
            client.sandboxes.exec(box.id, "npm install --silent")
        client.sandboxes.exec(box.id, "npm install --silent")
        client.sandboxes.exec(box.id, "sh run_tests.sh")
        emulator.clock.advance(minutes=5)
        client.sandboxes.exec(box.id, "claude -p 'the sum is wrong, repair calc.py'")
        result = client.sandboxes.exec(box.id, "sh run_tests.sh")
        client.sandboxes.destroy(box.id)
        assert result.exit_code == 1
        steps = emulator.journal.steps()
        log = emulator.log_tail(20) if callable(getattr(emulator, "log_tail", None)) else []
        unused = UnusedControl(
            never.id,
            "fault snapshots.create 500",
            f"{PATH}:{FIRST_LINE + 2}",
            ["POST /v1/sandboxes: is sandboxes.create, not snapshots.create"],
        )
        isolation = str(emulator.isolation)
    return with_client_side(steps, unused, isolation, log)


def with_client_side(steps: list[Step], unused: UnusedControl, isolation: str, log: Any) -> Trace:
    """Add what the client side records: the phase of the test, its calls with their lines, and changes of files."""
    begin = steps[0].start - 0.05
    test = step(
        "aaaaaaaaaaaaaaaa", "test", "call", begin, status="error", detail={"phase": "call", "outcome": "failed"}
    )
    made, lines = [test], _lines_of_calls()
    for one in steps:
        if one.kind == "request" and not one.parent:
            call = _call(one, test, next(lines))
            made.append(call)
            one.parent = call.id
        elif one.kind == "control" and not one.parent:
            one.parent = test.id
        if one.kind == "command" and one.title.startswith("$ claude"):
            one.detail["changes"].append({"path": "/workspace/model.bin", "change": "added", "note": "is not text"})
        made.append(one)
    end = max(one.start + (one.duration_ms or 0) / 1000 for one in made)
    test.duration_ms = round((end - begin) * 1000 + 3, 3)
    failed = FIRST_LINE + len(SOURCE) - 1
    header = TraceHeader(
        title=NODE_ID,
        outcome="failed",
        wall=steps[0].wall,
        start=begin,
        duration_ms=test.duration_ms,
        error=_error(failed),
        error_summary="AssertionError: assert 1 == 0",
        error_source=_source(failed),
        phase="call",
        unused=[unused],
        log=[str(line) for line in (log if isinstance(log, list) else str(log).splitlines())],
        accounts={"acc_1": "test"},
        isolation=isolation,
        cost_usd=0.2513,
        version="0.1.0",
    )
    return Trace(header, made)


def _lines_of_calls() -> Iterator[int]:
    return iter([FIRST_LINE + number for number, line in enumerate(SOURCE) if "caged_client." in line])


def _source(line: int) -> dict[str, Any]:
    numbered = list(enumerate(SOURCE, FIRST_LINE))
    return {"path": PATH, "line": line, "code": [[n, text] for n, text in numbered if abs(n - line) <= 3]}


def _call(request: Step, test: Step, line: int) -> Step:
    operation = str(request.detail.get("operation"))
    source = _source(line)
    error = {"error": "CagedServerError: injected by a fault"} if request.status == "error" else {}
    return step(
        f"{line:016x}",
        "call",
        operation,
        request.start - 0.0002,
        parent=test.id,
        sandbox=request.sandbox,
        status=request.status,
        duration_ms=round((request.duration_ms or 0) + 0.6, 3),
        detail={
            "call": operation,
            "arguments": SOURCE[line - FIRST_LINE].partition("(")[2][:-1],
            "source": source,
            **error,
        },
    )


def _error(line: int) -> str:
    return "\n".join(
        [
            *(f"    {text}" for text in SOURCE[:-1]),
            f">   {SOURCE[-1].strip()}",
            "E   AssertionError: collected 2 items",
            "E     test_calc.py .F",
            "E   assert 1 == 0",
            "E    +  where 1 = ExecResult(exit_code=1).exit_code",
            "",
            f"{PATH}:{line}: AssertionError",
        ]
    )


def hostile_trace(text: str) -> Trace:
    """A trace with `text` in each field that a test, a sandbox or an agent can choose."""
    everything = dict.fromkeys(
        [
            "method",
            "path",
            "operation",
            "query",
            "request",
            "response",
            "command",
            "source",
            "error",
            "agent",
            "program",
            "prompt",
            "cwd",
            "reply",
            "session",
            "model",
            "rule",
            "severity",
            "message",
            "alert",
            "event",
            "call",
            "phase",
            "outcome",
        ],
        text,
    )
    code = {"path": text, "line": 3, "code": [[2, text], [3, text]]}
    lists: dict[str, Any] = {
        "arguments": [text],
        "warnings": [text],
        "near_misses": [text],
        "output": [[0.1, text], [0.2, text]],
        "output_cut": {"after": 1, "characters": 2},
        "changes": [{"path": text, "change": text, "before": text, "after": text + "\nx", "note": text}],
        "data": {text: text},
        "body": {"operation": text, text: text},
    }
    kinds = ["test", "call", "request", "command", "prompt", "file", "sandbox", "control", "alert", "event", "error"]
    steps = [
        step(
            f"{text}{number}",
            kind,
            text,
            number / 10,
            parent=f"{text}{number - 1}" if number else text,
            sandbox=text,
            at=text,
            wall=text,
            status="error",
            controls=[text],
            test=text,
            detail={**everything, **lists, **({"source": code} if kind == "call" else {})},
        )
        for number, kind in enumerate(kinds)
    ]
    header = TraceHeader(
        title=text,
        outcome="failed",
        wall=text,
        error=text,
        error_summary=text,
        error_source=code,
        phase=text,
        unused=[UnusedControl(text, text, text, [text])],
        log=[text],
        accounts={text: text},
        isolation=text,
        notes=[text],
        version=text,
        kept={text: text},
        target=text,
    )
    return Trace(header, steps)


def many_steps(count: int) -> Trace:
    """Make a trace of `count` steps in four sandboxes, in chains of seven nested steps. Each fiftieth failed."""
    steps = []
    for number in range(count):
        failed = number % 50 == 49
        steps.append(
            step(
                f"s{number}",
                "command" if number % 2 else "request",
                f"$ run --number {number}" if number % 2 else f"GET /v1/sandboxes/cage_{number % 4}",
                number * 0.01,
                parent=f"s{number - 1}" if number % 7 else "",
                sandbox=f"cage_{number % 4}",
                status="error" if failed else "ok",
                duration_ms=8.0,
                detail={"output": [[0.001, f"line {number}\n"]], "exit_code": int(failed)} if number % 2 else {},
            )
        )
    header = TraceHeader(title="tests/test_many.py::test_many", outcome="passed", duration_ms=count * 10.0)
    return Trace(header, steps)


def large_output(steps: int = 200, size: int = 1_000_000) -> Trace:
    """Make a trace of steps whose commands printed long texts that compress badly."""
    import random

    letters, numbers = random.Random(7), iter(range(10**9))
    words = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=letters.randint(2, 9))) for _ in range(4000)]
    found, printed = [], 0
    for number in range(steps):
        text = ""
        while number % 2 and printed < size and len(text) < 2 * size / steps:
            line = f"{next(numbers)} {' '.join(letters.choices(words, k=9))}\n"
            text += line
            printed += len(line)
        found.append(
            step(
                f"s{number}",
                "command" if number % 2 else "request",
                f"$ step {number}",
                number * 0.02,
                parent=f"s{number - 1}" if number % 2 else "",
                sandbox="cage_1",
                detail={"output": [[0.001, text]], "exit_code": 0} if number % 2 else {"status": 200},
            )
        )
    return Trace(TraceHeader(title="tests/test_large.py::test_large", outcome="passed"), found)
