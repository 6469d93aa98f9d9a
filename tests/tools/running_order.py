"""The order of the directories in a run.

Within a directory the order is pytest's, or that of pytest-randomly. Between directories it is fixed, for two reasons:

- Workers of xdist begin with a stretch of the list each, and take over tests from the end of another's. So the long
  tests come first, and the last tests of a run, for which workers wait, are short ones.
- What a session shares, such as the emulators of all isolation levels, is started once in each worker that has tests
  of the directory. Next to each other, these are in one or two workers.
"""

from __future__ import annotations

import pytest

#: Beginnings of node ids. Tests that have none of them come last.
ORDER = (
    "tests/emulator/test_verify.py",
    "tests/browser/",
    "tests/packaging/",
    "tests/downstream/",
    "tests/docs/",
    "tests/system/",
    "tests/isolation/",
    "tests/attacks/",
    "tests/stubs/",
    "tests/plugin/",
    "tests/emulator/cli/",
    "tests/emulator/persistence/",
    "tests/emulator/platform/",
    "tests/emulator/cage/",
    "tests/emulator/control/",
    "tests/emulator/control_client/",
    "tests/emulator/scenario/",
    "tests/inspector/",
    "tests/emulator/",
    "tests/tools/",
    "tests/trace/",
    "tests/page/",
    "tests/sdk/",
)


def sort(items: list[pytest.Item]) -> None:
    """Sort tests by directory, those with long tests first."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, start in enumerate(ORDER) if item.nodeid.startswith(start)), len(ORDER))
