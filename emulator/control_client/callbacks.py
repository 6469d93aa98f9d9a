"""Exceptions of a test's own functions, reported to the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .admin_client import AdminClient
from .transport import EmulatorError, IdOrObject


@dataclass(frozen=True)
class CallbackErrorInfo:
    """An exception that the function of a stub or a reply raised, or a wrong value that it returned, or a reply's file
    that could not be written.

    Attributes:
        control: Id of the stub or reply.
        described: The stub or reply, in one line.
        error: The last line of the traceback.
        allowed: It was added with `allow_errors=True`.
    """

    id: str
    at: str
    account: str
    sandbox: str
    control: str
    described: str
    error: str
    traceback: str
    allowed: bool

    def __str__(self) -> str:
        return f"{self.described} failed in {self.sandbox}:\n{self.traceback}"


class CallbackError(EmulatorError):
    """A function that a test registered (of a stub, a program or an agent's reply) raised an exception. The text has
    its traceback; when the emulator is in this process, the exception itself is the cause."""


def listed(
    link: AdminClient, *, control: Optional[str] = None, account: Optional[IdOrObject] = None
) -> list[CallbackErrorInfo]:
    found = link.call("GET", "/callback-errors", account=account, query={"control": control})
    return [CallbackErrorInfo(**one) for one in found]


def described(errors: Sequence[CallbackErrorInfo]) -> str:
    """One text of all of them."""
    return "\n".join(str(one) for one in errors)


def raise_errors(link: AdminClient, *, control: Optional[str] = None, account: Optional[IdOrObject] = None) -> None:
    """Raise and clear the recorded errors that were not allowed.

    Raises:
        CallbackError: There are some; its cause is the first of them, where that is known.
    """
    errors = [one for one in listed(link, control=control, account=account) if not one.allowed]
    if not errors:
        return
    cause = _original(link, errors[0])
    link.call("DELETE", "/callback-errors", account=account, query={"control": control})
    raise CallbackError(described(errors)) from cause


def _original(link: AdminClient, error: CallbackErrorInfo) -> Optional[BaseException]:
    try:
        platform: Any = link.local("")
    except EmulatorError:
        return None
    for one in platform.callback_errors.of("*", error.control):
        if one.id == error.id:
            original: BaseException = one.original
            return original
    return None
