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


class ControlUsage:
    """Notes on the successful calls of one `AdminClient`. Clients that share a transport share these notes if they are
    scoped to the same account; otherwise `created_accounts`, `callbacks_possible`, `sources` and `before_deletion`.

    Args:
        account: The account that the client is scoped to; None: the emulator's first.

    Attributes:
        added_for_all_accounts: Controls that were added with `account="*"`: paths to DELETE, oldest first.
        changed: Whether something was changed in the account that the client is scoped to.
        consulted: Which controls and queries of that account were called without naming an account, by their names.
        created_accounts: Ids of accounts that were created over the transport, and that no `with` block deletes.
        sources: Where each control was added: the file and the line of the caller, by the control's id.
        before_deletion: Functions that are called with the id of an account before it is deleted over the transport.
    """

    def __init__(self, account: Optional[str] = None) -> None:
        self._account = account
        self.added_for_all_accounts: dict[str, None] = {}
        self.changed = False
        self.consulted: dict[str, None] = {}
        self.created_accounts: dict[str, None] = {}
        self.sources: dict[str, Place] = {}
        self.before_deletion: list[Callable[[str], None]] = []
        self._callbacks_possible = threading.Event()
        self._by_account: dict[str, ControlUsage] = {}
        self._is_paused = False

    @property
    def callbacks_possible(self) -> bool:
        """Whether a stub or reply was added over the transport, whose function or file may have failed since."""
        return self._callbacks_possible.is_set()

    def scoped(self, account: str) -> ControlUsage:
        """The notes for a client of the same transport that is scoped to an account."""
        return self._by_account.setdefault(account, self._new_notes(account))

    def _new_notes(self, account: str) -> ControlUsage:
        notes = ControlUsage(account)
        notes._by_account = self._by_account
        notes.created_accounts = self.created_accounts
        notes.sources = self.sources
        notes.before_deletion = self.before_deletion
        notes._callbacks_possible = self._callbacks_possible
        return notes

    def note(self, method: str, path: str, account: Optional[str], answer: Any) -> None:
        """Note a call that succeeded.

        Args:
            path: Below the admin prefix.
            account: The account that the call was about; None: the emulator's first.
            answer: The decoded body of the answer.
        """
        if account == self._account:
            self.note_consulted(_NAMES.get(f"/{path.split('/')[1]}", ""))
        if method != "POST":
            return
        if path.startswith(("/commands", "/agents/", "/scenario")):
            self._callbacks_possible.set()
        if account == self._account:
            self.changed = True
        if account == "*":
            self._note_for_all_accounts(path, answer)
        if _COLLECTIONS.fullmatch(path) and isinstance(answer, dict):
            self._note_source(str(answer.get("id", "")))

    def note_consulted(self, name: str) -> None:
        """Note the use of a control or query of the account; `name`: as in Python, empty for another call."""
        if name and not self._is_paused:
            self.consulted[name] = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not add to `consulted` in a block."""
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    def before_deletion_of(self, account: str) -> None:
        """Note that an account is deleted now, and call the functions that are called before that."""
        self.created_accounts.pop(account, None)
        for function in tuple(self.before_deletion):
            function(account)

    def forget(self, account: str) -> None:
        """Forget the notes on an account that was deleted."""
        self._by_account.pop(account, None)

    def _note_source(self, control: str) -> None:
        place, _called, _nearest = user_line()
        if place is None:
            return
        self.sources[control] = place
        if len(self.sources) > SOURCES:
            self.sources.pop(next(iter(self.sources)), None)

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
