"""The store as the database holds it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..history import History
from ..store import Store
from . import codec
from .book import Followed, events_of, log_of
from .database import Connection


@dataclass
class Loaded:
    """`told`: by sandbox or account. `lists`: how far each list goes in the database. `position`: of the newest
    record."""

    store: Store = field(default_factory=Store)
    told: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[str, Followed] = field(default_factory=dict)
    position: int = 0


def documents(connection: Connection) -> dict[str, Any]:
    return {name: json.loads(body) for name, body in connection.execute("SELECT name, body FROM document")}


def load(connection: Connection, snapshots: Path) -> Loaded:
    """`snapshots`: the directory with their files. Raises KeyError, TypeError, ValueError and the database's errors
    for what cannot be read."""
    loaded = Loaded()
    store = loaded.store
    for body in _records(connection, "account"):
        account = store.accounts[body["id"]] = codec.account(body)
        loaded.told[account.id] = body["told"]
        _history(connection, loaded, account.id, account.history)
    for body in _records(connection, "key"):
        key = store.keys[body["secret"]] = codec.key(body)
        store.accounts[key.account_id].keys[key.id] = key
    for body in _records(connection, "login"):
        login = codec.login(body)
        store.logins[login.key.secret] = login
    for body in _records(connection, "session"):
        session = store.sessions[body["id"]] = codec.session(body)
        _history(connection, loaded, session.id, session.history)
    for body in _records(connection, "sandbox"):
        sandbox = store.sandboxes[body["id"]] = codec.sandbox(body)
        sandbox.session = store.sessions.get(body["session_id"] or "")
        loaded.told[sandbox.id] = body["told"]
        sandbox.logs = [codec.line(line) for line in _entries(connection, loaded, log_of(sandbox.id))]
        _end(loaded, log_of(sandbox.id), sandbox.logs)
        _history(connection, loaded, sandbox.id, sandbox.history)
    for body in _records(connection, "snapshot"):
        store.snapshots[body["id"]] = codec.snapshot(body, snapshots)
    for body in _records(connection, "alert"):
        store.alerts[body["id"]] = codec.alert(body)
    for body in _records(connection, "notification"):
        store.notifications[body["id"]] = codec.notification(body)
    (loaded.position,) = connection.execute("SELECT coalesce(max(position), 0) FROM record").fetchone()
    return loaded


def _records(connection: Connection, kind: str) -> Iterator[dict[str, Any]]:
    """Oldest first."""
    for (body,) in connection.execute("SELECT body FROM record WHERE kind = ? ORDER BY position", (kind,)):
        yield json.loads(body)


def _entries(connection: Connection, loaded: Loaded, name: str) -> Iterator[Any]:
    followed = loaded.lists[name] = Followed()
    for n, body in connection.execute("SELECT n, body FROM entry WHERE list = ? ORDER BY n", (name,)):
        if followed.n == 0:
            followed.first = n
        followed.n = n
        yield json.loads(body)


def _end(loaded: Loaded, name: str, items: Any) -> None:
    if items:
        loaded.lists[name].last = items[-1]
    else:
        del loaded.lists[name]


def _history(connection: Connection, loaded: Loaded, identifier: str, history: History) -> None:
    name = events_of(identifier)
    found = connection.execute("SELECT body FROM record WHERE kind = 'history' AND id = ?", (name,)).fetchone()
    if found is None:
        return
    tally = json.loads(found[0])
    kept = [codec.event(body) for body in _entries(connection, loaded, name)]
    history.restore(kept, tally["types"], tally["first"], tally["last"])
    _end(loaded, name, history.kept)
