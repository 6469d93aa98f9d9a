"""What nobody may see of an account: the newest values of its sandboxes' secrets, as they stand in bodies."""

from __future__ import annotations

#: Every body is searched for each of them; a suite that makes up a secret for every sandbox must not slow down by it.
MOST = 500


class Hidden:
    def __init__(self) -> None:
        self._values: dict[bytes, None] = {}  # oldest first
        self._sorted: tuple[bytes, ...] = ()

    def add(self, value: bytes) -> None:
        """One that is known already becomes the newest."""
        known = self._values.pop(value, 0) is None
        self._values[value] = None
        if known:
            return
        if len(self._values) > MOST:
            del self._values[next(iter(self._values))]
        self._sorted = tuple(sorted(self._values, key=len, reverse=True))

    def __bool__(self) -> bool:
        return bool(self._sorted)

    @property
    def longest(self) -> int:
        return len(self._sorted[0]) if self._sorted else 0

    def masked(self, text: bytes) -> bytes:
        for value in self._sorted:  # the longest first: one may be part of another
            text = text.replace(value, b"***")
        return text
