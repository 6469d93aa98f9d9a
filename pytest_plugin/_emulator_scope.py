"""What one test works with on the emulator: an account of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Callable, Optional

import pytest

from . import _kept_sandboxes, _report
from ._callbacks import accounts_with_functions, callback_sections, fail_on_callback_errors, has_started
from ._policy import POLICY
from ._scopes import TraceFacts, active, has_failed, keeps_sandboxes, report_leaks, report_unused, reports_leaks
from ._shared_controls import describe_without_owner

if TYPE_CHECKING:
    from caged.emulator.control.records import SharedControl
    from caged.emulator.trace.file import UnusedControl

    from ._accounts import EmulatorAccount
    from ._emulator_source import AnyEmulator
    from ._shared_connections import SharedConnections
    from ._shared_controls import SharedControls

#: Seconds that the emulator may take to notice that sockets were closed by a test that has just ended.
SOCKETS_CLOSE_SECONDS = 1.0


class EmulatorScope:
    """The account of a test, and what the test did with the emulator as a whole."""

    def __init__(self, account: EmulatorAccount, shared: SharedControls) -> None:
        self.account = account
        self._shared = shared
        #: Ids of the controls for all accounts that `unused` has considered.
        self._claimed: set[str] = set()
        self.base_url = account.base_url
        self.api_key = account.api_key
        #: Whether unused controls have been looked for.
        self.is_checked = False
        #: Whether the test did not come to its end, so that unused controls are not reported.
        self.is_excused = False
        #: Whether the controls of the emulator as a whole were untouched when the test began.
        self._was_untouched = not _is_touched(account.emulator)
        for _owner, names in self._calls_without_account():
            names.clear()
        #: Accounts that existed when the test began.
        self._earlier = set(account.emulator._admin.notes.shared.created_accounts)
        self.fixtures: set[str] = set()
        self.closing = ExitStack()

    def connections(self, config: pytest.Config) -> Optional[SharedConnections]:
        """Return the connections of the run; None for an emulator on another machine or over https."""
        from ._shared_connections import shared_connections

        return shared_connections(config, self.base_url)

    def claim(self, client: object) -> None:
        """Do nothing: everything in the account belongs to the test."""

    def unused(self) -> list[str]:
        """List the controls that the test did not use: those of its account, those for all accounts, and those of the
        emulator as a whole if the test has touched them; and what it has used of the emulator's first account. Empty
        when the emulator was stopped."""
        from caged.emulator import EmulatorError

        self.is_checked = True
        self.account._admin.notes.changed = False
        try:
            with self.account.emulator._admin.notes.paused():
                return self._unused(self._claim())
        except EmulatorError:  # the test stopped it
            return []

    def _unused(self, shared: list[SharedControl]) -> list[str]:
        found = self.account.unused() + self._unused_elsewhere()
        if self._touched_emulator():
            elsewhere = self.account.emulator.unused()
            found += [f"added by caged_emulator.emulator, not in the test's account: {text}" for text in elsewhere]
        return found + describe_without_owner(self._shared.without_owner(shared)) + self._of_first_account()

    def _claim(self) -> list[SharedControl]:
        """Let the controls for all accounts that the test has added, by whatever way, be those of its account, and
        return them."""
        for notes in (self.account.emulator._admin.notes, self.account._admin.notes):
            notes.added_for_all_accounts.clear()
        new = self._shared.new()
        self.account._admin.notes.added_for_all_accounts.update((one.path, None) for one in new)
        self._claimed = {one.id for one in new}
        return new

    def _of_first_account(self) -> list[str]:
        """Texts about the use of the emulator's first account, which belongs to no test."""
        found = []
        for owner, names in self._calls_without_account():
            found += [
                f"{owner}.{name} is that of the emulator's first account, which no test uses; use"
                f" caged_emulator.{name}, or another account: `with caged_emulator.emulator.account() as other:`"
                for name in names
            ]
            names.clear()
        return found

    def _calls_without_account(self) -> list[tuple[str, dict[str, None]]]:
        """Through what objects the test used controls and queries of the emulator's first account, and which."""
        from caged.emulator.control_client.remote import calls_without_account

        return [
            ("caged_emulator.emulator", self.account.emulator._admin.notes.calls_without_account),
            ("RemoteEmulator(...)", calls_without_account(self.base_url)),
        ]

    def _unused_elsewhere(self) -> list[str]:
        """The same for accounts that the test created."""
        from caged.emulator import EmulatorError

        emulator = self.account.emulator
        found: list[str] = []
        for id in [one for one in emulator._admin.notes.shared.created_accounts if one not in self._earlier]:
            try:
                view = emulator.for_account(id)
                view._admin.notes.added_for_all_accounts.clear()  # they are among the test's own
                texts = view.unused()
            except EmulatorError:  # it was deleted
                continue
            found += [f"in account {id}, which the test created: {text}" for text in texts]
        return found

    def has_new_controls(self) -> bool:
        """Whether the test has added something, or used the first account, since `unused` was called."""
        if self.account._admin.notes.changed or any(names for _owner, names in self._calls_without_account()):
            return True
        return any(one.id not in self._claimed for one in self._shared.new())

    def fail_on_callback_errors(self, who: str) -> None:
        """Fail with the tracebacks of the test's own functions that raised an exception, and clear them.

        Raises:
            pytest.fail.Exception: There are some that were not allowed (`allow_errors=True`).
        """
        fail_on_callback_errors(self._with_functions(), who)

    def _with_functions(self) -> list[Any]:
        """The account, and the whole emulator if the test used its controls; nothing without stubs and replies. Of an
        emulator in this process all accounts: functions of any are functions of this test or its fixtures."""
        emulator = self.account.emulator
        if not has_started(emulator) or not emulator._admin.notes.shared.callbacks_possible:
            return []
        if emulator._admin.is_local:
            return accounts_with_functions(emulator)
        return [self.account, emulator] if self._touched_emulator() else [self.account]

    def _touched_emulator(self) -> bool:
        """Whether this test has added controls through the emulator itself."""
        return self._was_untouched and _is_touched(self.account.emulator)

    def remove_shared_controls(self) -> None:
        """Remove the controls that are not deleted with the account."""
        from caged.emulator import EmulatorError

        emulator = self.account.emulator
        try:
            self._shared.remove(self._shared.new())
            if self._touched_emulator():
                with emulator._admin.notes.paused():
                    emulator.reset_controls()
                    emulator.clear_callback_errors()
                emulator._admin.notes.changed = False
        except EmulatorError:
            pass

    def facts(self, log_lines: int) -> TraceFacts:
        """What the trace of a failed test says of it; without details when the emulator was stopped."""
        from caged.emulator import EmulatorError

        found = TraceFacts("emulator")
        try:
            found.isolation = self.account.emulator.isolation
            found.log = self.account.log_tail(log_lines)
            found.unused = self._describe_unused()
        except EmulatorError:  # the test stopped it
            pass
        return found

    def _describe_unused(self) -> list[UnusedControl]:
        """The controls of `unused`, each with the line that added it and with what came nearest to it."""
        emulator = self.account.emulator
        with emulator._admin.notes.paused():
            self._claim()
            return self._described_unused()

    def _described_unused(self) -> list[UnusedControl]:
        from caged.emulator import EmulatorError

        emulator = self.account.emulator
        found = self.account.describe_unused()
        for id in [one for one in emulator._admin.notes.shared.created_accounts if one not in self._earlier]:
            try:
                found += emulator.for_account(id).describe_unused() if id != self.account.id else []
            except EmulatorError:  # it was deleted
                continue
        return found + (emulator.describe_unused() if self._touched_emulator() else [])

    def callback_sections(self) -> list[tuple[str, str]]:
        """Sections of the report of a failed test: exceptions of its functions."""
        return callback_sections(self._with_functions())

    def sections(self, style: str, redacted: Callable[[str], str]) -> list[tuple[str, str]]:
        """Sections of the report of a failed test besides its timeline.

        Args:
            style: `short` or `full`.
            redacted: Redacts a text.
        """
        return _report.of_account(self.account, style == "full", redacted)

    def left_open(self) -> list[str]:
        """The sandboxes, snapshots and sockets that the test left open, one line each."""
        held = self.account.inventory
        found = [f"sandbox {one.id} ({one.status})" for one in held.sandboxes() if one.id not in self.fixtures]
        found += [f"snapshot {one.id} of {one.sandbox}" for one in held.snapshots() if not one.automatic]
        sockets = held.sockets(wait=SOCKETS_CLOSE_SECONDS)
        return found + [f"{one.kind} socket into {one.sandbox}" for one in sockets]


