"""What the database holds, and how it is brought up to the store.

The store is plain objects that the platform changes wherever it has to. So the book looks: at every account, key and
living sandbox, by a fingerprint that takes a microsecond or two; at sessions and snapshots as long as they can still
change; at alerts and notifications when they are put. Logs and events grow at one end, and only what is new there is
looked at. What a look costs grows with what lives, never with what has happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Callable

from ..history import History
from ..store import Account, AgentSession, Key, LoginSession, NotificationConfig, Sandbox, Snapshot, Store, Subscription
from . import codec
from .database import Connection
from .tracked_dict import TrackedDict

_PUT = (
    "INSERT INTO record (kind, id, position, body) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body"
)
_DROP = "DELETE FROM record WHERE kind = ? AND id = ?"
_APPEND = "INSERT OR REPLACE INTO entry (list, n, body) VALUES (?, ?, ?)"
_CUT = "DELETE FROM entry WHERE list = ? AND n < ?"
_FORGET = "DELETE FROM entry WHERE list = ?"
_KEEP = "INSERT OR REPLACE INTO document (name, body) VALUES (?, ?)"

#: What was told of a sandbox or an account, so that it is not told again (`platform/alert_triggers.py`).
Told = Callable[[str], Iterable[str]]


@dataclass
class Followed:
    """How far a list is in the database: the newest item, its number, and the number of the first that is there."""

    last: object = None
    n: int = 0
    first: int = 1


def log_of(sandbox_id: str) -> str:
    return f"log {sandbox_id}"


def events_of(identifier: str) -> str:
    """The history of a sandbox, a session, or an account."""
    return f"events {identifier}"


class ChangeTracker:
    """`collect` notes what has changed, `write` makes it durable, all or nothing. What could not be written is written
    the next time."""

    def __init__(self, connection: Connection, told: Told) -> None:
        self._connection = connection
        self._told = told
        self._work: list[tuple[str, tuple[Any, ...]]] = []
        #: Written with the next transaction, but no reason for one.
        self._later: dict[str, tuple[str, tuple[Any, ...]]] = {}
        self._prints: dict[str, dict[str, Any]] = {"account": {}, "key": {}, "login": {}, "sandbox": {}}
        self._changing: dict[str, set[str]] = {"session": set(), "snapshot": set()}
        self._documents: dict[str, str] = {}
        self.lists: dict[str, Followed] = {}
        self.position = 0

    @property
    def pending(self) -> bool:
        return bool(self._work)

    def watch(self, store: Store) -> None:
        """From now on. What is in the store so far counts as written, apart from what can still change."""
        store.alerts = TrackedDict(store.alerts)
        store.notifications = TrackedDict(store.notifications)
        store.sessions = TrackedDict(store.sessions)
        store.snapshots = TrackedDict(store.snapshots)
        self._changing["session"] = {s.id for s in store.sessions.values() if s.ended_at is None}
        self._changing["snapshot"] = {s.id for s in store.snapshots.values() if s.status == "pending"}

    def collect(self, store: Store) -> None:
        self._scan("account", store.accounts.values(), self._look_at_account)
        self._scan("key", store.keys.values(), self._look_at_key)
        self._scan("login", store.logins.values(), self._look_at_login)
        self._scan("sandbox", store.sandboxes.values(), self._look_at_sandbox)
        self._follow_touched("session", store.sessions, self._write_session)
        self._follow_touched("snapshot", store.snapshots, self._write_snapshot)
        self._follow_touched("alert", store.alerts, lambda alert: self._put("alert", alert.id, codec.encode(alert)))
        self._follow_touched(
            "notification", store.notifications, lambda note: self._put("notification", note.id, codec.encode(note))
        )

    def touch_session(self, store: Store, session_id: str) -> None:
        """Something has changed in a session, which may be over."""
        if session_id in store.sessions and isinstance(store.sessions, TrackedDict):
            store.sessions.touched[session_id] = None

    def write(self, all_of_it: bool = False) -> bool:
        """One transaction, if there is a reason for one. `all_of_it`: what is no reason is one."""
        if not self._work and not (all_of_it and self._later):
            return False
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for statement, values in self._work:
                execute(statement, values)
            for statement, values in self._later.values():
                execute(statement, values)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        self._work.clear()
        self._later.clear()
        return True

    # --- noting

    def document(self, name: str, content: Any) -> None:
        body = json.dumps(content)
        if self._documents.get(name) != body:
            self._documents[name] = body
            self._work.append((_KEEP, (name, body)))

    def mention(self, name: str, content: Any) -> None:
        """A document that is written along with the next change."""
        self._later[name] = (_KEEP, (name, json.dumps(content)))

    def _put(self, kind: str, identifier: str, body: dict[str, Any]) -> None:
        self.position += 1
        self._work.append((_PUT, (kind, identifier, self.position, json.dumps(body))))

    def _drop(self, kind: str, identifier: str) -> None:
        self._work.append((_DROP, (kind, identifier)))

    # --- looking

    def _scan(self, kind: str, records: Iterable[Any], look: Callable[[Any, Any], Any]) -> None:
        """`look` gets a record and its last fingerprint, writes what has changed, and returns the new fingerprint."""
        prints = self._prints[kind]
        count = 0
        for record in records:
            count += 1
            prints[record.id] = look(record, prints.get(record.id))
        if len(prints) > count:
            living = {record.id for record in records}
            for identifier in [name for name in prints if name not in living]:
                del prints[identifier]
                self._drop(kind, identifier)
                self._later.pop(f"{kind} {identifier}", None)
                self._forget(log_of(identifier))
                self._forget_history(identifier)

    def _look_at_account(self, account: Account, before: Any) -> Any:
        self._follow_history(account.id, account.history)
        told = frozenset(self._told(account.id))
        found = (
            _ACCOUNT(account),
            tuple(account.notification_config.enabled_channels),
            [(rule.enabled, tuple(rule.config.items())) for rule in account.rules.values()],
            told,
        )
        if found != before:
            self._put("account", account.id, {**codec.encode(account), "told": sorted(told)})
        return found

    def _look_at_key(self, key: Key, before: Any) -> Any:
        found = (key.name, key.scope, key.secret)
        if before is None or before[0] != found:
            self._put("key", key.id, codec.encode(key))
        elif before[1] != key.last_used:
            # Every request changes it: that alone is no reason to write.
            values = ("key", key.id, self.position, json.dumps(codec.encode(key)))
            self._later[f"key {key.id}"] = (_PUT, values)
        return found, key.last_used

    def _look_at_login(self, login: LoginSession, before: Any) -> Any:
        found = (login.expires, login.key.secret)
        if found != before:
            self._put("login", login.id, codec.encode(login))
        return found

    def _look_at_sandbox(self, sandbox: Sandbox, before: Any) -> Any:
        self._follow(log_of(sandbox.id), sandbox.logs, codec.encode_line)
        self._follow_history(sandbox.id, sandbox.history)
        session = sandbox.agent_session.id if sandbox.agent_session is not None else None
        told = frozenset(self._told(sandbox.id))
        found = (
            _SANDBOX(sandbox),
            *(_frozen(held) for held in _SANDBOX_HOLDS(sandbox)),
            session,
            told,
        )
        if found != before:
            body = {**codec.encode(sandbox), "session_id": session, "told": sorted(told)}
            self._put("sandbox", sandbox.id, body)
        return found

    def _follow_touched(self, kind: str, records: dict[str, Any], write: Callable[[Any], None]) -> None:
        assert isinstance(records, TrackedDict)
        look_at = [*records.touched, *(self._changing.get(kind, set()) - records.touched.keys())]
        records.touched.clear()
        for identifier in look_at:
            record = records.get(identifier)
            if record is not None:
                write(record)
            else:
                self._drop(kind, identifier)
                self._changing.get(kind, set()).discard(identifier)
                self._prints.get(kind, {}).pop(identifier, None)
                if kind == "session":
                    self._forget_history(identifier)

    def _write_session(self, session: AgentSession) -> None:
        self._follow_history(session.id, session.history)
        self._put_if_changed("session", session, session.ended_at is None)

    def _write_snapshot(self, snapshot: Snapshot) -> None:
        self._put_if_changed("snapshot", snapshot, snapshot.status == "pending")

    def _put_if_changed(self, kind: str, record: Any, still_changing: bool) -> None:
        """Of a record that can change no more nothing is remembered."""
        body = codec.encode(record)
        prints = self._prints.setdefault(kind, {})
        if prints.get(record.id) != body:
            self._put(kind, record.id, body)
        if still_changing:
            prints[record.id] = body
            self._changing[kind].add(record.id)
        else:
            prints.pop(record.id, None)
            self._changing[kind].discard(record.id)

    # --- what grows

    def _follow_history(self, identifier: str, history: History) -> None:
        name = events_of(identifier)
        if not history.count:
            self._forget_history(identifier)  # somebody has begun it anew
        elif self._follow(name, history.kept, codec.encode_event):
            tally = {"types": history.types, "first": history.first, "last": history.last}
            self._put("history", name, tally)

    def _follow(self, name: str, items: Sequence[Any], encode: Callable[[Any], Any]) -> bool:
        """Whether there was something new."""
        if not items:
            return False
        followed = self.lists.get(name)
        if followed is None:
            followed = self.lists[name] = Followed()
        if items[-1] is followed.last:
            return False
        fresh: list[Any] = []
        for item in reversed(items):
            if item is followed.last:
                break
            fresh.append(item)
        for item in reversed(fresh):
            followed.n += 1
            self._work.append((_APPEND, (name, followed.n, json.dumps(encode(item)))))
        followed.last = fresh[0]
        first = followed.n - len(items) + 1
        if first > followed.first:
            self._work.append((_CUT, (name, first)))
            followed.first = first
        return True

    def _forget(self, name: str) -> None:
        if self.lists.pop(name, None) is not None:
            self._work.append((_FORGET, (name,)))

    def _forget_history(self, identifier: str) -> None:
        name = events_of(identifier)
        if name in self.lists:
            self._forget(name)
            self._drop("history", name)


def _frozen(held: Any) -> Any:
    if isinstance(held, dict):
        return tuple(held.items())
    return frozenset(held) if isinstance(held, set) else tuple(held)


_ACCOUNT = attrgetter(
    *(name for name in codec.kept(Account) if name not in ("rules", "subscription", "notification_config")),
    *(f"subscription.{name}" for name in codec.kept(Subscription)),
    *(f"notification_config.{name}" for name in codec.kept(NotificationConfig) if name != "enabled_channels"),
)
_HOLDS = ("allowlist", "env", "secrets", "packages", "agents", "budget_marks", "port_passwords")
_SANDBOX = attrgetter(*(name for name in codec.kept(Sandbox) if name not in _HOLDS))
_SANDBOX_HOLDS = attrgetter(*_HOLDS)
