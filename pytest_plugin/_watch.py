"""Hooks around each test, registered when a fixture is first used: a suite that uses none has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional

import pytest

from . import _environment, _report, _summary
from ._policy import POLICY
from ._scopes import FAILED, SAVED, SCOPE, EmulatorScope

if TYPE_CHECKING:
    from ._emulators import AnyEmulator

#: Of the session.
EMULATOR: pytest.StashKey[AnyEmulator] = pytest.StashKey()

_NAME = "caged-watch"


class Watch:
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """What a test asked for and did not use fails it, and so does an exception of its own functions, when nothing
        else did."""
        outcome: Any = yield
        if outcome.excinfo is not None or getattr(item, "_excinfo", None):
            return
        policy = item.config.stash[POLICY].unused
        emulator = _emulator_of(item)
        if emulator is None:
            return
        failure = _callback_failure(item, emulator)
        if failure is not None:
            outcome.force_exception(failure)
            return
        if policy == "ignore":
            return
        unused = _unused(emulator)
        if unused and policy == "warn":
            _summary.say(item.config, _summary.UNUSED, item.nodeid, unused)
        elif unused:
            text = "\n".join(unused)
            outcome.force_exception(pytest.fail.Exception(f"{item.nodeid}: {text}", pytrace=False))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        outcome: Any = yield
        report: pytest.TestReport = outcome.get_result()
        if not report.failed:
            return
        with_callbacks = _emulator_of(item)
        if with_callbacks is not None:
            report.sections += _callback_sections(with_callbacks)
        item.stash[FAILED] = True
        scope = item.stash.get(SCOPE, None)
        if scope is not None:
            report.sections += scope.sections()
            return
        emulator = _emulator_of(item)
        if emulator is not None:
            report.sections += _report.of_emulator(emulator)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        emulator = _emulator_of(item)
        alone = SCOPE not in item.stash
        yield
        # A monkeypatch set up before the fixture undoes after it, and would put our values back.
        saved = item.stash.get(SAVED, None)
        if saved is not None:
            _environment.restore(saved)
        if emulator is not None:
            _clear(emulator, alone)


def _emulator_of(item: pytest.Item) -> Optional[AnyEmulator]:
    """The one that the test was given, if it was given one."""
    scope = item.stash.get(SCOPE, None)
    if scope is not None:
        return scope.emulator if isinstance(scope, EmulatorScope) else None
    names = getattr(item, "fixturenames", ())
    asked = getattr(getattr(item, "_request", None), "_fixture_defs", ())  # by getfixturevalue, too
    if "caged_emulator" in names or "caged_emulator" in asked:
        return item.config.stash.get(EMULATOR, None)
    return None


def _callback_failure(item: pytest.Item, emulator: AnyEmulator) -> Optional[BaseException]:
    """The exceptions of the test's own functions, as one that fails the test; they are forgotten by that."""
    from caged.emulator import EmulatorError
    from caged.emulator.double.callbacks import CallbackError

    try:
        emulator.raise_callback_errors()
    except CallbackError as error:
        failure = pytest.fail.Exception(f"{item.nodeid}: {error}", pytrace=False)
        failure.__cause__ = error
        return failure
    except EmulatorError:  # the test stopped it
        pass
    return None


def _callback_sections(emulator: AnyEmulator) -> list[tuple[str, str]]:
    """Those of a test that failed by itself; they are forgotten by that."""
    from caged.emulator import EmulatorError

    try:
        errors = [str(one) for one in emulator.callback_errors() if not one.allowed]
        if errors:
            emulator.clear_callback_errors()
    except EmulatorError:  # the test stopped it
        errors = []
    return [("caged exceptions of the test's functions", "\n".join(errors))] if errors else []


def _unused(emulator: AnyEmulator) -> list[str]:
    from caged.emulator import EmulatorError

    try:
        return emulator.unused()
    except EmulatorError:  # the test stopped it
        return []


def _clear(emulator: AnyEmulator, alone: bool) -> None:
    """What the test asked for is gone with its account. Without one of its own it used the first, which stays."""
    from caged.emulator import EmulatorError

    try:
        emulator.take_back()
        if alone:
            emulator.forget()
    except EmulatorError:
        pass


def start_watching(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(Watch(), _NAME)
