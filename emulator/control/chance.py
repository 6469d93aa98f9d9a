"""The one source of randomness that a seed makes repeatable. Keys and signatures never come from here."""

from __future__ import annotations

import random
import string
from collections.abc import Container
from typing import Optional

_ALPHABET = string.ascii_lowercase + string.digits


class Chance:
    def __init__(self, seed: Optional[int] = None) -> None:
        self._random = random.Random(seed)

    def identifier(self, prefix: str, taken: Container[str] = ()) -> str:
        """`prefix` + `_` + 8 characters of [a-z0-9], not in `taken`."""
        while True:
            made = f"{prefix}_" + "".join(self._random.choices(_ALPHABET, k=8))
            if made not in taken:
                return made
