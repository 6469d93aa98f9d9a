"""A downstream suite in which the end of each test's name is its expected outcome, in any order and in parallel.

A suite that only passes would not show that the plugin fails tests. This one shows it for each way to set up a
control without effect.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import fork_server
import pytest

PROJECT = Path(__file__).parent / "trust_project"
#: In random order, in two processes: each has several tests, in an order that may be the written one.
ORDER = ("-p", "randomly", "-n", "2")
OUTCOMES = {"passes": "passed", "fails": "failed", "errors": "error"}

#: A part of the report of each failed test, by the start of the test's name.
SAYS = {
    "test_autouse_fixture_without_use": "'deploy'",
    "test_unused_fault_of_a_fixture_before_caged": "sandboxes.list",
    "test_unused_stub_without_caged": "'never'",
    "test_unused_fault_for_all_accounts": "sandboxes.list",
    "test_sandbox_of_another_account": "belongs to another account",
    "test_function_fixture_in_a_module_fixture": "caged_factory",
    "test_death_that_comes_too_late": "dies",
    "test_exception_in_a_stub_function": "ZeroDivisionError",
    "test_exception_in_an_agent_function": "no-such-answer",
    "test_misspelt_operation_in_a_query": "did you mean 'sandboxes.exec'",
    "test_misspelt_operation_with_zero_times": "did you mean 'sandboxes.exec'",
    "test_misspelt_agent_in_a_query": "did you mean 'claude'",
    "test_misspelt_agent__": "did you mean 'claude'",
    "test_misspelt_source_in_a_query": "did you mean 'terminal'",
    "test_misspelt_name_in_a_scenario": "did you mean 'sandboxes.exec'",
    "test_misspelt_option_of_the_marker": "did you mean 'template'",
    "test_marker_without_a_sandbox": "caged_sandbox",
    "test_misspelt_isolation_level": "did you mean 'namespace'",
    "test_account_of_a_snapshot": "account_id",
    "test_count_of_unread_notifications": "count",
    "test_misspelt_import__": "cannot import name 'Sandboxx'",
    "test_misspelt_import_of_the_emulator": "cannot import name 'Emulatorr'",
    "test_misspelt_keyword_of_create": "did you mean 'template'",
    "test_refused_connection": "CagedConnectionError",
}


#: Texts that the report must not contain: frames of the SDK and of its libraries.
HIDES = {"test_refused_connection": ("httpcore", "def perform", "def send")}


@pytest.fixture
def results(tmp_path: Path) -> dict[str, tuple[str, str]]:
    """Outcome and report of each test of the project, by name."""
    project, temporary = tmp_path / "project", tmp_path / "temp"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    temporary.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    done = fork_server.run(
        [sys.executable, "-m", "pytest", "--junit-xml=report.xml", "--color=no", *ORDER],
        cwd=project,
        env={**environment, "TMPDIR": str(temporary), "CAGED_RUNS_DIR": str(temporary / "runs")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert list(temporary.glob("caged-*")) == []
    return _read(project / "report.xml", done.stdout)


def _read(report: Path, output: str) -> dict[str, tuple[str, str]]:
    outcomes = {"failure": "failed", "error": "error", "skipped": "skipped"}
    headed = re.split(r"^_+ (?:ERROR at \w+ of )?(\S+) _+$", output, flags=re.M)
    reports = dict(zip(headed[1::2], headed[2::2]))
    found: dict[str, tuple[str, str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name, place = case.get("name", ""), case.get("classname", "").rpartition(".")[2]
        outcome = "+".join(outcomes[child.tag] for child in case if child.tag in outcomes) or "passed"
        found[name] = (outcome, reports.get(name, "") or reports.get(f"{place}.{name}", ""))
    return found


def test_each_test_has_outcome_in_its_name(results: dict[str, tuple[str, str]]) -> None:
    assert len(results) > 50
    problems = []
    for name, (outcome, text) in results.items():
        expected = OUTCOMES[name.partition("[")[0].rpartition("__")[2]]
        said = [words for start, words in SAYS.items() if name.startswith(start)]
        hidden = [words for start, all_words in HIDES.items() if name.startswith(start) for words in all_words]
        if outcome != expected:
            problems.append(f"{name}: {outcome}, not {expected}\n{text}")
        elif outcome != "passed" and len(said) != 1:
            problems.append(f"{name}: SAYS has {len(said)} entries for it")
        elif not all(words in text for words in said):
            problems.append(f"{name} does not say {said[0]!r}:\n{text}")
        elif any(words in text for words in hidden):
            problems.append(f"{name} says one of {hidden}:\n{text}")
    assert not problems, "\n\n".join(problems)
