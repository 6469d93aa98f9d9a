"""The statements that bring the database up to date, executed in one transaction."""

from __future__ import annotations

import json
from typing import Any

from .database import Connection

_PUT_RECORD = (
    "INSERT INTO record (kind, id, position, body) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body"
)
_DELETE_RECORD = "DELETE FROM record WHERE kind = ? AND id = ?"
_PUT_ENTRY = "INSERT OR REPLACE INTO entry (list, n, body) VALUES (?, ?, ?)"
_DELETE_ENTRIES_BELOW = "DELETE FROM entry WHERE list = ? AND n < ?"
_DELETE_LIST = "DELETE FROM entry WHERE list = ?"
_PUT_DOCUMENT = "INSERT OR REPLACE INTO document (name, body) VALUES (?, ?)"


class WriteQueue:
    """Statements for the next transaction. They stay queued until a transaction with them has succeeded.

    A deferred statement is executed with the next transaction, and is not a reason for one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._statements: list[tuple[str, tuple[Any, ...]]] = []
        #: By the key of the record or document, so that only the newest one is executed.
        self._deferred: dict[str, tuple[str, tuple[Any, ...]]] = {}

    @property
    def pending(self) -> bool:
        """Whether there is a reason for a transaction."""
        return bool(self._statements)

    def put_record(self, kind: str, identifier: str, position: int, body: dict[str, Any]) -> None:
        """Insert a record, or replace the body of an existing one, which keeps its position."""
        self._statements.append((_PUT_RECORD, (kind, identifier, position, json.dumps(body))))

    def defer_record(self, kind: str, identifier: str, position: int, body: dict[str, Any]) -> None:
        self._deferred[f"{kind} {identifier}"] = (_PUT_RECORD, (kind, identifier, position, json.dumps(body)))

    def delete_record(self, kind: str, identifier: str) -> None:
        self._statements.append((_DELETE_RECORD, (kind, identifier)))
        self._deferred.pop(f"{kind} {identifier}", None)

    def put_entry(self, name: str, number: int, value: Any) -> None:
        """Add an entry to a list."""
        self._statements.append((_PUT_ENTRY, (name, number, json.dumps(value))))

    def delete_entries_below(self, name: str, number: int) -> None:
        """Delete the entries of a list whose numbers are smaller."""
        self._statements.append((_DELETE_ENTRIES_BELOW, (name, number)))

    def delete_list(self, name: str) -> None:
        self._statements.append((_DELETE_LIST, (name,)))

    def put_document(self, name: str, body: str) -> None:
        """Insert or replace a document, given as JSON text."""
        self._statements.append((_PUT_DOCUMENT, (name, body)))

    def defer_document(self, name: str, content: Any) -> None:
        self._deferred[name] = (_PUT_DOCUMENT, (name, json.dumps(content)))

    def commit(self, include_deferred: bool = False) -> bool:
        """Execute all statements in one transaction, if there is a reason for one.

        Args:
            include_deferred: Deferred statements are a reason, too.

        Returns:
            Whether there was a transaction.

        Raises:
            sqlite3.Error: Nothing was written; the statements stay queued.
        """
        if not self._statements and not (include_deferred and self._deferred):
            return False
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for statement, values in self._statements:
                execute(statement, values)
            for statement, values in self._deferred.values():
                execute(statement, values)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        self._statements.clear()
        self._deferred.clear()
        return True
