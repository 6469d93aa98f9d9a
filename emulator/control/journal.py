"""What was asked of the emulator: one entry per request, the newest ones, with what was dubious about it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Optional


@dataclass
class Entry:
    """`operation` is the resource and call, e.g. `sandboxes.exec`. `warnings`: what was accepted though a client
    should not rely on it, such as an unknown key."""

    at: str
    method: str
    path: str
    operation: str
    account: Optional[str] = None
    status: int = 0
    warnings: list[str] = field(default_factory=list)


class Journal:
    def __init__(self, keep: int = 10_000) -> None:
        self._entries: deque[Entry] = deque(maxlen=keep)

    def add(self, entry: Entry) -> Entry:
        self._entries.append(entry)
        return entry

    def entries(self) -> tuple[Entry, ...]:
        """Oldest first."""
        return tuple(self._entries)
