"""What was done through the controls of an emulator, for cleaning up and for reports at the end of a test."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional

from caged._frames import Place, user_line

#: Where a POST adds a control with an id, which stays until it is deleted.
_COLLECTIONS = re.compile("/faults|/commands|/repos|/prepared|/agents/[^/]+/replies")
#: What the calls of an account's controls and queries are called in Python, by the beginning of their path.
_NAMES = {
    "/agents": "agent()",
    "/callback-errors": "callback_errors()",
    "/clock": "clock",
    "/commands": "commands",
    "/device-login": "allow_device_login()",
    "/faults": "faults",
    "/journal": "journal",
    "/prepared": "prepare()",
    "/repos": "repos",
    "/reset": "reset()",
    "/reset-controls": "reset_controls()",
    "/sandboxes": "inventory",
    "/scenario": "load_scenario()",
    "/snapshots": "inventory",
    "/sockets": "inventory",
}
#: Controls of which the line that added them is known; the oldest are forgotten first.
SOURCES = 10_000


class SharedNotes:
    """Notes of all clients that share a transport.

    Attributes:
        created_accounts: Ids of accounts that were created over the transport, and that no `with` block deletes.
        sources: Where each control was added: the file and the line of the caller, by the control's id.
        before_deletion: Functions that are called with the id of an account before it is deleted over the transport.
    """

    def __init__(self) -> None:
        self.created_accounts: dict[str, None] = {}
        self.sources: dict[str, Place] = {}
        self.before_deletion: list[Callable[[str], None]] = []
        self._callbacks_possible = threading.Event()
        self._by_account: dict[str, CallNotes] = {}

    @property
    def callbacks_possible(self) -> bool:
        """Whether a stub or reply was added over the transport, whose function or file may have failed since."""
        return self._callbacks_possible.is_set()

    def of_account(self, account: str) -> CallNotes:
        """Return the notes for clients that are scoped to an account."""
        return self._by_account.setdefault(account, CallNotes(account, self))

    def note_callback(self) -> None:
        """Note that a stub or reply is added, which may have a function."""
        self._callbacks_possible.set()

    def note_source(self, control: str) -> None:
        """Note the caller's line as the place where a control was added."""
        place, _called, _nearest = user_line()
        if place is None:
            return
        self.sources[control] = place
        if len(self.sources) > SOURCES:
            self.sources.pop(next(iter(self.sources)), None)

    def before_deletion_of(self, account: str) -> None:
        """Note that an account is deleted now, and call the functions that are called before that."""
        self.created_accounts.pop(account, None)
        for function in tuple(self.before_deletion):
            function(account)

    def forget(self, account: str) -> None:
        """Forget the notes on an account that was deleted."""
        self._by_account.pop(account, None)


class CallNotes:
    """Notes on the successful calls of the clients that share a transport and are scoped to the same account.

    Args:
        account: The account that the clients are scoped to; None: the emulator's first.
        shared: The notes of all clients of the transport; new ones by default.

    Attributes:
        shared: The notes of all clients of the transport.
        added_for_all_accounts: Controls that were added with `account="*"`: paths to DELETE, oldest first.
        changed: Whether something was changed in the account.
        calls_without_account: Names of the controls and queries of the account that were called without `account=`.
    """

    def __init__(self, account: Optional[str] = None, shared: Optional[SharedNotes] = None) -> None:
        self._account = account
        self.shared = shared or SharedNotes()
        self.added_for_all_accounts: dict[str, None] = {}
        self.changed = False
        self.calls_without_account: dict[str, None] = {}
        self._is_paused = False

    def note(self, method: str, path: str, account: Optional[str], answer: Any) -> None:
        """Note a call that succeeded.

        Args:
            path: Below the admin prefix.
            account: The account that the call was for; None: the emulator's first.
            answer: The decoded body of the answer.
        """
        if account == self._account:
            self.note_call_without_account(_NAMES.get(f"/{path.split('/')[1]}", ""))
        if method != "POST":
            return
        if path.startswith(("/commands", "/agents/", "/scenario")):
            self.shared.note_callback()
        if account == self._account:
            self.changed = True
        if account == "*":
            self._note_for_all_accounts(path, answer)
        if _COLLECTIONS.fullmatch(path) and isinstance(answer, dict):
            self.shared.note_source(str(answer.get("id", "")))

    def note_call_without_account(self, name: str) -> None:
        """Note the use of a control or query without `account=`.

        Args:
            name: Its name in Python; empty for another call.
        """
        if name and not self._is_paused:
            self.calls_without_account[name] = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not add to `calls_without_account` in a block."""
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    def _note_for_all_accounts(self, path: str, answer: Any) -> None:
        added = self.added_for_all_accounts
        if path.startswith("/clock/"):
            added["/clock"] = None
        elif path == "/scenario":
            added.update(dict.fromkeys(answer["added"]))
        elif _COLLECTIONS.fullmatch(path) and isinstance(answer, dict):
            # The call may have named the agent by its command; the answer has the platform's name.
            collection = f"/agents/{answer['agent']}/replies" if "agent" in answer else path
            added[f"{collection}/{answer['id']}"] = None
