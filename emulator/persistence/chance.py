"""A seeded source of ids that goes on where an emulator before has stopped."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Optional

from ..control.chance import Chance

#: What one random() takes of the generator.
_BITS = 64
_STEP = 1 << 16


class _Counted(random.Random):
    """`drawn`: how many times `random` was called, which is once for each character of an id."""

    drawn = 0

    def random(self) -> float:
        self.drawn += 1
        return super().random()

    def skip(self, count: int) -> None:
        self.drawn += count
        while count > 0:
            self.getrandbits(_BITS * min(count, _STEP))
            count -= _STEP


class KeptChance(Chance):
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
