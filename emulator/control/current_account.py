"""Whose account the present work is for: what a test asked to go wrong, or the time that it set, is of one account.

Every request, socket and look at a sandbox says so once; whatever it starts inherits it (a context variable does).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

#: Stands for every account, where one may be named.
ALL_ACCOUNTS = "*"

_ACCOUNT: ContextVar[str] = ContextVar("caged_account", default="")


def current() -> str:
    """The id of that account; empty outside of any."""
    return _ACCOUNT.get()


def act_for(account_id: str) -> None:
    """From here on, in this task."""
    _ACCOUNT.set(account_id)


@contextmanager
def acting_for(account_id: str) -> Iterator[None]:
    token = _ACCOUNT.set(account_id)
    try:
        yield
    finally:
        _ACCOUNT.reset(token)


class Control(Protocol):
    """A fault, a stub or a reply."""

    account: str


C = TypeVar("C", bound=Control)


def in_order(controls: Iterable[C], account: str) -> list[C]:
    """Those that apply to an account, in the order in which they are tried: first its own, then those of every account
    (`*`), each in the order in which they were added. For `*`: the latter only."""
    given = list(controls)
    own = [one for one in given if one.account == account]
    return own if account == ALL_ACCOUNTS else own + [one for one in given if one.account == ALL_ACCOUNTS]
