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
        """What a test asked for and did not use fails it, when nothing else did."""
        outcome: Any = yield
        if outcome.excinfo is not None or getattr(item, "_excinfo", None):
            return
        policy = item.config.stash[POLICY].unused
        emulator = _emulator_of(item)
        if emulator is None or policy == "ignore":
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
