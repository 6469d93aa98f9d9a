"""The base class of `Emulator` (in this process) and `RemoteEmulator` (in another one), and the views of its accounts.

Both are in one module because each returns the other: `emulator.for_account(id)` a view, `view.emulator` the emulator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Union
from urllib.parse import quote

from ..control.identifiers import IdOrObject, id_of
from ..control.values import check_int
from .admin_client import AdminClient
from .archives import OnProgress
from .controls import Controls
from .transport import AdminRequestError, EmulatorError

if TYPE_CHECKING:
    from caged import AsyncCaged, Caged


@dataclass(frozen=True)
class AccountInfo:
    """An account on an emulator, isolated from the others.

    Attributes:
        id: The account's id.
        api_key: A full API key of it; empty if it has none left.
    """

    id: str
    api_key: str


class AccountView(Controls):
    """The controls of one account, which never changes: `emulator.for_account(id)`, or
    `with emulator.account() as view:`. Threads may use several views of one emulator at the same time.

    Attributes:
        id: The account's id.
        api_key: A full API key of it, as of when the view was made; empty if it had none left.
        emulator: The emulator that the account is on.
    """

    __slots__ = ("_account", "_client", "_emulator")

    def __init__(self, emulator: BaseEmulator, account: AccountInfo) -> None:
        self._emulator = emulator
        self._account = account
        self._client = emulator._admin.scoped(account.id, is_confined=True)

    @property
    def _admin(self) -> AdminClient:
        return self._client

    @property
    def id(self) -> str:
        """The account's id."""
        return self._account.id

    @property
    def api_key(self) -> str:
        """A full API key of the account, as of when the view was made."""
        return self._account.api_key

    @property
    def base_url(self) -> str:
        """The URL of the emulator."""
        return self._emulator.base_url

    @property
    def emulator(self) -> BaseEmulator:
        """The emulator as a whole."""
        return self._emulator

    def export(self, path: Union[str, os.PathLike[str]]) -> None:
        """Write the account (keys, sandboxes with their files, snapshots, histories) to one `.tar.gz`, as
        `Emulator.export` does.

        Args:
            path: The file to write.

        Raises:
            ValueError: The account cannot be exported; the text says why.
            OSError: `path` cannot be written.
        """
        self._emulator.export(path, account=self.id)

    def log_tail(self, last: int = 20) -> list[str]:
        """Get the newest lines of the emulator's log about this account and about the emulator itself, oldest first.

        Args:
            last: Only the newest so many; at least 1.
        """
        return list(self._admin.call("GET", "/log", query={"last": last})["lines"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} on {self._admin.url}>"

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


class BaseEmulator(Controls):
    """A whole emulator: the controls of its first account, and all accounts.

    For another account, use `for_account` or `account`; a single call may say `account=`: an id, or `"*"` for all.
    """

    # --- the emulator itself

    @property
    def admin_key(self) -> str:
        """The key of the admin API. Keys of accounts are not valid there, and this key is valid nowhere else."""
        raise NotImplementedError

    @property
    def isolation(self) -> str:
        """The isolation level in use."""
        raise NotImplementedError

    @property
    def isolation_refused(self) -> list[str]:
        """The stronger isolation levels that do not work on the emulator's machine, each with the reason."""
        raise NotImplementedError

    def log_tail(self, last: int = 20) -> list[str]:
        """Get the newest lines of the emulator's log, oldest first.

        Args:
            last: Only the newest so many; at least 1.
        """
        raise NotImplementedError

    def ui_link(self) -> str:
        """Create a link that opens the inspector in a browser on the emulator's machine.

        Returns:
            The link. It logs in once, within 10 minutes, and is a secret until then.

        Raises:
            EmulatorError: The emulator does not listen on the loopback address.
        """
        return str(self._admin.call("POST", "/inspector/links", account="*")["url"])

    # --- clients

    def client(self, api_key: Optional[str] = None, **options: Any) -> Caged:
        """Create a client of the first account. Close it, or use it in a `with` statement.

        Args:
            api_key: The key of another account.
            options: Those of `Caged`.
        """
        self._note_client("client()", api_key)
        return super().client(api_key, **options)

    def async_client(self, api_key: Optional[str] = None, **options: Any) -> AsyncCaged:
        """Create an asynchronous client of the first account.

        Args:
            api_key: The key of another account.
            options: Those of `AsyncCaged`.
        """
        self._note_client("async_client()", api_key)
        return super().async_client(api_key, **options)

    def _note_client(self, name: str, api_key: Optional[str]) -> None:
        if api_key is None:
            self._admin.notes.note_call_without_account(name)

    # --- accounts

    def for_account(self, account: IdOrObject) -> AccountView:
        """Get the controls of one account.

        Args:
            account: Its id, or an object with one.

        Raises:
            EmulatorError: There is no such account.
            ValueError: `"*"`, which stands for all accounts, or something that is not an id.
        """
        id = id_of(account)
        if id == "*":
            raise ValueError('for_account: a view is of one account; for all of them, pass account="*" to each call')
        if not isinstance(id, str) or not id:
            raise ValueError(f"for_account: needs an account or its id, not {account!r}")
        try:
            answer = self._admin.call("GET", f"/accounts/{quote(id, safe='')}", account="*")
        except AdminRequestError as error:
            if error.status != 404:
                raise
            hint = "accounts() lists the existing ones, create_account() creates one"
            raise EmulatorError(f"there is no account {id} on this emulator; {hint}") from None
        return AccountView(self, AccountInfo(answer["id"], answer["api_key"]))

    @contextmanager
    def account(self, name: str = "test", *, allow_unused: bool = False) -> Iterator[AccountView]:
        """Create an account for a `with` block, which gets its controls, and delete it afterwards with everything in
        it.

        Args:
            name: The account's name.
            allow_unused: Do not report faults, stubs and agents' replies that were never used.

        Raises:
            AssertionError: The block ended without an exception, and such controls were never used.
            CallbackError: It ended without an exception, and a function of a stub or reply had raised one.
        """
        view = AccountView(self, self.create_account(name))
        self._admin.notes.shared.created_accounts.pop(view.id, None)  # this block deletes it
        unused: list[str] = []
        try:
            yield view
            unused = self._failures_of(view, allow_unused)
        except BaseException:
            self._discard(view, failed=True)
            raise
        self._discard(view, failed=False)
        if unused:
            raise AssertionError("\n".join(unused))

    @staticmethod
    def _failures_of(view: AccountView, allow_unused: bool) -> list[str]:
        try:
            view.raise_callback_errors()
            return [] if allow_unused else view.unused()
        except AdminRequestError as error:
            if error.status != 404:
                raise
            return []  # the block has deleted the account, with its controls

    def _discard(self, view: AccountView, failed: bool) -> None:
        """Delete the account of a view. After a failure, errors of a stopped emulator must not replace that failure."""
        try:
            try:
                view.remove_shared_controls()
            finally:
                self.remove_account(view.id)
        except EmulatorError:
            if not failed:
                raise

    def accounts(self, *, last: Optional[int] = None) -> list[AccountInfo]:
        """List the accounts of the emulator, oldest first.

        Args:
            last: Only the newest so many.

        Raises:
            ValueError, TypeError: `last` is not a whole number of at least 1.
        """
        if last is not None:
            check_int("last", last)
        found = self._admin.call("GET", "/accounts", account="*", query={"last": last})
        return [AccountInfo(one["id"], one["api_key"]) for one in found]

    def create_account(self, name: str = "test", *, record_file_changes: bool = False) -> AccountInfo:
        """Create an account with a full key of its own.

        Args:
            name: The account's name.
            record_file_changes: As `journal.record_file_changes` of the account does.
        """
        options = {"record_file_changes": True} if record_file_changes else {}
        answer = self._admin.call("POST", "/accounts", {"name": name, **options}, account="*")
        self._admin.notes.shared.created_accounts[answer["id"]] = None
        return AccountInfo(answer["id"], answer["api_key"])

    def remove_account(self, account_id: IdOrObject) -> None:
        """Remove an account with everything in it. Does nothing if it does not exist any more.

        Args:
            account_id: The account, or its id.

        Raises:
            TypeError: Neither an account nor an id.
            ValueError: `"*"`, which stands for all accounts.
        """
        if account_id is None or not isinstance(id_of(account_id), str):
            raise TypeError(f"account_id: must be an account or its id, not {type(account_id).__name__}")
        notes = self._admin.notes.shared
        notes.before_deletion_of(str(id_of(account_id)))
        try:
            self._admin.call("DELETE", f"/accounts/{id_of(account_id)}", account="*")
        except AdminRequestError as error:
            if error.status != 404:
                raise
        notes.forget(str(id_of(account_id)))

    def key_for(self, sandbox: str) -> str:
        """Get a full API key of the account that a sandbox belongs to.

        Args:
            sandbox: The sandbox's id.

        Raises:
            EmulatorError: There is no such sandbox.
        """
        for held in self.inventory.sandboxes(account="*"):
            if held.id == sandbox:
                return self.for_account(held.account).api_key
        raise EmulatorError(
            f"there is no sandbox {sandbox} on this emulator; inventory.sandboxes(account='*') lists those that exist"
        )

    # --- archives

    def export(
        self,
        path: Union[str, os.PathLike[str]],
        account: Optional[IdOrObject] = None,
        *,
        on_progress: Optional[OnProgress] = None,
    ) -> None:
        """Write accounts, keys, sandboxes with their files, snapshots and histories to one `.tar.gz`.

        The file contains secrets: only its owner can read it (mode 0600), also if it replaces another file. It is
        complete or does not exist.

        Args:
            path: The file to write.
            account: An id: that account; `"*"`: all accounts. The default is the account that this object is scoped
                to; all accounts where it is scoped to none.
            on_progress: Called with the number of bytes that were written so far, after each piece.

        Warns:
            UserWarning: For each sandbox that is left out because its files could not be saved; the text says why.

        Raises:
            ValueError: The archive cannot be made; the text says why.
            OSError: `path` cannot be written.
        """
        from ..persistence.archive_file import warn_of_missing_sandboxes
        from .archives import download

        target = Path(path)
        download(self._admin, target, self._admin.account_of_call(account) or "*", on_progress)
        warn_of_missing_sandboxes(target)

    def import_(self, path: Union[str, os.PathLike[str]], *, on_progress: Optional[OnProgress] = None) -> None:
        """Add what is in an archive that `export` has written, all of it or nothing.

        Its sandboxes are stopped; `resume` starts them. An account that exists on this emulator already, because the
        archive was imported before or comes from here, keeps its keys, settings and records, and gets what the archive
        has besides. A sandbox, snapshot, session, alert or notification whose id exists gets another id; the log of a
        sandbox says so.

        Args:
            path: The archive.
            on_progress: Called with the number of bytes that were read so far, before each piece is sent.

        Raises:
            ValueError: The file does not exist, is not an archive of `export`, is damaged, or has an account whose id,
                e-mail address or key another account of this emulator has.
            OSError: The file cannot be read.
        """
        from .archives import upload

        upload(self._admin, path, on_progress)
