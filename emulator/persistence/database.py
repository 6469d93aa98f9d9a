"""The SQLite file: its tables and its version.

A record is one row, changed as a whole. What only grows (logs, events) is a list: rows that are added at one end and
cut at the other. `position` keeps the order in which records were made.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ..config import ConfigError

NAME = "state.db"
VERSION = 1
#: How long a change waits, and everybody with it, while another program writes to the file.
BUSY_SECONDS = 0.5
_APPLICATION = 0x43414745  # "CAGE"

_TABLES = """
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
        _check(connection, file)
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"{file} cannot be used ({error}); move it away, or use another directory") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: Connection, file: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == 0 and version == 0 and tables == 0:
        connection.executescript(
            f"BEGIN; {_TABLES} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
        )
    elif application != _APPLICATION:
        raise ConfigError(f"{file} is no state of an emulator; use another directory")
    elif version != VERSION:
        release = "a newer release" if version > VERSION else "an older release"
        raise ConfigError(
            f"{file} has version {version}, of {release}; this one reads version {VERSION}. Use the release that wrote"
            " it, or another directory"
        )


def into_one_file(connection: Connection) -> None:
    """All that was written is in the file itself, nothing beside it. For a database that nobody else has open."""
    (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise sqlite3.OperationalError(f"the journal is in mode {mode} still")
