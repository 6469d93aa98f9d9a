"""A hint for pytest's ScopeMismatch error when a fixture of this plugin is used in a wider scope."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

_FUNCTION_SCOPED = ("caged_emulator", "caged_sandbox", "async_caged", "_caged_scope", "caged")
_NAME = "caged-scope-mismatch"
_HINT = (
    "{name} has function scope. A fixture of class, module or session scope uses caged_factory instead:\n"
    "    with caged_factory.account() as account:\n"
    "        client = account.client()"
)


def register(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Add the hook, if a test uses one of the fixtures."""
    wanted = set(_FUNCTION_SCOPED)
    if config.pluginmanager.has_plugin(_NAME):
        return
    if any(not wanted.isdisjoint(getattr(item, "fixturenames", ())) for item in items):
        config.pluginmanager.register(_Hooks(), _NAME)


class _Hooks:
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        outcome: Any = yield
        if call.excinfo is None or call.when != "setup":
            return
        text = str(call.excinfo.value)
        if not text.startswith("ScopeMismatch"):
            return
        name = next((name for name in _FUNCTION_SCOPED if f"fixture {name} " in text), None)
        if name is not None:
            report: pytest.TestReport = outcome.get_result()
            report.longrepr = f"{report.longrepr}\n{_HINT.format(name=name)}"
