"""What one test works with: on the emulator an account of its own, in live runs the account of the key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Union

import pytest

from . import _environment, _kept, _report, _summary
from ._policy import POLICY
from ._target import TARGET

if TYPE_CHECKING:
    from caged.emulator.control_client.base_emulator import BaseEmulator

    from ._accounts import EmulatorAccount
    from ._creations import Creations
    from ._emulators import AnyEmulator

#: How long sockets that a test has just closed may take to be closed on the emulator's side, in seconds.
CLOSING = 1.0

FAILED = pytest.StashKey[bool]()
SAVED = pytest.StashKey[_environment.Saved]()


class EmulatorScope:
    def __init__(self, account: EmulatorAccount) -> None:
        self.account = account
        self.base_url = account.base_url
        self.api_key = account.api_key
        #: Whether unused controls have been looked for.
        self.checked = False
        #: Whether the test did not come to its end: what it did not use is no news.
        self.excused = False
        #: Whether the controls of the emulator as a whole were untouched when the test began.
        self._whole = not _touched(account.emulator)
        account.emulator._link.usage.consulted.clear()
        #: Accounts that there were when the test began.
        self._earlier = set(account.emulator._link.usage.created_accounts)
        #: Sandboxes that a fixture made, and the test need not destroy.
        self.fixtures: set[str] = set()
        #: Done when the test and all its other fixtures are over: clients are closed only when what their users left
        #: open has been seen.
        self.closing = ExitStack()

    def claim(self, client: Any) -> None:
        """In live runs: what the client creates belongs to this scope."""

    def unused(self) -> list[str]:
        """The controls that the test did not use: those of its account, and those of the emulator as a whole if it has
        touched them. Empty when the emulator is gone."""
        from caged.emulator import EmulatorError

        self.checked = True
        self.account._link.usage.changed = False
        try:
            found = self.account.unused() + self._unused_elsewhere()
            if self._whole and _touched(self.account.emulator):
                elsewhere = self.account.emulator.unused()
                found += [f"added by caged_emulator.emulator, not in the test's account: {text}" for text in elsewhere]
            return found
        except EmulatorError:  # the test stopped it
            return []

    def _unused_elsewhere(self) -> list[str]:
        """Of accounts that the test created, and of the emulator's first account, in which no test works."""
        from caged.emulator import EmulatorError

        emulator = self.account.emulator
        found: list[str] = []
        for id in [one for one in emulator._link.usage.created_accounts if one not in self._earlier]:
            try:
                texts = emulator.for_account(id).unused()
            except EmulatorError:  # it was deleted
                continue
            found += [f"in account {id}, which the test created: {text}" for text in texts]
        consulted = [name for name in ("clock", "journal") if name in emulator._link.usage.consulted]
        if consulted and not len(emulator.journal):
            found += [
                f"caged_emulator.emulator.{name} is that of the emulator's first account, in which there was no"
                f" request; use caged_emulator.{name}"
                for name in consulted
            ]
        return found

    def has_news(self) -> bool:
        """Whether the test has added something since `unused` was called."""
        return self.account._link.usage.changed

    def raise_callback_errors(self, who: str) -> None:
        """Fail with the tracebacks of the test's own functions that raised an exception, and forget them.

        Raises:
            pytest.fail.Exception: there are some that were not allowed (`allow_errors=True`).
        """
        raise_callback_errors(self._with_functions(), who)

    def callback_sections(self) -> list[tuple[str, str]]:
        """The same for the report of a test that failed for another reason; they are forgotten, too."""
        return callback_sections(self._with_functions())

    def _with_functions(self) -> list[Any]:
        """The account, and the whole emulator if the test used its controls; nothing without stubs and replies. Of an
        emulator in this process all accounts: functions of any are functions of this test or its fixtures."""
        emulator = self.account.emulator
        if not _has_started(emulator) or not emulator._link.usage.callbacks_possible:
            return []
        if emulator._link.is_local:
            return every_account(emulator)
        return [self.account, emulator] if self._whole and _touched(emulator) else [self.account]

    def take_back(self) -> None:
        """Remove the controls that do not go with the account."""
        from caged.emulator import EmulatorError

        emulator = self.account.emulator
        try:
            self.account.take_back()
            if self._whole and _touched(emulator):
                emulator.take_back()
                if emulator._link.usage.changed:
                    emulator.reset_controls()
                    emulator.clear_callback_errors()
                    emulator._link.usage.changed = False
        except EmulatorError:
            pass

    def sections(self) -> list[tuple[str, str]]:
        return self.callback_sections() + _report.of_account(self.account)

    def left_open(self) -> list[str]:
        held = self.account.inventory
        found = [f"sandbox {one.id} ({one.status})" for one in held.sandboxes() if one.id not in self.fixtures]
        found += [f"snapshot {one.id} of {one.sandbox}" for one in held.snapshots() if not one.automatic]
        return found + [f"{one.kind} socket into {one.sandbox}" for one in held.sockets(wait=CLOSING)]


