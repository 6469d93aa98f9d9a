"""A seeded source of ids that goes on where an emulator before has stopped."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Optional

from ..control.randomness import Randomness

_WORD = 32
_STEP = 1 << 16


class _Counted(random.Random):
    """`drawn`: how many words of 32 bits were taken of the generator."""

    drawn = 0

    def random(self) -> float:
        self.drawn += 2
        return super().random()

    def getrandbits(self, k: int) -> int:
        self.drawn += -(-k // _WORD)
        return super().getrandbits(k)

    def skip(self, words: int) -> None:
        while self.drawn < words:
            self.getrandbits(_WORD * min(words - self.drawn, _STEP))


class SavedRandomness(Randomness):
    """`before`: what `drawn` was then. A state that was begun with another seed begins anew with this one."""

    def __init__(self, seed: int, before: Optional[Mapping[str, Any]]) -> None:
        super().__init__(seed)
        self._kept_seed = seed
        self._counted: dict[str, _Counted] = {}
        self._before: Mapping[str, int] = before["drawn"] if before and before["seed"] == seed else {}

    def _stream(self, prefix: str) -> random.Random:
        if prefix not in self._counted:
            stream = self._streams[prefix] = self._counted[prefix] = _Counted(f"{self._kept_seed} {prefix}")
            stream.skip(self._before.get(prefix, 0))
        return self._counted[prefix]

    def drawn(self) -> dict[str, Any]:
        """By prefix, of this run and those before."""
        return {
            "seed": self._kept_seed,
            "drawn": {**self._before, **{prefix: stream.drawn for prefix, stream in self._counted.items()}},
        }
