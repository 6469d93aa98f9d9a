"""Reads the store from the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..history import History
from ..store import Key, Sandbox, Store
from . import codec
from .database import Connection
from .field_validation import DamagedRecord
from .list_writer import ListPosition, events_name, log_name
from .record_rules import ALERT_CAUSES

#: More than any stored number has. Parsing an integer takes a time that grows with its digits.
_MOST_DIGITS = 400
#: Far more than an emulator can write, and far less than SQLite's largest integer.
_LAST_POSITION = 1 << 62


@dataclass
class LoadedState:
    """What was read from a database.

    Attributes:
        store: The records.
        alert_causes: The causes of raised alerts, by the id of a sandbox or an account.
        lists: The lists that are in the database, by name.
        position: The position of the newest record.
    """

    store: Store = field(default_factory=Store)
    alert_causes: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[str, ListPosition] = field(default_factory=dict)
    position: int = 0


def load_documents(connection: Connection) -> dict[str, Any]:
    """Return the JSON documents by name."""
    rows = connection.execute("SELECT name, body FROM document")
    return {name: _parse(body, f"document {name}") for name, body in rows}


def load_state(connection: Connection, snapshots: Path) -> LoadedState:
    """Read all records.

    Args:
        connection: The database.
        snapshots: The directory of the snapshots' files.

    Raises:
        DamagedRecord, sqlite3.Error: A record cannot be read, or has an invalid field (`describe_failure`).
    """
    return _Loader(connection, snapshots).load()


def describe_failure(error: Exception) -> str:
    """Return why records cannot be read, on one line of bounded length."""
    is_plain = isinstance(error, (DamagedRecord, sqlite3.Error))
    text = str(error) if is_plain else f"{type(error).__name__}: {error}"
    return text.encode("utf-8", "backslashreplace").decode()[:500].replace("\n", " ")


class _Loader:
    def __init__(self, connection: Connection, snapshots: Path) -> None:
        self._connection = connection
        self._snapshots = snapshots
        self._state = LoadedState()

    def load(self) -> LoadedState:
        store = self._state.store
        self._load_accounts(store)
        for body in self._records("session"):
            session = store.sessions[body["id"]] = codec.decode_session(body)
            self._load_history(session.id, session.history)
        for body in self._records("sandbox"):
            store.sandboxes[body["id"]] = self._load_sandbox(body)
        for body in self._records("snapshot"):
            store.snapshots[body["id"]] = codec.decode_snapshot(body, self._snapshots)
        for body in self._records("alert"):
            store.alerts[body["id"]] = codec.decode_alert(body)
        for body in self._records("notification"):
            store.notifications[body["id"]] = codec.decode_notification(body)
        row = self._connection.execute("SELECT coalesce(max(position), 0) FROM record").fetchone()
        (self._state.position,) = row
        return self._state

    def _load_accounts(self, store: Store) -> None:
        for body in self._records("account"):
            account = store.accounts[body["id"]] = codec.decode_account(body)
            self._state.alert_causes[account.id] = body[ALERT_CAUSES]
            self._load_history(account.id, account.history)
        for body in self._records("key"):
            key = codec.decode_key(body)
            self._check_key(key, f"key {key.id}")
            store.keys[key.secret] = key
            store.accounts[key.account_id].keys[key.id] = key
        for body in self._records("login"):
            login = codec.decode_login(body)
            self._check_key(login.key, f"login {login.id}")
            store.logins[login.key.secret] = login

    def _check_key(self, key: Key, record: str) -> None:
        """Raise DamagedRecord for a key of no account, or one that opens two things."""
        store = self._state.store
        if key.account_id not in store.accounts:
            raise DamagedRecord(f"{record}: account_id must be the id of an account, and {key.account_id} is none")
        if key.secret in store.keys or key.secret in store.logins:
            raise DamagedRecord(f"{record}: secret must be unique, and another record has the same")

    def _load_sandbox(self, body: dict[str, Any]) -> Sandbox:
        sandbox = codec.decode_sandbox(body)
        sandbox.agent_session = self._state.store.sessions.get(body["session_id"] or "")
        self._state.alert_causes[sandbox.id] = body[ALERT_CAUSES]
        name = log_name(sandbox.id)
        sandbox.logs = [codec.decode_log_entry(entry, what) for entry, what in self._entries(name)]
        self._end_list(name, sandbox.logs)
        self._load_history(sandbox.id, sandbox.history)
        return sandbox

    def _load_history(self, identifier: str, history: History) -> None:
        name = events_name(identifier)
        row = self._connection.execute("SELECT body FROM record WHERE kind = 'history' AND id = ?", (name,)).fetchone()
        if row is None:
            return
        tally = _parse_object(row[0], f"history {name}")
        codec.check_tally(tally, name)
        kept = [codec.decode_event(body, what) for body, what in self._entries(name)]
        history.restore(kept, tally["types"], tally["first"], tally["last"])
        self._end_list(name, history.kept)

    def _records(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the bodies of the records of a kind, oldest first."""
        query = "SELECT id, position, body FROM record WHERE kind = ? ORDER BY position"
        for identifier, position, text in self._connection.execute(query, (kind,)):
            if not _is_number(position):
                raise DamagedRecord(f"{kind} {identifier} has a position that is not a number")
            body = _parse_object(text, f"{kind} {identifier}")
            if body.get("id") != identifier:
                raise DamagedRecord(f"{kind} {identifier} has another id in its body")
            yield body

    def _entries(self, name: str) -> Iterator[tuple[Any, str]]:
        """Yield the values of a list, oldest first, each with what an error calls it. Record which numbers they
        have."""
        position = self._state.lists[name] = ListPosition()
        for number, body in self._connection.execute("SELECT n, body FROM entry WHERE list = ? ORDER BY n", (name,)):
            what = f"entry {str(number)[:60]} of {name}"
            if not _is_number(number):
                raise DamagedRecord(f"{what} has a number that is not one")
            if position.number == 0:
                position.first = number
            position.number = number
            yield _parse(body, what), what

    def _end_list(self, name: str, items: Sequence[Any]) -> None:
        """Record the newest item of a list that has been read; an empty list counts as one that does not exist."""
        if items:
            self._state.lists[name].newest = items[-1]
        else:
            del self._state.lists[name]


def _is_number(position: Any) -> bool:
    """Whether a position can be counted on from: SQLite's columns accept other types."""
    return type(position) is int and 0 < position < _LAST_POSITION


def _parse(body: Any, what: str) -> Any:
    if not isinstance(body, str):
        raise DamagedRecord(f"{what} is not a text")
    try:
        return json.loads(body, parse_int=_parse_integer)
    except RecursionError:
        raise DamagedRecord(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise DamagedRecord(f"{what} is not JSON ({error})") from None


def _parse_integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _parse_object(body: Any, what: str) -> dict[str, Any]:
    value = _parse(body, what)
    if not isinstance(value, dict):
        raise DamagedRecord(f"{what} is not an object")
    return value
