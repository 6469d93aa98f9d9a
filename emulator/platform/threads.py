"""Running what a test has handed in."""

from __future__ import annotations

import asyncio
import threading
from typing import Callable, Optional, TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[[], T], name: str) -> T:
    """The result of a function that may take its time, in a thread of its own: the loop's pool is for files. Nobody
    waits for the thread when the caller is cancelled."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def deliver(result: Optional[T], error: Optional[Exception]) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result: Optional[T] = None
        failure: Optional[Exception] = None
        try:
            result = call()
        except StopIteration as error:  # which no future can hold
            failure = RuntimeError(f"StopIteration: {error}")
        except Exception as error:
            failure = error
        try:
            loop.call_soon_threadsafe(deliver, result, failure)
        except RuntimeError:
            pass  # the loop is closed: the emulator has ended

    threading.Thread(target=work, name=name, daemon=True).start()
    return await outcome
