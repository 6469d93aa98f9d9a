"""What one test works with: on the emulator an account of its own, in live runs the account of the key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Union

import pytest

from . import _environment, _kept, _report, _summary
from ._policy import POLICY
from ._target import TARGET

if TYPE_CHECKING:
    from caged.emulator import Account

    from ._creations import Creations
    from ._emulators import AnyEmulator

#: How long sockets that a test has just closed may take to be closed on the emulator's side, in seconds.
CLOSING = 1.0

FAILED = pytest.StashKey[bool]()
SAVED = pytest.StashKey[_environment.Saved]()


class EmulatorScope:
    def __init__(self, emulator: AnyEmulator, account: Account) -> None:
        self.emulator = emulator
        self.account = account
        self.base_url = emulator.base_url
        self.api_key = account.api_key
        #: Sandboxes that a fixture made, and the test need not destroy.
        self.fixtures: set[str] = set()
        #: Done when the test and all its other fixtures are over: clients are closed only when what their users left
        #: open has been seen.
        self.closing = ExitStack()

    def sections(self) -> list[tuple[str, str]]:
        return _report.of_emulator(self.emulator)

    def left_open(self) -> list[str]:
        held = self.emulator.inventory
        found = [f"sandbox {one.id} ({one.status})" for one in held.sandboxes() if one.id not in self.fixtures]
        found += [f"snapshot {one.id} of {one.sandbox}" for one in held.snapshots() if not one.automatic]
        return found + [f"{one.kind} socket into {one.sandbox}" for one in held.sockets(wait=CLOSING)]


class LiveScope:
    def __init__(self, base_url: str, api_key: str, creations: Creations) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self.creations = creations
        self.fixtures: set[str] = set()
        self.closing = ExitStack()

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
    account = emulator.create_account(name=item.name)
    scope = EmulatorScope(emulator, account)
    leaks: list[str] = []
    try:
        with emulator.acting_for(account.id), _active(item, scope):
            yield scope
            if _wanted(item):
                leaks = scope.left_open()
    finally:
        try:
            scope.closing.close()
            if _keeps(item):
                _kept.keep(item, emulator, account.id)
        finally:
            emulator.delete_account(account.id)
    _tell(item, leaks)


@contextmanager
def live(item: pytest.Item) -> Iterator[LiveScope]:
    target = item.config.stash[TARGET]
    if target.api_key is None:
        raise pytest.UsageError(
            "--caged-target=live needs an API key: pass --caged-api-key=KEY or set CAGED_API_KEY, "
            "or run against the emulator with --caged-target=emulator"
        )
    from caged import Caged

    from ._creations import Creations
    from ._ledgers import ledger
    from ._live import watching

    creations = Creations(target.base_url, target.api_key, target.run, ledger(item.config, target.api_key))
    scope = LiveScope(target.base_url, target.api_key, creations)
    problems: list[str] = []
    try:
        with watching(creations), _active(item, scope):
            yield scope
    finally:
        scope.closing.close()
        if _keeps(item) and creations.sandboxes:
            _kept.leave(item, creations.sandboxes)
        else:
            with Caged(api_key=target.api_key, base_url=target.base_url) as client:
                problems = creations.destroy(client)
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        pytest.fail(f"created on {target.base_url} and still there, destroy it by hand:{listed}", pytrace=False)
    _tell(item, scope.left_open() if _wanted(item) else [])


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
