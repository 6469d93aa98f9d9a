"""Closing an AsyncCaged from a fixture, whatever event loop runs."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caged import AsyncCaged


def close_async(client: AsyncCaged) -> None:
    """Close the client in a new event loop; in a thread of its own where a loop is running."""

    def run() -> None:
        # Not asyncio.run: it would take away the event loop that the thread has set.
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(client.close())
        finally:
            loop.close()

    if asyncio._get_running_loop() is None:
        run()
    else:  # a runner that tears fixtures down inside its loop
        thread = threading.Thread(target=run, name="caged-close")
        thread.start()
        thread.join(10)
