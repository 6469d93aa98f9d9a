"""Finds what has changed in the store since the last look, and writes it to the database.

The store consists of plain objects that the platform changes directly. So the tracker compares: every account, key,
login and living sandbox by a fingerprint (`fingerprints.py`); sessions and snapshots as long as they can still change;
alerts and notifications when they are put into their dictionary (`tracked_dict.py`); logs and events at their new end
(`list_writer.py`). The cost of a comparison grows with what is alive, not with what has happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any, Callable, Optional

from ..history import History
from ..store import AccountRecord, AgentSession, Key, LoginSession, Sandbox, Snapshot, Store
from . import codec, fingerprints
from .database import Connection
from .list_writer import ListPosition, ListWriter, events_name, log_name
from .record_rules import ALERT_CAUSES
from .tracked_dict import TrackedDict
from .write_queue import WriteQueue

#: Returns the causes of the alerts that were raised for a sandbox or an account, so that a restart does not raise
#: them again (`platform/alert_history.py`).
AlertCauses = Callable[[str], Iterable[str]]


class ChangeTracker:
    """`collect` finds the changes, and `commit` writes them, all or nothing. What could not be written is written with
    the next commit.

    Args:
        connection: The database.
        alert_causes: Returns the causes of alerts of a sandbox or an account.
        lists: The lists that are in the database.
        position: The position of the newest record in the database.
    """

    def __init__(
        self,
        connection: Connection,
        alert_causes: AlertCauses,
        lists: Optional[dict[str, ListPosition]] = None,
        position: int = 0,
    ) -> None:
        self._queue = WriteQueue(connection)
        self._lists = ListWriter(self._queue, lists)
        self._alert_causes = alert_causes
        self._position = position
        self._fingerprints: dict[str, dict[str, Any]] = {"account": {}, "key": {}, "login": {}, "sandbox": {}}
        #: The bodies of sessions and snapshots that can still change.
        self._bodies: dict[str, dict[str, Any]] = {}
        self._changing: dict[str, set[str]] = {"session": set(), "snapshot": set()}
        self._documents: dict[str, str] = {}

    @property
    def pending(self) -> bool:
        """Whether there is something to commit."""
        return self._queue.pending

    def attach(self, store: Store) -> None:
        """Track the changes of a store. Its present content counts as written, except for what can still change."""
        store.alerts = TrackedDict(store.alerts)
        store.notifications = TrackedDict(store.notifications)
        store.sessions = TrackedDict(store.sessions)
        store.snapshots = TrackedDict(store.snapshots)
        self._changing["session"] = {s.id for s in store.sessions.values() if s.ended_at is None}
        self._changing["snapshot"] = {s.id for s in store.snapshots.values() if s.status == "pending"}

    def collect(self, store: Store) -> None:
        """Find what has changed since the last call."""
        self._scan("account", store.accounts.values(), self._update_account)
        self._scan("key", store.keys.values(), self._update_key)
        self._scan("login", store.logins.values(), self._update_login)
        self._scan("sandbox", store.sandboxes.values(), self._update_sandbox)
        self._update_tracked("session", store.sessions, self._update_session)
        self._update_tracked("snapshot", store.snapshots, self._update_snapshot)
        self._update_tracked("alert", store.alerts, partial(self._put, "alert"))
        self._update_tracked("notification", store.notifications, partial(self._put, "notification"))

    def mark_session(self, store: Store, session_id: str) -> None:
        """Note that a session has changed, which may have ended already."""
        if session_id in store.sessions and isinstance(store.sessions, TrackedDict):
            store.sessions.changed[session_id] = None

    def set_document(self, name: str, content: Any) -> None:
        """Set a JSON document, which is written if it has changed."""
        body = json.dumps(content)
        if self._documents.get(name) != body:
            self._documents[name] = body
            self._queue.put_document(name, body)

    def defer_document(self, name: str, content: Any) -> None:
        """Set a JSON document, which is written with the next change."""
        self._queue.defer_document(name, content)

    def commit(self, include_deferred: bool = False) -> bool:
        """Write the changes in one transaction (`WriteQueue.commit`)."""
        return self._queue.commit(include_deferred)

    # --- records that are compared by fingerprints

    def _scan(self, kind: str, records: Iterable[Any], update: Callable[[Any, Any], Any]) -> None:
        """Update all records of a kind, and delete those that are gone.

        Args:
            kind: The kind of the records.
            records: All of them.
            update: Is called with a record and its last fingerprint, writes what has changed, and returns the present
                fingerprint.
        """
        known = self._fingerprints[kind]
        count = 0
        for record in records:
            count += 1
            known[record.id] = update(record, known.get(record.id))
        if len(known) > count:
            present = {record.id for record in records}
            for identifier in [name for name in known if name not in present]:
                del known[identifier]
                self._queue.delete_record(kind, identifier)
                self._lists.delete(log_name(identifier))
                self._delete_history(identifier)

    def _update_account(self, account: AccountRecord, before: Any) -> Any:
        self._update_history(account.id, account.history)
        causes = frozenset(self._alert_causes(account.id))
        fingerprint = fingerprints.account_fingerprint(account, causes)
        if fingerprint != before:
            self._put("account", account, {ALERT_CAUSES: sorted(causes)})
        return fingerprint

    def _update_key(self, key: Key, before: Any) -> Any:
        fingerprint = fingerprints.key_fingerprint(key)
        if before is None or before[0] != fingerprint:
            self._put("key", key)
        elif before[1] != key.last_used:
            # Every request changes it, so that alone is not a reason to write.
            self._queue.defer_record("key", key.id, self._position, codec.encode(key))
        return fingerprint, key.last_used

    def _update_login(self, login: LoginSession, before: Any) -> Any:
        fingerprint = fingerprints.login_fingerprint(login)
        if fingerprint != before:
            self._put("login", login)
        return fingerprint

    def _update_sandbox(self, sandbox: Sandbox, before: Any) -> Any:
        self._lists.update(log_name(sandbox.id), sandbox.logs, codec.encode_log_entry)
        self._update_history(sandbox.id, sandbox.history)
        session_id = sandbox.agent_session.id if sandbox.agent_session is not None else None
        causes = frozenset(self._alert_causes(sandbox.id))
        fingerprint = fingerprints.sandbox_fingerprint(sandbox, session_id, causes)
        if fingerprint != before:
            self._put("sandbox", sandbox, {"session_id": session_id, ALERT_CAUSES: sorted(causes)})
        return fingerprint

    # --- records in tracked dictionaries

    def _update_tracked(self, kind: str, records: dict[str, Any], update: Callable[[Any], None]) -> None:
        assert isinstance(records, TrackedDict)
        changing = self._changing.get(kind, set())
        identifiers = [*records.changed, *(changing - records.changed.keys())]
        records.changed.clear()
        for identifier in identifiers:
            record = records.get(identifier)
            if record is not None:
                update(record)
            else:
                self._queue.delete_record(kind, identifier)
                changing.discard(identifier)
                self._bodies.get(kind, {}).pop(identifier, None)
                if kind == "session":
                    self._delete_history(identifier)

    def _update_session(self, session: AgentSession) -> None:
        self._update_history(session.id, session.history)
        self._put_if_changed("session", session, session.ended_at is None)

    def _update_snapshot(self, snapshot: Snapshot) -> None:
        self._put_if_changed("snapshot", snapshot, snapshot.status == "pending")

    def _put_if_changed(self, kind: str, record: Any, can_change: bool) -> None:
        """Write a record if it has changed. Nothing is remembered of one that cannot change any more."""
        body = codec.encode(record)
        bodies = self._bodies.setdefault(kind, {})
        if bodies.get(record.id) != body:
            self._put_body(kind, record.id, body)
        if can_change:
            bodies[record.id] = body
            self._changing[kind].add(record.id)
        else:
            bodies.pop(record.id, None)
            self._changing[kind].discard(record.id)

    # --- writing

    def _put(self, kind: str, record: Any, more: Optional[dict[str, Any]] = None) -> None:
        """Write a record, with more keys than its fields."""
        self._put_body(kind, record.id, {**codec.encode(record), **(more or {})})

    def _put_body(self, kind: str, identifier: str, body: dict[str, Any]) -> None:
        self._position += 1
        self._queue.put_record(kind, identifier, self._position, body)

    def _update_history(self, identifier: str, history: History) -> None:
        name = events_name(identifier)
        if not history.count:
            self._delete_history(identifier)  # a reset account has a new history
        elif self._lists.update(name, history.kept, codec.encode_event):
            self._put_body("history", name, {"types": history.types, "first": history.first, "last": history.last})

    def _delete_history(self, identifier: str) -> None:
        name = events_name(identifier)
        if self._lists.delete(name):
            self._queue.delete_record("history", name)
