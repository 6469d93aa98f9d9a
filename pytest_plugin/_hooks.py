"""Hooks around each test, registered when a fixture is first used, so that they cost other suites nothing."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional

import pytest

from . import _environment
from ._callbacks import accounts_with_functions, callback_sections, fail_on_callback_errors
from ._emulator_scope import EmulatorScope
from ._policy import POLICY
from ._scopes import FAILED, SAVED, SCOPE, report_unused
from ._shared_controls import SharedControls, describe_unused
from ._traces import Traces

if TYPE_CHECKING:
    from caged.emulator.control.records import SharedControl

    from ._emulator_source import AnyEmulator

_NAME = "caged-hooks"


class Hooks:
    """The plugin object with the hooks."""

    def __init__(self, config: pytest.Config) -> None:
        #: The emulator of this run, once it is started.
        self.emulator: Optional[AnyEmulator] = None
        #: The controls for all accounts on it.
        self.shared: Optional[SharedControls] = None
        self._report = config.stash[POLICY].report
        self.traces: Optional[Traces] = None
        if self._report != "none" or config.stash[POLICY].trace != "off":
            self.traces = Traces(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note which test begins."""
        if self.traces is not None:
            self.traces.starts(item)
        if self.shared is not None:
            self.shared.begin()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        """Attribute controls for all accounts to the fixture of wider scope that adds them, until its end."""
        shared = self.shared
        if shared is None or fixturedef.scope == "function":
            yield
            return
        added: list[SharedControl] = []
        # Added first, so that it is called after the teardown of the fixture itself.
        fixturedef.addfinalizer(functools.partial(self._end_fixture, fixturedef.argname, request.session, added))
        before = shared.new()
        yield
        added += shared.adopt(before)

    def _end_fixture(self, name: str, session: pytest.Session, added: list[SharedControl]) -> None:
        if not added or self.shared is None:
            return
        left = self.shared.remaining(added)
        self.shared.remove(left)
        if not session.testsfailed:
            report_unused(session.config, f"fixture {name}", describe_unused(left))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Fail a test that passed although a function of its stubs and replies raised an exception, or although
        controls that it added were never used."""
        outcome: Any = yield
        scope = _emulator_scope(item)
        if scope is None:
            self._check_without_scope(item, outcome)
            return
        if outcome.excinfo is not None or getattr(item, "_excinfo", None):
            scope.is_excused = True
            return
        try:
            scope.fail_on_callback_errors(item.nodeid)
            if item.config.stash[POLICY].unused != "ignore":
                report_unused(item.config, item.nodeid, scope.unused())
        except pytest.fail.Exception as failure:
            scope.is_excused = True
            outcome.force_exception(failure)

    def _check_without_scope(self, item: pytest.Item, outcome: Any) -> None:
        """Fail a test that uses only fixtures of wider scope, when a function of those raised an exception, or when it
        has added a control for all accounts that was never used."""
        if self.emulator is None or outcome.excinfo is not None or getattr(item, "_excinfo", None):
            return
        try:
            fail_on_callback_errors(accounts_with_functions(self.emulator), item.nodeid)
            if self.shared is not None:
                report_unused(item.config, item.nodeid, self.shared.unused())
        except pytest.fail.Exception as failure:
            outcome.force_exception(failure)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Add sections to the report of a failed test."""
        outcome: Any = yield
        report: pytest.TestReport = outcome.get_result()
        scope = item.stash.get(SCOPE, None)
        if report.skipped and isinstance(scope, EmulatorScope):
            scope.is_excused = True  # also an xfail that failed
        if report.when == "setup" or report.failed:
            item.stash[FAILED] = report.failed  # a test that is run again begins anew
        trace = self.traces.reported(item, report, call) if self.traces is not None else None
        if report.failed:
            if scope is not None:
                report.sections += scope.callback_sections()
            elif self.emulator is not None:
                report.sections += callback_sections(accounts_with_functions(self.emulator))
            if self._report != "none" and self.traces is not None:
                if trace is not None:  # it has found the secrets that are redacted
                    report.sections += self.traces.sections(item, trace, self._report)
                if scope is not None:
                    report.sections += scope.sections(self._report, self.traces.calls.redactor.redacted)
        if report.when == "teardown" and self.traces is not None:
            self.traces.finished(item)

    def pytest_keyboard_interrupt(self) -> None:
        """Write the trace of the test that was interrupted."""
        if self.traces is not None:
            self.traces.interrupted()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        """Restore the environment and remove controls that are not the account's, after all fixtures."""
        scope = _emulator_scope(item)
        yield
        # A monkeypatch that was set up before our fixture is undone after it, and would restore our values.
        saved = item.stash.get(SAVED, None)
        if saved is not None:
            _environment.restore(saved)
        if scope is not None:
            scope.remove_shared_controls()
        elif self.shared is not None:
            self.shared.remove(self.shared.new())


def _emulator_scope(item: pytest.Item) -> Optional[EmulatorScope]:
    scope = item.stash.get(SCOPE, None)
    return scope if isinstance(scope, EmulatorScope) else None


def register(request: pytest.FixtureRequest, emulator: Optional[AnyEmulator] = None) -> Hooks:
    """Register the hooks once, and the emulator when it is known."""
    config = request.config
    hooks: Optional[Hooks] = config.pluginmanager.get_plugin(_NAME)
    if hooks is None:
        hooks = Hooks(config)
        config.pluginmanager.register(hooks, _NAME)
        item = getattr(request, "_pyfuncitem", None)  # the test whose setup has begun already
        if item is not None:
            hooks.pytest_runtest_setup(item)
    if emulator is not None and emulator is not hooks.emulator:
        hooks.emulator = emulator
        hooks.shared = SharedControls(emulator)
        if hooks.traces is not None:
            hooks.traces.add_emulator(emulator)
    return hooks
