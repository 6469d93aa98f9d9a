"""Hooks around each test, registered when a fixture is first used: a suite that uses none has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional

import pytest

from . import _environment
from ._policy import POLICY
from ._scopes import (
    FAILED,
    SAVED,
    SCOPE,
    EmulatorScope,
    callback_sections,
    every_account,
    raise_callback_errors,
    tell_unused,
)

if TYPE_CHECKING:
    from ._emulators import AnyEmulator

_NAME = "caged-watch"


class Watch:
    def __init__(self) -> None:
        #: The emulator of this run, once there is one.
        self.emulator: Optional[AnyEmulator] = None

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Fail a test that passed although a function of its stubs and replies raised an exception, or although
        controls that it added were never used."""
        outcome: Any = yield
        scope = _emulator_scope(item)
        if scope is None:
            self._check_functions(item, outcome)
            return
        if outcome.excinfo is not None or getattr(item, "_excinfo", None):
            scope.excused = True
            return
        try:
            scope.raise_callback_errors(item.nodeid)
            if item.config.stash[POLICY].unused != "ignore":
                tell_unused(item.config, item.nodeid, scope.unused())
        except pytest.fail.Exception as failure:
            scope.excused = True
            outcome.force_exception(failure)

    def _check_functions(self, item: pytest.Item, outcome: Any) -> None:
        """Fail a test that uses only fixtures of wider scope, when a function of those raised an exception."""
        if self.emulator is None or outcome.excinfo is not None or getattr(item, "_excinfo", None):
            return
        try:
            raise_callback_errors(every_account(self.emulator), item.nodeid)
        except pytest.fail.Exception as failure:
            outcome.force_exception(failure)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        outcome: Any = yield
        report: pytest.TestReport = outcome.get_result()
        scope = item.stash.get(SCOPE, None)
        if report.skipped and isinstance(scope, EmulatorScope):
            scope.excused = True  # also an xfail that failed
        if not report.failed:
            return
        item.stash[FAILED] = True
        if scope is not None:
            report.sections += scope.sections()
        elif self.emulator is not None:
            report.sections += callback_sections(every_account(self.emulator))

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


def start_watching(config: pytest.Config, emulator: Optional[AnyEmulator] = None) -> None:
    watch: Optional[Watch] = config.pluginmanager.get_plugin(_NAME)
    if watch is None:
        watch = Watch()
        config.pluginmanager.register(watch, _NAME)
    watch.emulator = emulator or watch.emulator
