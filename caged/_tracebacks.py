"""Short tracebacks: the traceback of an error ends at the user's own line, not inside the SDK.

A public call goes through a wrapper, the only frame of the SDK that a traceback shows. pytest hides it, too
(``__tracebackhide__``), so that a failure report and ``--pdb`` end at the line that made the call.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any, Callable, TypeVar

from ._errors import CagedError

C = TypeVar("C", bound=type)

_SPECIAL = frozenset({"__init__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__next__", "__anext__"})


def short_tracebacks(cls: C) -> C:
    """Wrap every public method that a class defines itself."""
    for name, value in list(vars(cls).items()):
        if inspect.isfunction(value) and (name in _SPECIAL or not name.startswith("_")):
            setattr(cls, name, wrap(value))
    return cls


def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, of the same kind; a `CagedError` that leaves it has no frames of what it called."""
    if inspect.iscoroutinefunction(function):
        return _coroutine_wrapper(function)
    if inspect.isasyncgenfunction(function):
        return _async_generator_wrapper(function)
    if inspect.isgeneratorfunction(function):
        return _generator_wrapper(function)
    return _plain_wrapper(function)


def _plain_wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except CagedError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error)

    return call


def _coroutine_wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return await function(*args, **kwargs)
        except CagedError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error)

    return call


def _generator_wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return (yield from function(*args, **kwargs))
        except CagedError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error)

    return call


def _async_generator_wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        items = function(*args, **kwargs)
        try:
            async for item in items:
                yield item
        except CagedError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error)
        finally:
            await items.aclose()  # a loop that was left early ends the generator here, not at its collection

    return call
