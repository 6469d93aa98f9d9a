"""Functions that a user registered, to be called when something happens."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any, Callable, Generic, TypeVar

from .._errors import CagedError

F = TypeVar("F", bound=Callable[..., Any])


class Handlers(Generic[F]):
    """Registered functions or coroutine functions, called in the order of their registration.

    Args:
        report: Called with a handler's exception; the remaining handlers still run.
    """

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._functions: list[F] = []
        self._report = report

    def __bool__(self) -> bool:
        return bool(self._functions)

    def add(self, function: F) -> None:
        if not callable(function):
            raise CagedError(f"a handler must be callable, not {type(function).__name__}")
        self._functions.append(function)

    async def call(self, *arguments: Any) -> None:
        """Call all of them, one after another, waiting for those that are coroutines."""
        for function in list(self._functions):
            waiting = self._call(function, arguments)
            if waiting is not None:
                await self._finish(waiting)

    def start(self, *arguments: Any) -> list[asyncio.Task[None]]:
        """Call all of them. Returns the tasks of those that are coroutines, without waiting for them."""
        called = [self._call(function, arguments) for function in list(self._functions)]
        return [asyncio.ensure_future(self._finish(waiting)) for waiting in called if waiting is not None]

    def _call(self, function: F, arguments: tuple[Any, ...]) -> Any:
        try:
            result = function(*arguments)
        except Exception as error:
            self._report(error)
            return None
        return result if inspect.isawaitable(result) else None

    async def _finish(self, waiting: Awaitable[Any]) -> None:
        try:
            await waiting
        except Exception as error:
            self._report(error)


def report_to_loop(problem: Exception) -> None:
    """Pass a handler's exception to the event loop's exception handler, which logs it."""
    context = {"message": "a handler of a Caged socket failed", "exception": problem}
    asyncio.get_running_loop().call_exception_handler(context)
