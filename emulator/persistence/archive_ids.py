"""Other ids for the records of an archive that exist in the emulator already.

They do when the archive was imported before, or was exported from this emulator or from one with the same seed. An
account that exists stays as it is, with its keys, logins, settings and events of its own, and gets the archive's
sandboxes, snapshots, sessions, alerts and notifications; those whose id exists get another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..control.randomness import Randomness
from ..history import History
from ..store import Store
from .loader import LoadedState

#: Kinds of records that get other ids, as the collections of a `Store`.
_KINDS = ("sandboxes", "sessions", "snapshots", "alerts", "notifications")


def take_out_accounts(state: LoadedState, here: Store) -> list[str]:
    """Remove the accounts that exist from what was read, with their keys, logins and causes of alerts.

    Args:
        state: What was read from the archive.
        here: The records of the emulator.

    Returns:
        Their ids.
    """
    store = state.store
    known = [identifier for identifier in store.accounts if identifier in here.accounts]
    for identifier in known:
        del store.accounts[identifier]
        state.alert_causes.pop(identifier, None)
    store.keys = {secret: key for secret, key in store.keys.items() if key.account_id not in known}
    store.logins = {token: login for token, login in store.logins.items() if login.key.account_id not in known}
    return known


def choose_other_ids(imported: Store, here: Store, randomness: Randomness) -> dict[str, str]:
    """Choose an id for each record whose id exists.

    Args:
        imported: The records of the archive.
        here: The records of the emulator.
        randomness: Where ids come from.

    Returns:
        The new ids by the old ones.
    """
    new: dict[str, str] = {}
    # Of all kinds, since an archive may have any ids.
    taken = {identifier for store in (imported, here) for kind in _KINDS for identifier in getattr(store, kind)}
    for kind in _KINDS:
        present = getattr(here, kind)
        for identifier in [one for one in getattr(imported, kind) if one in present and one not in new]:
            new[identifier] = randomness.identifier(identifier.partition("_")[0], taken)
            taken.add(new[identifier])
    return new


def clash(imported: Store, here: Store) -> bool:
    """Whether an id is in both stores."""
    return any(not getattr(imported, kind).keys().isdisjoint(getattr(here, kind)) for kind in _KINDS)


def replace_ids(state: LoadedState, new: Mapping[str, str]) -> None:
    """Give records other ids, everywhere where these stand in fields. The text of logs, events and messages stays as it
    was written. Blocks.

    Args:
        state: What was read from the archive.
        new: The new ids by the old ones.
    """
    store = state.store
    for record in _records(store):
        for name in ("id", "sandbox_id", "session_id", "alert_id"):
            if getattr(record, name, None) in new:
                setattr(record, name, new[getattr(record, name)])
    for box in store.sandboxes.values():
        _replace_in_history(box.history, new)
    for session in store.sessions.values():
        _replace_in_history(session.history, new)
    for snapshot in store.snapshots.values():
        snapshot.file = snapshot.file.with_name(f"{snapshot.id}{snapshot.file.suffix}")
    for kind in _KINDS:
        setattr(store, kind, {record.id: record for record in getattr(store, kind).values()})
    state.alert_causes = {
        new.get(place, place): [_replace_in_cause(cause, new) for cause in causes]
        for place, causes in state.alert_causes.items()
    }


def _records(store: Store) -> Iterable[Any]:
    for kind in _KINDS:
        yield from getattr(store, kind).values()


def _replace_in_history(history: History, new: Mapping[str, str]) -> None:
    kept = [
        (
            replace(
                event,
                sandbox_id=new.get(event.sandbox_id, event.sandbox_id),
                session_id=new.get(event.session_id, event.session_id),
            ),
            weight,
        )
        for event, weight in history.kept
    ]
    history.restore(kept, history.types, history.first, history.last)


def _replace_in_cause(cause: str, new: Mapping[str, str]) -> str:
    """A cause has the id of a session as one of its words."""
    return " ".join(new.get(word, word) for word in cause.split(" "))
