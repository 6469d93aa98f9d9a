"""Base classes of what a `with` or `async with` block closes: the clients, and the sockets that they open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Optional, TypeVar

from ._tracebacks import short_tracebacks

C = TypeVar("C", bound="Closeable")
A = TypeVar("A", bound="AsyncCloseable")


@short_tracebacks
class Closeable(ABC):
    @abstractmethod
    def close(self) -> None: ...

    def _begin(self) -> None:  # noqa: B027 (most have nothing to do)
        """Prepare for a `with` block; exceptions are raised there."""

    def __enter__(self: C) -> C:
        self._begin()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]] = None,
        error: Optional[BaseException] = None,
        traceback: Optional[TracebackType] = None,
    ) -> None:
        self.close()


@short_tracebacks
class AsyncCloseable(ABC):
    @abstractmethod
    async def close(self) -> None: ...

    async def _begin(self) -> None:  # noqa: B027 (most have nothing to do)
        """Prepare for an `async with` block; exceptions are raised there."""

    async def __aenter__(self: A) -> A:
        await self._begin()
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]] = None,
        error: Optional[BaseException] = None,
        traceback: Optional[TracebackType] = None,
    ) -> None:
        await self.close()
