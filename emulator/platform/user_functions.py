"""Run functions that a test registered."""

from __future__ import annotations

import asyncio
import threading
from typing import Callable, Optional, TypeVar

from ..control.callbacks import CallbackRaised

T = TypeVar("T")


async def in_thread(call: Callable[[], T], name: str) -> T:
    """Run a function of a test in a thread of its own: it may block, and other threads are for files. When the caller
    is cancelled the thread goes on, and its result is dropped.

    Raises:
        CallbackRaised: The function raised; also for exceptions that are not an Exception, such as `pytest.fail`.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def deliver(result: Optional[T], error: Optional[CallbackRaised]) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result: Optional[T] = None
        failure: Optional[CallbackRaised] = None
        try:
            result = call()
        except BaseException as error:  # the outcomes of pytest are no Exceptions, and no future holds a StopIteration
            failure = CallbackRaised(error)
        try:
            loop.call_soon_threadsafe(deliver, result, failure)
        except RuntimeError:
            pass  # the loop is closed: the emulator has ended

    threading.Thread(target=work, name=name, daemon=True).start()
    return await outcome
