"""A seeded source of ids that continues where the previous emulator with the state has stopped."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Optional

from ..control.randomness import Randomness

_WORD = 32
_STEP = 1 << 16


class _CountingRandom(random.Random):
    """A generator that counts.

    Attributes:
        drawn: The number of 32-bit words that were drawn.
    """

    drawn = 0

    def random(self) -> float:
        self.drawn += 2
        return super().random()

    def getrandbits(self, k: int) -> int:
        self.drawn += -(-k // _WORD)
        return super().getrandbits(k)

    def skip(self, words: int) -> None:
        """Draw and discard words until this many were drawn."""
        while self.drawn < words:
            self.getrandbits(_WORD * min(words - self.drawn, _STEP))


class SavedRandomness(Randomness):
    """Streams of random numbers that skip what was drawn before.

    Args:
        seed: The seed.
        before: The result of `drawn` of the previous emulator; ignored if that had another seed.
    """

    def __init__(self, seed: int, before: Optional[Mapping[str, Any]]) -> None:
        super().__init__(seed)
        self._saved_seed = seed
        self._generators: dict[str, _CountingRandom] = {}
        self._before: Mapping[str, int] = before["drawn"] if before and before["seed"] == seed else {}

    def _stream(self, prefix: str) -> random.Random:
        if prefix not in self._generators:
            stream = self._streams[prefix] = self._generators[prefix] = _CountingRandom(f"{self._saved_seed} {prefix}")
            stream.skip(self._before.get(prefix, 0))
        return self._generators[prefix]

    def drawn(self) -> dict[str, Any]:
        """Return the seed, and how many words were drawn in total, by the prefix of ids."""
        return {
            "seed": self._saved_seed,
            "drawn": {**self._before, **{prefix: stream.drawn for prefix, stream in self._generators.items()}},
        }
