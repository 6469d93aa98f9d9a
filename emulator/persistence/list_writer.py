"""Logs and histories of events in the database: lists that are extended at one end and cut at the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from .write_queue import WriteQueue


@dataclass
class ListPosition:
    """The part of a list that is in the database.

    Attributes:
        newest: The newest item.
        number: The number of the newest item, counted from 1.
        first: The number of the oldest item that is in the database.
    """

    newest: object = None
    number: int = 0
    first: int = 1


def log_name(sandbox_id: str) -> str:
    """Return the name of a sandbox's log."""
    return f"log {sandbox_id}"


def events_name(identifier: str) -> str:
    """Return the name of the history of a sandbox, a session or an account."""
    return f"events {identifier}"


class ListWriter:
    """Writes the new items of lists. What it costs depends on their number, not on the length of the lists.

    Args:
        queue: Receives the statements.
        positions: The lists that are in the database, by name.
    """

    def __init__(self, queue: WriteQueue, positions: Optional[dict[str, ListPosition]] = None) -> None:
        self._queue = queue
        self._positions = positions if positions is not None else {}

    def __contains__(self, name: str) -> bool:
        return name in self._positions

    def update(self, name: str, items: Sequence[Any], encode: Callable[[Any], Any]) -> bool:
        """Write the items behind the newest one that is in the database, and delete those that are gone.

        Args:
            name: The name of the list.
            items: All items, oldest first. An item is recognised by its identity.
            encode: Returns the JSON value of an item.

        Returns:
            Whether there were new items.
        """
        if not items:
            return False
        position = self._positions.get(name)
        if position is None:
            position = self._positions[name] = ListPosition()
        if items[-1] is position.newest:
            return False
        new_items: list[Any] = []
        for item in reversed(items):
            if item is position.newest:
                break
            new_items.append(item)
        for item in reversed(new_items):
            position.number += 1
            self._queue.put_entry(name, position.number, encode(item))
        position.newest = new_items[0]
        first = position.number - len(items) + 1
        if first > position.first:
            self._queue.delete_entries_below(name, first)
            position.first = first
        return True

    def delete(self, name: str) -> bool:
        """Delete a list. Returns whether it was in the database."""
        if self._positions.pop(name, None) is None:
            return False
        self._queue.delete_list(name)
        return True
