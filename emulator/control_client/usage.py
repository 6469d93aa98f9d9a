"""What was done through the controls of an emulator, for cleaning up and for reports at the end of a test."""

from __future__ import annotations

import re
import threading
from typing import Any, Callable, Optional

from caged._frames import Place, user_line

#: Where a POST adds a control with an id, which stays until it is deleted.
_COLLECTIONS = re.compile("/faults|/commands|/agents/[^/]+/replies")
#: Where the time and the journal of an account are.
_CONSULTED = ("/clock/", "/journal/")
#: Controls of which the line that added them is known; the oldest are forgotten first.
SOURCES = 10_000


class ControlUsage:
    """Notes on the successful calls of one `AdminClient`. The notes of clients that share a transport share
    `created_accounts`, `callbacks_possible`, `sources` and `before_deletion`.

    Args:
        account: the account that the client is scoped to; None: the emulator's first.

    Attributes:
        added_for_all_accounts: controls that were added with `account="*"`: paths to DELETE, oldest first.
        changed: whether something was changed in the account that the client is scoped to.
        consulted: which of `clock` and `journal` of that account were called, apart from resetting them.
        created_accounts: ids of accounts that were created over the transport, and that no `with` block deletes.
        sources: where each control was added: the file and the line of the caller, by the control's id.
        before_deletion: functions that are called with the id of an account before it is deleted over the transport.
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

    @property
    def callbacks_possible(self) -> bool:
        """Whether a stub or reply was added over the transport, whose function or file may have failed since."""
        return self._callbacks_possible.is_set()

    def scoped(self, account: str) -> ControlUsage:
        """New notes for a client of the same transport that is scoped to an account."""
        notes = ControlUsage(account)
        notes.created_accounts = self.created_accounts
        notes.sources = self.sources
        notes.before_deletion = self.before_deletion
        notes._callbacks_possible = self._callbacks_possible
        return notes

    def note(self, method: str, path: str, account: Optional[str], answer: Any) -> None:
        """Note a call that succeeded.

        Args:
            path: below the admin prefix.
            account: the account that the call was about; None: the emulator's first.
            answer: the decoded body of the answer.
        """
        if account == self._account and path.startswith(_CONSULTED) and method in ("GET", "POST"):
            self.consulted[path.split("/")[1]] = None
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
