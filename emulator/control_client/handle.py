"""The handle of a control: a fault, a stub or a reply that was added and can be removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Optional, TypeVar

from .admin_client import AdminClient
from .callbacks import CallbackError, raise_errors
from .transport import AdminRequestError, EmulatorError

A = TypeVar("A", bound="Handle")


@dataclass(frozen=True)
class Handle:
    """The handle of a control that was added.

    In a `with` statement the control is removed at the end. Unless the block has failed by itself, the end of the
    statement raises AssertionError when the control was never used and is not `optional`, and CallbackError when its
    function raised an exception and does not have `allow_errors`.

    Attributes:
        id: The control's id.
    """

    id: str
    _admin: AdminClient = field(repr=False, compare=False)

    @property
    def _path(self) -> str:
        raise NotImplementedError

    def _complaint(self) -> str:
        """The message when it was never used; empty when it was, or is optional."""
        raise NotImplementedError

    def remove(self) -> None:
        """Remove the control.

        Raises:
            EmulatorError: It does not exist any more.
        """
        self._admin.call("DELETE", self._path, account="*")

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
            if kind is None and not (isinstance(error, AdminRequestError) and error.status == 404):
                raise
            complaint = ""  # the block has removed it, or its account; or the block failed, which is the error to show
        if kind is not None:
            return
        raise_errors(self._admin, control=self.id, account="*")
        if complaint:
            raise AssertionError(complaint)


class Handles(list[A]):
    """Handles of several controls, in the order in which they were added: a list, and a context manager like one of
    them."""

    def remove_all(self) -> None:
        """Remove all that still exist."""
        for one in self:
            try:
                one.remove()
            except AdminRequestError as error:
                if error.status != 404:
                    raise

    def __enter__(self) -> Handles[A]:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        """Leave each block; all are removed, also when one of them raises. Several failures are one exception."""
        failures: list[BaseException] = []
        for one in reversed(self):
            try:
                one.__exit__(kind, error, traceback)
            except (AssertionError, EmulatorError) as failure:
                failures.insert(0, failure)
        if failures:
            raise _joined(failures)


def _joined(failures: Sequence[BaseException]) -> BaseException:
    """One exception with the texts of all: an error of a function or of the emulator before unused controls."""
    errors = [one for one in failures if isinstance(one, EmulatorError)]
    first = errors[0] if errors else failures[0]
    if len(failures) == 1 or not isinstance(first, (AssertionError, CallbackError)):
        return first
    joined = type(first)("\n".join(str(one) for one in failures))
    joined.__cause__ = first.__cause__
    return joined
