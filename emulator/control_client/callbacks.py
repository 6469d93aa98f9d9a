"""Exceptions of a test's own functions, reported to the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from ..control.identifiers import IdOrObject
from ..control.records import CallbackErrorRecord
from .admin_client import AdminClient
from .transport import EmulatorError


class CallbackError(EmulatorError):
    """A function that a test registered (of a stub, a program or an agent's reply) raised an exception. The text has
    its traceback; when the emulator is in this process, the exception itself is the cause."""


def list_errors(
    admin: AdminClient,
    *,
    control: Optional[IdOrObject] = None,
    sandbox: Optional[IdOrObject] = None,
    last: Optional[int] = None,
    account: Optional[IdOrObject] = None,
) -> list[CallbackErrorRecord]:
    """List the recorded errors, oldest first; see `Controls.callback_errors`. `control`: of one stub or reply."""
    query = {"control": control, "sandbox": sandbox, "last": last}
    return admin.records("/callback-errors", CallbackErrorRecord, account=account, query=query)


def describe_errors(errors: Sequence[CallbackErrorRecord]) -> str:
    """Return one text of all of them."""
    return "\n".join(str(one) for one in errors)


def raise_errors(admin: AdminClient, *, control: Optional[str] = None, account: Optional[IdOrObject] = None) -> None:
    """Raise and clear the recorded errors that were not allowed.

    Raises:
        CallbackError: There are some; its cause is the first of them, where that is known.
    """
    errors = [one for one in list_errors(admin, control=control, account=account) if not one.allowed]
    if not errors:
        return
    cause = _original(admin, errors[0])
    admin.call("DELETE", "/callback-errors", account=account, query={"control": control})
    raise CallbackError(describe_errors(errors)) from cause


def _original(admin: AdminClient, error: CallbackErrorRecord) -> Optional[BaseException]:
    try:
        platform: Any = admin.local("")
    except EmulatorError:
        return None
    for one in platform.callback_errors.list("*", error.control):
        if one.id == error.id:
            original: BaseException = one.original
            return original
    return None
