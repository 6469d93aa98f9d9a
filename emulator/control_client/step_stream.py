"""The steps of an account as they come: a stream that is requested again where its connection is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import Any, Optional

from ..control.identifiers import IdOrObject
from ..control.step import Step
from .admin_client import AdminClient
from .transport import AdminRequestError, EmulatorError

#: Seconds without a connection after which a stream ends with an error, and between two attempts.
RECONNECT_SECONDS, RECONNECT_PAUSE = 5.0, 0.2


def follow_steps(admin: AdminClient, query: Mapping[str, Any], account: Optional[IdOrObject]) -> Iterator[Step]:
    """Iterate over the steps that a query selects, and go on after the last of them where the connection is lost.

    Args:
        admin: The client.
        query: The options of `StepStreamQuery`.
        account: An account or its id. The default is that of the client.

    Raises:
        ValueError: The query is wrong.
        EmulatorError: The emulator was killed.
    """
    seen, lost_at = "", 0.0
    while True:
        is_connected = False
        headers = {"Last-Event-ID": seen} if seen else {}
        lines = admin.lines("/journal/steps/stream", account=account, query=query, headers=headers)
        try:
            with closing(_events_in(lines)) as events:
                for identifier, step in events:
                    is_connected, seen = True, identifier or seen
                    if step is not None:
                        yield step
            return
        except AdminRequestError:
            raise
        except EmulatorError:
            now = time.monotonic()
            lost_at = now if is_connected else lost_at
            if admin.is_local or not lost_at or now > lost_at + RECONNECT_SECONDS:
                raise
            time.sleep(RECONNECT_PAUSE)


def _events_in(lines: Generator[bytes, None, None]) -> Generator[tuple[str, Optional[Step]], None, None]:
    """The steps in lines of server-sent events, each with the id of its event; for each other line None, with the id of
    the event before it."""
    before = identifier = ""
    with closing(lines):
        for line in lines:
            if line.startswith(b"id: "):
                identifier = line[len(b"id: ") :].decode()
            elif line.startswith(b"data: "):
                before = identifier
                yield identifier, Step(**json.loads(line[len(b"data: ") :]))
            else:
                yield before, None
