"""Records in which test which operation of an emulator succeeded: see scripts/endpoints."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

#: Environment variable with the directory to write to. Without it nothing is recorded.
DIRECTORY = "CAGED_RECORD_OPERATIONS"
NOT_EMULATED = 501

#: (file of the test that ran, journal entry). An entry gets its status later.
_seen: list[tuple[str, Any]] = []


def begin() -> None:
    """Start to record the calls to the emulators of this process."""
    if not os.environ.get(DIRECTORY):
        return
    from caged.emulator.control.journal import Journal
    from caged.emulator.control.records import RequestRecord

    add = Journal.add

    def noted(journal: Journal, entry: RequestRecord) -> RequestRecord:
        _seen.append((os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0], entry))
        return add(journal, entry)

    Journal.add = noted  # type: ignore[method-assign]


def finish() -> None:
    """Write the operations that succeeded, and those that were reported as not emulated."""
    if not os.environ.get(DIRECTORY):
        return
    good = [(x.operation, test) for test, x in _seen if test and (0 < x.status < 400 or x.status == NOT_EMULATED)]
    Path(os.environ[DIRECTORY], f"{os.getpid()}.json").write_text(json.dumps(good), encoding="utf-8")


def recorded(directory: Path) -> dict[str, list[str]]:
    """Return the test files by operation, sorted by the number of its successes."""
    found: dict[str, Counter[str]] = {}
    for file in directory.glob("*.json"):
        for operation, test in json.loads(file.read_text(encoding="utf-8")):
            found.setdefault(operation, Counter())[test] += 1
    return {name: sorted(tests, key=lambda test: (-tests[test], test)) for name, tests in found.items()}
