"""Collecting the calls about the emulator itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from ...control.current_account import ALL_ACCOUNTS
from ...platform.errors import invalid
from ...store import AccountRecord
from ..operation import Body, Handler, Operations

PREFIX = "/_emulator"


class AdminOperations(Operations):
    def call(
        self,
        method: str,
        path: str,
        name: str,
        body: Optional[type[Body]] = None,
        *,
        reply: Any = None,
        status: int = 0,
        query: Optional[Mapping[str, type]] = None,
        errors: Sequence[int] = (),
        media: str = "application/octet-stream",
        upload: str = "",
        most_bytes: int = 0,
    ) -> Callable[[Handler], Handler]:
        """`path` is below PREFIX, `name` below `emulator.`; an account can be named everywhere."""
        return self.add(
            method,
            f"{PREFIX}{path}",
            f"emulator.{name}",
            body,
            reply=reply,
            status=status,
            query={"account": str, **(query or {})},
            errors=[404, *errors],
            media=media,
            admin=True,
            upload=upload,
            most_bytes=most_bytes,
        )


def require_single(account: AccountRecord) -> AccountRecord:
    """The account, or 400 where a call for one account was made for all."""
    if account.id == ALL_ACCOUNTS:
        raise invalid("account: this call is about one account; name its id, or leave it out for the first")
    return account