@contextmanager
def on_emulator(item: pytest.Item, emulator: AnyEmulator, shared: SharedControls) -> Iterator[EmulatorScope]:
    """Create the account of a test, and delete it with everything in it at the end."""
    from ._accounts import create_account
    from ._traces import traces_of

    scope = EmulatorScope(create_account(emulator, item.config, item.name), shared)
    traces = traces_of(item.config)
    if traces is not None:
        traces.add_account(scope.account, item.name)
    leaks: list[str] = []
    unused: list[str] = []
    try:
        with active(item, scope):
            yield scope
            unused = _failures_of_teardown(item, scope)
            if reports_leaks(item):
                leaks = scope.left_open()
    finally:
        _close(item, scope)
    report_unused(item.config, item.nodeid, unused)
    report_leaks(item, leaks)


def _failures_of_teardown(item: pytest.Item, scope: EmulatorScope) -> list[str]:
    """Controls that fixtures added in their teardown and that were not used. Raises for exceptions of functions."""
    if has_failed(item):
        return []
    scope.fail_on_callback_errors(item.nodeid)
    is_due = not scope.is_excused and (scope.has_new_controls() or not scope.is_checked)
    return scope.unused() if is_due and item.config.stash[POLICY].unused != "ignore" else []


def _close(item: pytest.Item, scope: EmulatorScope) -> None:
    from caged.emulator import EmulatorError

    from ._accounts import remove_account

    account = scope.account
    try:
        scope.closing.close()
        account.close_clients()
        scope.remove_shared_controls()
        if keeps_sandboxes(item):
            _kept_sandboxes.keep(item, account)
    finally:
        try:
            remove_account(account)
        except EmulatorError:
            if _is_running(account.emulator):
                raise


def _is_running(emulator: Any) -> bool:
    """Whether the emulator answers. A test may have stopped it; its accounts are gone with it."""
    from caged.emulator import EmulatorError

    try:
        emulator.accounts()
    except EmulatorError:
        return False
    return True


def _is_touched(emulator: Any) -> bool:
    """Whether controls were added through the emulator itself, not through an account's view."""
    return bool(emulator._admin.notes.changed)