class _EveryAccount:
    """The exceptions of all functions on an emulator."""

    def __init__(self, emulator: BaseEmulator) -> None:
        self._emulator = emulator

    def raise_callback_errors(self) -> None:
        self._emulator.raise_callback_errors(account="*")

    def callback_errors(self) -> list[Any]:
        return self._emulator.callback_errors(account="*")

    def clear_callback_errors(self) -> None:
        self._emulator.clear_callback_errors(account="*")


def every_account(emulator: BaseEmulator) -> list[Any]:
    """All accounts of an emulator in this process if a function was added there, which is then one of this process."""
    link = emulator._link if _has_started(emulator) else None
    return [_EveryAccount(emulator)] if link is not None and link.is_local and link.usage.callbacks_possible else []


def raise_callback_errors(accounts: Sequence[Any], who: str) -> None:
    """Fail with the tracebacks of functions that raised an exception, and forget them.

    Raises:
        pytest.fail.Exception: there are some that were not allowed.
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
    """A section of a report with these tracebacks; they are forgotten."""
    from caged.emulator import EmulatorError

    errors: list[str] = []
    try:
        for controls in accounts:
            errors += [str(one) for one in controls.callback_errors() if not one.allowed]
            controls.clear_callback_errors()
    except EmulatorError:  # the test stopped it
        pass
    return [("caged exceptions of the test's functions", "\n".join(errors))] if errors else []


def _has_started(emulator: BaseEmulator) -> bool:
    """False once a test has stopped it."""
    from caged.emulator import EmulatorError

    try:
        return emulator._link is not None
    except EmulatorError:
        return False


def _is_running(emulator: AnyEmulator) -> bool:
    """False once a test has stopped it; its accounts are gone with it."""
    from caged.emulator import EmulatorError

    try:
        emulator.accounts()
    except EmulatorError:
        return False
    return True


def _touched(emulator: Any) -> bool:
    """Were controls added through the emulator itself, not through an account's view?"""
    usage = emulator._link.usage
    return bool(usage.changed or usage.added_for_all_accounts)


class LiveScope:
    def __init__(self, base_url: str, api_key: str, creations: Creations) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self.creations = creations
        self.fixtures: set[str] = set()
        self.closing = ExitStack()

    def claim(self, client: Any) -> None:
        """What the client creates belongs to this scope."""
        self.creations.clients.add(client._session._http)

    def sections(self) -> list[tuple[str, str]]:
        return _report.of_live_run(self.base_url, self.api_key, self.creations)

    def left_open(self) -> list[str]:
        """After everything was destroyed: what that found."""
        ignored = self.creations.automatic | self.fixtures
        return [f"{kind} {id}" for kind, id in self.creations.destroyed if kind != "key" and id not in ignored]


Scope = Union[EmulatorScope, LiveScope]
SCOPE: pytest.StashKey[Scope] = pytest.StashKey()


