"""Hooks around each test, registered when a fixture is first used: a suite that uses none has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

import pytest

from . import _environment
from ._policy import POLICY
from ._scopes import FAILED, SAVED, SCOPE, EmulatorScope, tell_unused

_NAME = "caged-watch"


class Watch:
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Fail a test that passed although a function of its stubs and replies raised an exception, or although
        controls that it added were never used."""
        outcome: Any = yield
        scope = _emulator_scope(item)
        if scope is None:
            return
        if outcome.excinfo is not None or getattr(item, "_excinfo", None):
            scope.checked = True
            return
        try:
            scope.raise_callback_errors(item.nodeid)
            if item.config.stash[POLICY].unused != "ignore":
                tell_unused(item.config, item.nodeid, scope.unused())
        except pytest.fail.Exception as failure:
            scope.checked = True
            outcome.force_exception(failure)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        outcome: Any = yield
        report: pytest.TestReport = outcome.get_result()
        scope = item.stash.get(SCOPE, None)
        if report.skipped and isinstance(scope, EmulatorScope):
            scope.checked = True  # also an xfail that failed
        if not report.failed:
            return
        item.stash[FAILED] = True
        if scope is not None:
            report.sections += scope.sections()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        scope = _emulator_scope(item)
        yield
        # A monkeypatch set up before the fixture undoes after it, and would put our values back.
        saved = item.stash.get(SAVED, None)
        if saved is not None:
            _environment.restore(saved)
        if scope is not None:
            scope.take_back()


def _emulator_scope(item: pytest.Item) -> Optional[EmulatorScope]:
    scope = item.stash.get(SCOPE, None)
    return scope if isinstance(scope, EmulatorScope) else None


def start_watching(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(Watch(), _NAME)
