"""The account for which the present work is done: its faults, its time and its lines of the log apply; and the owner
of the controls that it adds.

It is set once for each request, socket or scheduled piece of work; tasks that it starts inherit the context variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: All accounts, in the place of an account's id.
ALL_ACCOUNTS = "*"

#: The header of an admin call with the owner of the controls that it adds for all accounts, and the environment
#: variable from which clients take it.
OWNER_HEADER = "Caged-Owner"
OWNER_VARIABLE = "CAGED_EMULATOR_OWNER"

_ACCOUNT: ContextVar[str] = ContextVar("caged_account", default="")
_OWNER: ContextVar[str] = ContextVar("caged_owner", default="")


def current() -> str:
    """The id of the account; empty where the work is for none."""
    return _ACCOUNT.get()


def act_for(account_id: str) -> None:
    """Set the account for the rest of this task."""
    _ACCOUNT.set(account_id)


def current_owner() -> str:
    """The owner of the controls that the present call adds, as its client names it; empty where it names none."""
    return _OWNER.get()


def set_owner(owner: str) -> None:
    """Set the owner for the rest of this task."""
    _OWNER.set(owner)


@contextmanager
def acting_for(account_id: str) -> Iterator[None]:
    """Set the account for a block."""
    token = _ACCOUNT.set(account_id)
    try:
        yield
    finally:
        _ACCOUNT.reset(token)
