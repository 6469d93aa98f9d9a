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

    __slots__ = ("_account", "_double", "_scoped_link")

    def __init__(self, emulator: BaseEmulator, account: Account) -> None:
        self._double = emulator
        self._account = account
        self._scoped_link = emulator._link.scoped(account.id)

    @property
    def _link(self) -> AdminClient:
        return self._scoped_link

    @property
    def id(self) -> str:
        return self._account.id

    @property
    def api_key(self) -> str:
        return self._account.api_key

    @property
    def base_url(self) -> str:
        return self._double.base_url

    @property
    def emulator(self) -> BaseEmulator:
        return self._double

    def export(self, path: Union[str, os.PathLike[str]]) -> None:
        """Write the account (keys, sandboxes with their files, snapshots, histories) into one `.tar.gz`, as
        `Emulator.export` does.

        Raises:
            ValueError: it cannot be exported; the text says why.
            OSError: `path` cannot be written.
        """
        self._double.export(path, account=self.id)

    def log_tail(self, count: int = 20) -> list[str]:
        """The newest lines of the emulator's log that are about this account or about no account, oldest first."""
        return list(self._link.call("GET", "/log", query={"last": count})["lines"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} on {self._link.url}>"

    if not TYPE_CHECKING:  # a checker knows the names without, and reports the others

        def __getattr__(self, name: str) -> NoReturn:
            text = f"{type(self).__name__} has no attribute {name!r}"
            if not name.startswith("_") and hasattr(type(self._double), name):
                text += f"; it belongs to the emulator as a whole: use .emulator.{name}"
            raise AttributeError(text)

        def __setattr__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                object.__setattr__(self, name, value)
                return
            raise AttributeError(f"{name!r} of {type(self).__name__} cannot be set: a view is immutable")
