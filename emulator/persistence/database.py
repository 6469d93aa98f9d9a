"""The SQLite file: its tables and its version.

A record is one row, changed as a whole. What only grows (logs, events) is a list: rows that are added at one end and
cut at the other. `position` keeps the order in which records were made.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ..config import ConfigError

NAME = "state.db"
VERSION = 1
#: How long a change waits, and everybody with it, while another program writes to the file.
BUSY_SECONDS = 0.5
APPLICATION = 0x43414745  # "CAGE"

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
    """Made when it is not there. ConfigError for a file that is none of ours, damaged, or of another version.

    Every transaction is in the operating system's hands when it is over, which is what the death of a process cannot
    take back. It is on the disk itself only after the next checkpoint: a power cut may cost the newest transactions,
    never a part of one.
    """
    if not file.exists():
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))  # it holds keys
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        if not _is_empty(connection):
            _check(connection, file)
        else:
            connection.executescript(
                f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
            )
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = NORMAL")
    except ConfigError:
        connection.close()
        raise
    except Exception as error:  # of a damaged file, sqlite3 raises more than its own errors
        connection.close()
        why = " ".join(str(error).split())[:300]
        raise ConfigError(f"{file} cannot be used ({why}); {advice(file)}") from error
    return connection


def advice(file: Path) -> str:
    """What to do about a database that cannot be used, with nothing lost whoever follows it."""
    directory = file.parent
    return (
        f"put back a copy of {file.name} that is whole, or use another directory. To begin anew here, rename this"
        f" directory first, which keeps all files of its sandboxes and snapshots: mv {directory} {directory}.old"
    )


def _is_empty(connection: Connection) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(application == 0 and version == 0 and tables == 0)


def _check(connection: Connection, file: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise ConfigError(f"{file} is no state of an emulator; use another directory")
    if version != VERSION:
        release = "a newer release" if version > VERSION else "an older release"
        raise ConfigError(
            f"{file} has version {version}, of {release}; this one reads version {VERSION}. Use the release that wrote"
            " it, or another directory"
        )
    check_schema(connection)
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"it is damaged: {str(verdict)[:200]}")


_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"


def check_schema(connection: Connection) -> None:
    """sqlite3.DatabaseError when there are other tables, views or triggers than ours. Reads one table, runs nothing."""
    with closing(sqlite3.connect(":memory:")) as ours:
        ours.executescript(TABLES)
        expected = ours.execute(_SCHEMA).fetchall()
    found = connection.execute(_SCHEMA).fetchmany(len(expected) + 1)
    if found != expected:
        extra = ", ".join(str(row[1])[:60] for row in found if row not in expected) or "some are missing"
        raise sqlite3.DatabaseError(f"it has other tables than an emulator makes: {extra}")


def is_emulators(file: Path) -> bool:
    """Whether a file says in its header that it is the database of an emulator, of whatever version."""
    try:
        with open(file, "rb") as content:
            header = content.read(72)
    except OSError:
        return False
    return header[:16] == b"SQLite format 3\0" and header[68:72] == APPLICATION.to_bytes(4, "big")


def into_one_file(connection: Connection) -> None:
    """All that was written is in the file itself, nothing beside it. For a database that nobody else has open."""
    (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise sqlite3.OperationalError(f"the journal is in mode {mode} still")
