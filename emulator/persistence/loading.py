"""The store as the database holds it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..history import History
from ..store import Store
from . import codec
from .change_tracker import Followed, events_of, log_of
from .database import Connection

#: More than any number that is kept has.
_MOST_DIGITS = 400


@dataclass
class Loaded:
    """`told`: by sandbox or account. `lists`: how far each list goes in the database. `position`: of the newest
    record."""

    store: Store = field(default_factory=Store)
    told: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[str, Followed] = field(default_factory=dict)
    position: int = 0


def documents(connection: Connection) -> dict[str, Any]:
    found = connection.execute("SELECT name, body FROM document")
    return {name: _parsed(body, f"document {name}") for name, body in found}


def reason(error: Exception) -> str:
    """Why records cannot be read, on one line of bounded length."""
    known = isinstance(error, (codec.DamagedRecord, sqlite3.Error))
    text = str(error) if known else f"{type(error).__name__}: {error}"
    return text.encode("utf-8", "backslashreplace").decode()[:500].replace("\n", " ")


def _parsed(body: Any, what: str) -> Any:
    if not isinstance(body, str):
        raise codec.DamagedRecord(f"{what} is not a text")
    try:
        return json.loads(body, parse_int=_integer)
    except RecursionError:
        raise codec.DamagedRecord(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise codec.DamagedRecord(f"{what} is not JSON ({error})") from None


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")  # reading it would take a time that grows with them
    return int(digits)


def _record(body: Any, what: str) -> dict[str, Any]:
    found = _parsed(body, what)
    if not isinstance(found, dict):
        raise codec.DamagedRecord(f"{what} is not an object")
    return found


def load(connection: Connection, snapshots: Path) -> Loaded:
    """`snapshots`: the directory with their files. Raises KeyError, TypeError, ValueError and the database's errors
    for what cannot be read."""
    loaded = Loaded()
    store = loaded.store
    for body in _records(connection, "account"):
        account = store.accounts[body["id"]] = codec.account(body)
        loaded.told[account.id] = codec.texts(body["told"], account.id)
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
        sandbox.agent_session = store.sessions.get(body["session_id"] or "")
        loaded.told[sandbox.id] = codec.texts(body["told"], sandbox.id)
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
    for identifier, body in connection.execute("SELECT id, body FROM record WHERE kind = ? ORDER BY position", (kind,)):
        found = _record(body, f"{kind} {identifier}")
        if found.get("id") != identifier:
            raise codec.DamagedRecord(f"{kind} {identifier} holds another id")
        yield found


def _entries(connection: Connection, loaded: Loaded, name: str) -> Iterator[Any]:
    followed = loaded.lists[name] = Followed()
    for n, body in connection.execute("SELECT n, body FROM entry WHERE list = ? ORDER BY n", (name,)):
        if followed.n == 0:
            followed.first = n
        followed.n = n
        yield _parsed(body, f"entry {n} of {name}")


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
    tally = _record(found[0], f"history {name}")
    kept = [codec.event(body) for body in _entries(connection, loaded, name)]
    codec.check_tally(tally, name)
    history.restore(kept, tally["types"], tally["first"], tally["last"])
    _end(loaded, name, history.kept)
