"""One account of an emulator, with the controls for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn, Union

from .admin_client import AdminClient
from .controls import Controls

if TYPE_CHECKING:
    from .base_emulator import Account, BaseEmulator


class AccountView(Controls):
    """The controls of one account, which never changes: `emulator.for_account(id)`, or
    `with emulator.account() as view:`. Threads may use several views of one emulator at the same time.

    Attributes:
        id: the account's id.
        api_key: a full API key of it, as of when the view was made; empty if it had none left.
        emulator: the emulator that the account is on.
    """

    __slots__ = ("_account", "_client", "_emulator")

    def __init__(self, emulator: BaseEmulator, account: Account) -> None:
        self._emulator = emulator
        self._account = account
        self._client = emulator._link.scoped(account.id)

    @property
    def _link(self) -> AdminClient:
        return self._client

    @property
    def id(self) -> str:
        return self._account.id

    @property
    def api_key(self) -> str:
        return self._account.api_key

    @property
    def base_url(self) -> str:
        return self._emulator.base_url

    @property
    def emulator(self) -> BaseEmulator:
        return self._emulator

    def export(self, path: Union[str, os.PathLike[str]]) -> None:
        """Write the account (keys, sandboxes with their files, snapshots, histories) to one `.tar.gz`, as
        `Emulator.export` does.

        Args:
            path: the file to write.

        Raises:
            ValueError: the account cannot be exported; the text says why.
            OSError: `path` cannot be written.
        """
        self._emulator.export(path, account=self.id)

    def log_tail(self, count: int = 20) -> list[str]:
        """Get the newest lines of the emulator's log about this account and about the emulator itself, oldest first.

        Args:
            count: how many at most.
        """
        return list(self._link.call("GET", "/log", query={"last": count})["lines"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} on {self._link.url}>"

    if not TYPE_CHECKING:  # with these, a type checker would accept every name

        def __getattr__(self, name: str) -> NoReturn:
            text = f"{type(self).__name__} has no attribute {name!r}"
            if not name.startswith("_") and hasattr(type(self._emulator), name):
                text += f"; it belongs to the emulator as a whole: use .emulator.{name}"
            raise AttributeError(text)

        def __setattr__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                object.__setattr__(self, name, value)
                return
            raise AttributeError(f"{name!r} of {type(self).__name__} cannot be set: a view is immutable")
