"""Randomness that a seed makes repeatable. Keys and signatures never come from here."""

from __future__ import annotations

import random
import string
from collections.abc import Container
from typing import Optional

_ALPHABET = string.ascii_lowercase + string.digits


class Randomness:
    def __init__(self, seed: Optional[int] = None) -> None:
        self._seed = seed
        self._streams: dict[str, random.Random] = {}

    def identifier(self, prefix: str, taken: Container[str] = ()) -> str:
        """Make an id: `prefix`, `_` and 8 characters of [a-z0-9]; none of `taken`."""
        stream = self._stream(prefix)
        while True:
            made = f"{prefix}_" + "".join(stream.choices(_ALPHABET, k=8))
            if made not in taken:
                return made

    def number(self, purpose: str) -> float:
        """Draw a number that is at least 0 and below 1."""
        return self._stream(purpose).random()

    def bits(self, purpose: str, count: int) -> int:
        return self._stream(purpose).getrandbits(count)

    def _stream(self, prefix: str) -> random.Random:
        """One stream for each prefix, so that the number of events does not change the next sandbox's id."""
        if prefix not in self._streams:
            self._streams[prefix] = random.Random(None if self._seed is None else f"{self._seed} {prefix}")
        return self._streams[prefix]