@contextmanager
def on_emulator(item: pytest.Item, emulator: AnyEmulator) -> Iterator[EmulatorScope]:
    from caged.emulator import EmulatorError

    from ._accounts import EmulatorAccount

    scope = EmulatorScope(EmulatorAccount(emulator, emulator.create_account(name=item.name)))
    account = scope.account
    leaks: list[str] = []
    unused: list[str] = []
    try:
        with _active(item, scope):
            yield scope
            if not item.stash.get(FAILED, False):
                scope.raise_callback_errors(item.nodeid)
            # Also what a fixture adds in its teardown.
            wanted = not scope.excused and (scope.has_news() or not scope.checked)
            if wanted and not item.stash.get(FAILED, False) and item.config.stash[POLICY].unused != "ignore":
                unused = scope.unused()
            if _wanted(item):
                leaks = scope.left_open()
    finally:
        try:
            scope.closing.close()
            account.close_clients()
            if _keeps(item):
                _kept.keep(item, account)
        finally:
            try:
                emulator.delete_account(account.id)
            except EmulatorError:
                if _is_running(emulator):
                    raise
    tell_unused(item.config, item.nodeid, unused)
    _tell(item, leaks)


@contextmanager
def live(item: pytest.Item) -> Iterator[LiveScope]:
    from ._live import watching

    creations = new_creations(item.config)
    target = item.config.stash[TARGET]
    scope = LiveScope(target.base_url, target.api_key or "", creations)
    problems: list[str] = []
    try:
        with watching(creations), _active(item, scope):
            yield scope
    finally:
        scope.closing.close()
        if _keeps(item) and creations.sandboxes:
            _kept.leave(item, creations.sandboxes)
        else:
            problems = destroy(item.config, creations)
    still_there(item.config, problems)
    _tell(item, scope.left_open() if _wanted(item) else [])


def new_creations(config: pytest.Config, of_test: bool = True) -> Creations:
    """For a scope of a live run. pytest.UsageError without an API key."""
    target = config.stash[TARGET]
    if target.api_key is None:
        raise pytest.UsageError(
            "--caged-target=live needs an API key: pass --caged-api-key=KEY or set CAGED_API_KEY, "
            "or run against the emulator with --caged-target=emulator"
        )
    from ._creations import Creations
    from ._ledgers import ledger

    return Creations(target.base_url, target.api_key, target.run, ledger(config, target.api_key), of_test)


def destroy(config: pytest.Config, creations: Creations) -> list[str]:
    """Destroy what a scope of a live run has created. One line for each thing that is still there."""
    from caged import Caged

    target = config.stash[TARGET]
    with Caged(api_key=target.api_key, base_url=target.base_url) as client:
        problems = creations.destroy(client)
    if creations.ledger_failure:
        why = f"the ledger could not be written, `caged-emulator sweep` may miss something: {creations.ledger_failure}"
        _summary.say(config, _summary.NOTES, "live run", [why])
    return problems


def still_there(config: pytest.Config, problems: list[str]) -> None:
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        url = config.stash[TARGET].base_url
        pytest.fail(f"created on {url} and still there, destroy it by hand:{listed}", pytrace=False)


def tell_unused(config: pytest.Config, who: str, unused: list[str]) -> None:
    """Fail, or list at the end of the run, as `--caged-unused` says."""
    if not unused or config.stash[POLICY].unused == "ignore":
        return
    if config.stash[POLICY].unused == "warn":
        _summary.say(config, _summary.UNUSED, who, unused)
        return
    text = "\n".join(unused)
    pytest.fail(f"{who}: {text}", pytrace=False)


@contextmanager
def _active(item: pytest.Item, scope: Scope) -> Iterator[None]:
    """A bare `Caged()` lands where the scope is, and the hooks around the test know of it."""
    saved = _environment.point_at(scope.base_url, scope.api_key)
    item.stash[SAVED] = saved
    item.stash[SCOPE] = scope
    try:
        yield
    finally:
        del item.stash[SCOPE]
        _environment.restore(saved)


def _wanted(item: pytest.Item) -> bool:
    """A failed test did not come to its end, and what it left is no news."""
    return item.config.stash[POLICY].leaks != "ignore" and not item.stash.get(FAILED, False)


def _keeps(item: pytest.Item) -> bool:
    return item.config.stash[POLICY].keep_failed and item.stash.get(FAILED, False)


def _tell(item: pytest.Item, leaks: list[str]) -> None:
    if not leaks:
        return
    if item.config.stash[POLICY].leaks == "warn":
        _summary.say(item.config, _summary.LEAKS, item.nodeid, leaks)
        return
    listed = "".join(f"\n  {leak}" for leak in leaks)
    pytest.fail(f"{item.nodeid} left open:{listed}", pytrace=False)
