"""What an emulator in this process and one elsewhere have in common."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union
from urllib.parse import quote

from .controls import Controls
from .link import EmulatorError, Of, Refused, id_of
from .view import AccountView


@dataclass(frozen=True)
class Account:
    """An account on the emulator; it sees nothing of the others."""

    id: str
    api_key: str


class Double(Controls):
    """A whole emulator: the controls of its first account, and all accounts.

    For another account, use `for_account` or `account`; a single call may say `account=`: an id, or `"*"` for all.
    """

    # --- the emulator itself

    @property
    def admin_key(self) -> str:
        """The key of the emulator's own controls; an account's key does not work there, nor this one elsewhere."""
        raise NotImplementedError

    @property
    def isolation(self) -> str:
        """The isolation level in use."""
        raise NotImplementedError

    @property
    def isolation_refused(self) -> list[str]:
        """The stronger levels that were tried and do not work there, each with the reason."""
        raise NotImplementedError

    def log_tail(self, count: int = 20) -> list[str]:
        """The newest lines of the emulator's own log, oldest first."""
        raise NotImplementedError

    # --- accounts

    def for_account(self, account: Of) -> AccountView:
        """The controls of one account.

        Args:
            account: its id, or an object with one.

        Raises:
            EmulatorError: there is no such account.
            ValueError: `"*"`, which stands for all accounts, or something that is not an id.
        """
        id = id_of(account)
        if id == "*":
            raise ValueError('for_account: a view is of one account; for all of them, pass account="*" to each call')
        if not isinstance(id, str) or not id:
            raise ValueError(f"for_account: needs an account or its id, not {account!r}")
        try:
            answer = self._link.call("GET", f"/accounts/{quote(id, safe='')}", account="*")
        except Refused as error:
            if error.status != 404:
                raise
            hint = "accounts() lists those that there are, create_account() creates one"
            raise EmulatorError(f"there is no account {id} on this emulator; {hint}") from None
        return AccountView(self, Account(answer["id"], answer["api_key"]))

    def _for_account(self, account: Of) -> Controls:
        return self.for_account(account)

    @contextmanager
    def account(self, name: str = "test", *, allow_unused: bool = False) -> Iterator[AccountView]:
        """Create an account for a `with` block, which gets its controls, and delete it afterwards with everything in
        it.

        Args:
            name: the account's name.
            allow_unused: do not report faults, stubs and agents' replies that were never used.

        Raises:
            AssertionError: the block ended without an exception, and such controls were never used.
        """
        view = AccountView(self, self.create_account(name))
        unused: list[str] = []
        try:
            yield view
            unused = [] if allow_unused else self._unused_of(view)
        except BaseException:
            self._discard(view, failed=True)
            raise
        self._discard(view, failed=False)
        if unused:
            raise AssertionError("\n".join(unused))

    @staticmethod
    def _unused_of(view: AccountView) -> list[str]:
        try:
            return view.unused()
        except Refused as error:
            if error.status != 404:
                raise
            return []  # the block has deleted the account, with its controls

    def _discard(self, view: AccountView, failed: bool) -> None:
        """Delete the account of a view. After a failure, an emulator that is gone too must not hide that."""
        try:
            try:
                view.take_back()
            finally:
                self.delete_account(view.id)
        except EmulatorError:
            if not failed:
                raise

    def accounts(self) -> list[Account]:
        """All accounts of the emulator, oldest first. `api_key` is empty where no full key is left."""
        return [Account(one["id"], one["api_key"]) for one in self._link.call("GET", "/accounts", account="*")]

    def create_account(self, name: str = "test") -> Account:
        """Create an account with a full key of its own."""
        answer = self._link.call("POST", "/accounts", {"name": name}, account="*")
        return Account(answer["id"], answer["api_key"])

    def delete_account(self, account_id: Of) -> None:
        """Delete an account with everything in it. Harmless when it is gone already."""
        try:
            self._link.call("DELETE", f"/accounts/{id_of(account_id)}", account="*")
        except Refused as error:
            if error.status != 404:
                raise

    def key_for(self, sandbox: str) -> str:
        """A full API key of the account that a sandbox belongs to."""
        for held in self.inventory.sandboxes(account="*"):
            if held.id == sandbox:
                return self.for_account(held.account).api_key
        raise EmulatorError(f"there is no sandbox {sandbox} on this emulator")

    # --- archives

    def export(self, path: Union[str, os.PathLike[str]], account: Optional[Of] = None) -> None:
        """Writes everything (accounts, keys, sandboxes with their files, snapshots, histories), or all of one account
        by its id, into one `.tar.gz`, which appears at `path` complete or not at all. It holds secrets. ValueError says
        why it cannot be."""
        target = Path(path)
        half = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with open(half, "xb") as file, self._link.stream("GET", "/export", account=account or "*") as response:
                for piece in response.iter_bytes():
                    file.write(piece)
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)

    def import_(self, path: Union[str, os.PathLike[str]]) -> None:
        """Adds what `export` has written, here or elsewhere; its sandboxes are stopped, and `resume` starts them.
        ValueError says why it cannot be, for example because an id is here already; nothing has changed then."""
        with open(path, "rb") as file:
            self._link.send("POST", "/import", account="*", content=iter(lambda: file.read(1 << 20), b""))
