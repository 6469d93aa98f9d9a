"""Recording which files of its workspace a command, an agent or a restore has changed, for accounts that want it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ..cage.cage import Cage
from ..control.current_account import ALL_ACCOUNTS
from ..control.step import Step
from ..control.steps import Steps
from ..store import Sandbox
from .live_sandboxes import LiveSandboxes
from .redaction import redact_for

if TYPE_CHECKING:
    from ..cage.file_changes import FileChange, Scan

#: Characters of a path or a note that a step keeps.
PATH_CHARACTERS = 4096


class FileChangeRecording:
    """Scans a sandbox's workspace before and after something, and adds the difference to its step. It is off until
    it is switched on: for an account, or for all. What was said last applies."""

    def __init__(self, live: LiveSandboxes, steps: Steps) -> None:
        self._live = live
        self._steps = steps
        self._for_all = False
        #: Of the accounts for which it was switched otherwise than for all.
        self._exceptions: set[str] = set()

    def enable(self, account: str, enabled: bool) -> None:
        """Switch it on or off for an account, or for all (`*`), those included that were switched before."""
        if account == ALL_ACCOUNTS:
            self._for_all = enabled
            self._exceptions.clear()
        elif enabled != self._for_all:
            self._exceptions.add(account)
        else:
            self._exceptions.discard(account)

    def forget(self, account: str) -> None:
        """Forget an account, which was deleted."""
        self._exceptions.discard(account)

    def is_on(self, account: str) -> bool:
        """Whether it is on for an account."""
        return self._for_all != (account in self._exceptions)

    def noting(self, sandbox: Sandbox, step: Step) -> _Noting:
        """Add what a block of `async with` changes to a step that is finished later. Nothing is added when the block
        raises."""
        return _Noting(self, sandbox, step)

    async def scan(self, sandbox: Sandbox) -> Optional[Scan]:
        """Scan the workspace; None when it is off, or when the sandbox has no processes."""
        cage = self._watched(sandbox)
        if cage is None:
            return None
        if cage.file_changes.is_quick:
            return cage.file_changes.scan()
        return await cage.workers.walk.run(cage.file_changes.scan)

    def scan_now(self, sandbox: Sandbox) -> Optional[Scan]:
        """As `scan`, on the event loop. Blocks for a few milliseconds."""
        cage = self._watched(sandbox)
        return None if cage is None else cage.file_changes.scan()

    def add(self, sandbox: Sandbox, step: Optional[Step], before: Optional[Scan], after: Optional[Scan]) -> None:
        """Add the changes between two scans to a step."""
        if step is None or before is None or after is None:
            return
        from ..cage.file_changes import compare

        changes, notes = compare(before, after)
        if changes:
            step.detail["changes"] = [_shown(sandbox, change) for change in changes]
        if notes:
            step.detail["changes_note"] = redact_for(sandbox, "; ".join(notes), PATH_CHARACTERS)
        if changes or notes:
            self._steps.changed(step)

    def _watched(self, sandbox: Sandbox) -> Optional[Cage]:
        if not self.is_on(sandbox.account_id):
            return None
        cage = self._live.of(sandbox).cage
        return cage if cage is not None and cage.alive else None


class _Noting:
    """Two scans of a workspace, around a block. A class, because each command needs one, and a generator takes many
    times as long."""

    __slots__ = ("_before", "_recording", "_sandbox", "_step")

    def __init__(self, recording: FileChangeRecording, sandbox: Sandbox, step: Step) -> None:
        self._recording, self._sandbox, self._step = recording, sandbox, step
        self._before: Optional[Scan] = None

    async def __aenter__(self) -> None:
        if self._recording.is_on(self._sandbox.account_id):
            self._before = await self._recording.scan(self._sandbox)

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is None and self._before is not None:
            after = await self._recording.scan(self._sandbox)
            self._recording.add(self._sandbox, self._step, self._before, after)


def _shown(sandbox: Sandbox, change: FileChange) -> dict[str, Any]:
    """A change as a step shows it, redacted."""
    shown = {"path": redact_for(sandbox, change.path, PATH_CHARACTERS), "change": change.change}
    for name, text in (("before", change.before), ("after", change.after)):
        if text is not None:
            shown[name] = redact_for(sandbox, text, len(text), mark=False)
    return {**shown, "note": change.note} if change.note else shown
