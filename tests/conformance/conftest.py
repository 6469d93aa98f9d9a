"""Counts the tests of a framework's suite, and knows those that deviate.

A test that deviates is named in `deviations.txt` beside the suite, with the reason. It must fail: one that passes is
an error, so that the list has no stale entries. `own_backend.py` runs those tests alone, against a backend that is part
of the framework: they must fail there as well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance-results", metavar="FILE", help="where the counts of the suite are written, as JSON")


def deviations(folder: Path) -> dict[str, str]:
    """The name of each test that is known to fail, and why."""
    path = folder / "deviations.txt"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {name: reason for name, _, reason in (line.partition(": ") for line in lines if line)}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept, left_out = [], []
    for item in items:
        reason = deviations(item.path.parent).get(item.name)
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
        elif item.path.name == "own_backend.py":
            left_out.append(item)
            continue
        kept.append(item)
    for folder in {item.path.parent for item in items}:
        unknown = set(deviations(folder)) - {item.name for item in items if item.path.parent == folder}
        if unknown and not config.option.keyword and not any("::" in argument for argument in config.args):
            raise pytest.UsageError(f"deviations.txt names tests that do not exist: {', '.join(sorted(unknown))}")
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    stats = terminalreporter.stats
    passed = len(stats.get("passed", ()))
    # The reason of a skip is the third item of its long representation.
    skipped = {_name(report): str(report.longrepr[2]).removeprefix("Skipped: ") for report in stats.get("skipped", ())}
    failed = {_name(report): str(report.wasxfail).removeprefix("reason: ") for report in stats.get("xfailed", ())}
    broken = len(stats.get("failed", ())) + len(stats.get("error", ()))
    total = passed + len(skipped) + len(failed) + broken
    terminalreporter.section("conformance")
    terminalreporter.line(f"passes {passed} of {total}; {len(skipped)} skipped, {len(failed)} deviate, {broken} failed")
    for what, tests in (("skipped", skipped), ("deviates", failed)):
        for name, reason in tests.items():
            terminalreporter.line(f"{what}: {name}: {reason}")
    results = config.getoption("--conformance-results")
    if results:
        python = ".".join(map(str, sys.version_info[:2]))
        figures = {"passed": passed, "total": total, "skipped": skipped, "deviations": failed, "python": python}
        Path(results).write_text(json.dumps(figures), encoding="utf-8")


def _name(report: pytest.TestReport) -> str:
    return report.nodeid.rpartition("::")[2]
