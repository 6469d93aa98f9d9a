"""Something that a test has asked for and that can be taken back: a fault, a stub, a reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Optional, TypeVar

from .link import EmulatorError, Link, Refused

A = TypeVar("A", bound="Added")


@dataclass(frozen=True)
class Added:
    """In a `with` statement it is removed at the end, and one that was never met fails there (AssertionError), unless
    it is `optional`, or the block has failed by itself."""

    id: str
    _link: Link = field(repr=False, compare=False)

    @property
    def _path(self) -> str:
        raise NotImplementedError

    def _complaint(self) -> str:
        """What to say when it was never met; empty when it was, or need not be."""
        raise NotImplementedError

    def remove(self) -> None:
        """Calls go on without it. EmulatorError when it is gone already."""
        self._link.call("DELETE", self._path, account="*")

    def __enter__(self: A) -> A:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        _error: Optional[BaseException],
        _traceback: Optional[TracebackType],
    ) -> None:
        try:
            complaint = self._complaint()
            self.remove()
        except EmulatorError as error:
            if kind is not None or (isinstance(error, Refused) and error.status == 404):
                return  # removed in the block, by hand or with its account; or the block failed, and says why
            raise
        if kind is None and complaint:
            raise AssertionError(complaint)
