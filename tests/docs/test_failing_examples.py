"""The failing example suite of the documentation: the trace of each test names the cause of its failure."""

from __future__ import annotations

from pathlib import Path

import pytest
import trace_runs
from trace_runs import Run

from caged.emulator.trace.summary import markdown, timeline

EXAMPLES = Path(__file__).parents[2] / "docs/examples/failing"
#: Texts that the trace of each test has to show, because they are the cause.
CAUSES = {
    "test_fault_that_never_triggers": [
        "never triggered: fault sandboxes.exec 503 (test_agent.py:",
        "requested instead: socket_ticket (of sandboxes.stream), sandboxes.terminal (of sandboxes.stream)",
    ],
    "test_wrong_command": ["git comit -m repaired -> exit 1", "'comit' is not a git command"],
    "test_agent_changes_the_wrong_file": [
        "I repaired add() in calc.py.",
        "write /workspace/src/calc.py",
        "python3 -B check.py -> exit 1",
        "AssertionError: 0",
    ],
    "test_budget_is_used_up": ["$0.75", "the budget of $0.50 is used up", "paused: budget used up"],
    "test_command_takes_too_long": ["CagedTimeoutError", "waiting for the server; until test -e /workspace/server.pid"],
    "test_stub_that_nearly_matches": [
        "never triggered: stub 'npm install'",
        "nearest: npm install --no-audit",
        "npm install --no-audit -> exit",
    ],
    "test_sandbox_is_destroyed_by_the_application": ["missing.c: No such file", "make -> exit 2", "destroyed"],
    "test_fault_in_a_fixture": ["! setup", "files.write", "<- fault files.write 500"],
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Run:
    files = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")}
    run = trace_runs.run(tmp_path_factory.mktemp("examples"), files)
    assert "7 failed, 1 error" in run.output
    return run


def test_there_is_a_cause_for_each_example(examples: Run) -> None:
    titles = {trace.header.title.partition("::")[2] for trace in examples.traces().values()}
    assert titles == set(CAUSES)


@pytest.mark.parametrize("test", CAUSES)
def test_trace_names_the_cause(examples: Run, test: str) -> None:
    trace = examples.trace(test)
    lines = timeline(trace)
    assert len(lines) <= 40
    shown = "\n".join([trace.header.error_summary, *lines])
    for text in CAUSES[test]:
        assert text in shown, (text, shown)
    assert len(markdown(trace)) < 20_000


def test_wrong_file_is_a_change_of_the_prompt(examples: Run) -> None:
    trace = examples.trace("test_agent_changes_the_wrong_file")
    changed = [
        change["path"] for step in trace.steps if step.kind == "prompt" for change in step.detail.get("changes", [])
    ]
    assert changed == ["/workspace/src/calc.py"]
    assert "/workspace/src/calc.py" in markdown(trace)
