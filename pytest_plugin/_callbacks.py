"""Exceptions of the test's own functions (of stubs, programs and agents' replies), as failures of the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from caged.emulator.control_client.base_emulator import BaseEmulator


class AllAccounts:
    """The exceptions of all functions on an emulator."""

    def __init__(self, emulator: BaseEmulator) -> None:
        self._emulator = emulator

    def raise_callback_errors(self) -> None:
        self._emulator.raise_callback_errors(account="*")

    def callback_errors(self) -> list[Any]:
        return self._emulator.callback_errors(account="*")

    def clear_callback_errors(self) -> None:
        self._emulator.clear_callback_errors(account="*")


def accounts_with_functions(emulator: BaseEmulator) -> list[Any]:
    """All accounts of an emulator in this process if a function was added there; it is a function of this process."""
    if not has_started(emulator):
        return []
    admin = emulator._admin
    is_possible = admin.is_local and admin.notes.shared.callbacks_possible
    return [AllAccounts(emulator)] if is_possible else []


def fail_on_callback_errors(accounts: Sequence[Any], who: str) -> None:
    """Fail with the tracebacks of functions that raised an exception, and clear them.

    Args:
        accounts: Objects that have `raise_callback_errors`.
        who: The test, for the failure's text.

    Raises:
        pytest.fail.Exception: There are some that were not allowed (`allow_errors=True`).
    """
    from caged.emulator import CallbackError, EmulatorError

    for controls in accounts:
        try:
            controls.raise_callback_errors()
        except CallbackError as error:
            failure = pytest.fail.Exception(f"{who}: {error}", pytrace=False)
            raise failure from error
        except EmulatorError:  # the test stopped it
            return


def callback_sections(accounts: Sequence[Any]) -> list[tuple[str, str]]:
    """Sections of a failed test's report with these tracebacks, which are cleared."""
    from caged.emulator import EmulatorError

    errors: list[str] = []
    try:
        for controls in accounts:
            errors += [str(one) for one in controls.callback_errors() if not one.allowed]
            controls.clear_callback_errors()
    except EmulatorError:  # the test stopped it
        pass
    return [("caged exceptions of the test's functions", "\n".join(errors))] if errors else []


def has_started(emulator: BaseEmulator) -> bool:
    """Whether the emulator was started, and not stopped by a test since."""
    from caged.emulator import EmulatorError

    try:
        return emulator._admin is not None
    except EmulatorError:
        return False
