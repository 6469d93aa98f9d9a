"""`caged_factory`: accounts for fixtures of a wider scope than one test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Optional

import pytest

from ._policy import POLICY
from ._target import TARGET

if TYPE_CHECKING:
    from caged.emulator import CallbackError

    from ._accounts import EmulatorAccount
    from ._emulator_source import AnyEmulator


class CagedFactory:
    """The object of the fixture `caged_factory`: opens accounts for fixtures of a wider scope than one test."""

    def __init__(self, session: pytest.Session, emulator: Optional[AnyEmulator]) -> None:
        self._session = session
        self._emulator = emulator

    def account(
        self, name: Optional[str] = None, *, allow_unused: bool = False
    ) -> AbstractContextManager[EmulatorAccount]:
        """Open an account for a `with` block, with clients and controls of its own.

        On the emulator it is a new account, which no test's account sees, and which is deleted at the end. In a live
        run it is the account of the API key: what this process creates in it while no test is running, or through the
        clients of this object, is destroyed at the end; its controls skip.

        Args:
            name: The name of the account, and what a failure calls it. None: the name of the calling function.
            allow_unused: Do not report faults, stubs and agents' replies that were never used.

        Raises:
            pytest.fail.Exception: At the end of the block, for controls that were never used (see `--caged-unused`), or
                for something that could not be destroyed.
        """
        caller = sys._getframe(1).f_code
        name = name or caller.co_name
        try:
            place = os.path.relpath(caller.co_filename, self._session.config.rootpath)
        except ValueError:  # another drive
            place = caller.co_filename
        who = f"caged_factory.account({name!r}) of {caller.co_name} in {place}"
        if self._emulator is None:
            return self._live(who)
        return self._on_emulator(name, who, allow_unused)

    @contextmanager
    def _on_emulator(self, name: str, who: str, allow_unused: bool) -> Iterator[EmulatorAccount]:
        from caged.emulator import EmulatorError

        from ._accounts import create_account, remove_account
        from ._scopes import report_unused
        from ._traces import traces_of

        config, emulator = self._session.config, self._emulator
        assert emulator is not None
        failed = self._session.testsfailed
        account = create_account(emulator, config, name)
        emulator._admin.notes.shared.created_accounts.pop(account.id, None)  # this block deletes it
        traces = traces_of(config)
        if traces is not None:
            traces.add_account(account, name)
        unused: list[str] = []
        raised: Optional[CallbackError] = None
        try:
            yield account
            raised = _callback_error(account)
            # A test that failed did not come to its end, so unused controls are not reported.
            if not allow_unused and config.stash[POLICY].unused != "ignore" and failed == self._session.testsfailed:
                unused = _unused(account)
        finally:
            account.close_clients()
            try:
                account.remove_shared_controls()
                remove_account(account)
            except EmulatorError:
                pass  # the emulator was stopped, with everything in it
        if raised is not None:
            pytest.fail(f"{who}: {raised}", pytrace=False)
        report_unused(config, who, unused)

    @contextmanager
    def _live(self, who: str) -> Iterator[Any]:
        from ._accounts import LiveAccount
        from ._live_scope import destroy, fail_on_remains, new_creations
        from ._request_recorder import recording

        config = self._session.config
        creations = new_creations(config, of_test=False)
        target = config.stash[TARGET]
        account = LiveAccount(target.base_url, target.api_key or "", creations)
        problems: list[str] = []
        try:
            with recording(creations):
                yield account
        finally:
            account.close_clients()
            problems = destroy(config, creations)
        fail_on_remains(config, [f"{problem} ({who})" for problem in problems])


def _callback_error(account: EmulatorAccount) -> Optional[CallbackError]:
    from caged.emulator import CallbackError, EmulatorError

    try:
        if account._admin.notes.shared.callbacks_possible:
            account.raise_callback_errors()
    except CallbackError as error:
        return error
    except EmulatorError:  # a test stopped the emulator
        pass
    return None


def _unused(account: EmulatorAccount) -> list[str]:
    from caged.emulator import EmulatorError

    try:
        return account.unused()
    except EmulatorError:  # a test stopped the emulator
        return []
