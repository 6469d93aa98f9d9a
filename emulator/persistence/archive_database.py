"""The database of an archive, which may come from anywhere: its records are data, and no SQL in it is executed.

The schema must be exactly ours, so there is no view, trigger, virtual table or expression. Only reading our tables is
authorized, for a limited time, and no page may belong to two records, so that a small file stays small.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from .database import APPLICATION_ID, VERSION, Connection, check_content, harden, header

#: Of the database file.
MOST_RECORD_BYTES = 1024**3
READ_SECONDS = 60.0
#: Between two looks at the clock.
_INSTRUCTIONS = 10_000
_TABLES = frozenset({"record", "entry", "document", "sqlite_master"})
_FUNCTIONS = frozenset({"coalesce", "max", "count"})
_PRAGMAS = frozenset({"application_id", "user_version", "quick_check"})


@contextmanager
def open_archive_database(file: Path) -> Iterator[Connection]:
    """Open the database of an archive for reading.

    Raises:
        sqlite3.Error: It is not an emulator's, has another version, is damaged or too large, or reading takes too long.
    """
    if file.stat().st_size > MOST_RECORD_BYTES:
        raise sqlite3.DatabaseError(f"they have more than {MOST_RECORD_BYTES:,} bytes")
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    try:
        deadline = time.monotonic() + READ_SECONDS
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _INSTRUCTIONS)
        harden(connection)
        connection.set_authorizer(_authorize)
        application_id, version = header(connection)
        if (application_id, version) != (APPLICATION_ID, VERSION):
            raise sqlite3.DatabaseError(f"they are not an emulator's of version {VERSION}, but of {version}")
        check_content(connection)
        yield connection
    finally:
        connection.close()


def _authorize(action: int, first: Optional[str], second: Optional[str], *_where: Optional[str]) -> int:
    allowed = (
        action == sqlite3.SQLITE_SELECT
        or (action == sqlite3.SQLITE_READ and first in _TABLES)
        or (action == sqlite3.SQLITE_FUNCTION and second in _FUNCTIONS)
        or (action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
