"""Hooks around each test, registered when a fixture is first used: a suite that uses none has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from . import _environment

if TYPE_CHECKING:
    from caged.emulator import Emulator

SAVED = pytest.StashKey[_environment.Saved]()
EMULATOR: pytest.StashKey[Emulator] = pytest.StashKey()

_NAME = "caged-watch"
LOG_LINES = 20


class Watch:
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        outcome: Any = yield
        report: pytest.TestReport = outcome.get_result()
        if not report.failed:
            return
        emulator = item.stash.get(EMULATOR, None)
        if emulator is None and "caged_emulator" in getattr(item, "fixturenames", ()):
            emulator = item.config.stash.get(EMULATOR, None)
        if emulator is None:
            return
        try:
            lines = emulator.log_tail(LOG_LINES)
        except RuntimeError:  # the test stopped it
            return
        if lines:  # it has something to say when it is in trouble itself, and else nothing
            report.sections.append((f"caged emulator log, last {LOG_LINES} lines", "\n".join(lines)))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        """A monkeypatch set up before the fixture undoes after it, and would put our values back."""
        yield
        saved = item.stash.get(SAVED, None)
        if saved is not None:
            _environment.restore(saved)


def start_watching(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(Watch(), _NAME)
