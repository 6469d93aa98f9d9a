"""The SQLite file: its tables, its version, and the tests that it is one of ours.

A record is one row, which is replaced as a whole. Logs and histories of events are lists: rows that are added at one
end and deleted at the other. `position` keeps the order in which records were created.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ..config import ConfigError

NAME = "state.db"
VERSION = 1
#: How long a change, and every request with it, waits while another program writes to the file.
BUSY_SECONDS = 0.5
APPLICATION_ID = 0x43414745  # "CAGE"

TABLES = """
CREATE TABLE record (
    kind TEXT NOT NULL, id TEXT NOT NULL, position INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE entry (list TEXT NOT NULL, n INTEGER NOT NULL, body TEXT NOT NULL);
CREATE UNIQUE INDEX entry_list ON entry (list, n);
CREATE TABLE document (name TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
"""

Connection = sqlite3.Connection
Error = sqlite3.Error


def open_database(file: Path) -> Connection:
    """Open the database of a state directory, which is created if it does not exist.

    When a transaction is over, its changes belong to the operating system, so the death of this process cannot undo
    them. They are on the disk only after the next checkpoint: a power cut may undo the newest transactions, but never
    a part of one.

    Raises:
        ConfigError: The file is not an emulator's database, is damaged, or has another version.
    """
    if not file.exists():
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))  # it contains API keys
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        harden(connection)
        if _is_empty(connection):
            connection.executescript(
                f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
            )
        else:
            _check_version(connection, file)
            check_content(connection)
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = NORMAL")
    except ConfigError:
        connection.close()
        raise
    except Exception as error:  # for a damaged file, sqlite3 raises more than its own errors
        connection.close()
        why = " ".join(str(error).split())[:300]
        raise ConfigError(f"{file} cannot be used ({why}); {advice(file)}") from error
    return connection


def advice(file: Path) -> str:
    """Return what to do about a database that cannot be used, without a loss of files."""
    directory = file.parent
    return (
        f"put back an intact copy of {file.name}, or use another directory. To start with an empty state here, rename"
        f" this directory first, which keeps all files of its sandboxes and snapshots: mv {directory} {directory}.old"
    )


def harden(connection: Connection) -> None:
    """Distrust the content of the file."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def header(connection: Connection) -> tuple[int, int]:
    """Return the application id and the version of a database."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application_id, version


def check_content(connection: Connection) -> None:
    """Raise sqlite3.DatabaseError if the database has another schema, or is damaged."""
    _check_schema(connection)
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if result != "ok":
        raise sqlite3.DatabaseError(f"it is damaged: {str(result)[:200]}")


def _is_empty(connection: Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return header(connection) == (0, 0) and tables == 0


def _check_version(connection: Connection, file: Path) -> None:
    application_id, version = header(connection)
    if application_id != APPLICATION_ID:
        raise ConfigError(f"{file} is not the state of an emulator; use another directory")
    if version != VERSION:
        release = "a newer release" if version > VERSION else "an older release"
        raise ConfigError(
            f"{file} has version {version}, of {release}; this one reads version {VERSION}. Use the release that wrote"
            " it, or another directory"
        )


_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"


def _check_schema(connection: Connection) -> None:
    """Require exactly our tables, without any view or trigger. Reads one table, and executes nothing of the file."""
    with closing(sqlite3.connect(":memory:")) as ours:
        ours.executescript(TABLES)
        expected = ours.execute(_SCHEMA).fetchall()
    found = connection.execute(_SCHEMA).fetchmany(len(expected) + 1)
    if found != expected:
        extra = ", ".join(str(row[1])[:60] for row in found if row not in expected) or "some are missing"
        raise sqlite3.DatabaseError(f"it has other tables than those of an emulator: {extra}")


def is_state_database(file: Path) -> bool:
    """Whether the header of a file says that it is an emulator's database, of any version."""
    try:
        with open(file, "rb") as content:
            found = content.read(72)
    except OSError:
        return False
    return found[:16] == b"SQLite format 3\0" and found[68:72] == APPLICATION_ID.to_bytes(4, "big")


def merge_journal(connection: Connection) -> None:
    """Move everything into the database file itself, so that it can be copied alone.

    Raises:
        sqlite3.OperationalError: Another connection is open.
    """
    (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise sqlite3.OperationalError(f"the journal is in mode {mode} still")
