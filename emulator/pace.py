"""Long work on the event loop, in pieces."""

from __future__ import annotations

import asyncio
import time

#: The loop is held for so long at most before others have their turn.
SECONDS = 0.005


class Pace:
    """Wait for it between the pieces of a long piece of work: others have their turn when it has taken SECONDS."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def __call__(self) -> None:
        if time.monotonic() - self._since > SECONDS:
            await asyncio.sleep(0)
            self._since = time.monotonic()
