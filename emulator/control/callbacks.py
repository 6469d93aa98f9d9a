"""Exceptions raised by functions that a test registered: in stubs, programs and agents' replies.

Such an exception cannot be raised where it happens, because the function runs for a process in a sandbox. It is
recorded here, so that the test can be failed by it.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Optional

from .current_account import ALL_ACCOUNTS
from .journal import cut
from .randomness import Randomness
from .records import CallbackErrorRecord

#: Errors that are kept; the oldest are dropped first.
KEEP_PER_ACCOUNT, KEEP = 100, 1000
#: Characters of one traceback.
TRACEBACK_CHARACTERS = 20_000
_PACKAGE = str(Path(__file__).resolve().parents[1])


class CallbackRaised(Exception):
    """Carry an exception of a callback, of any class, to the code that waits for the callback."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(repr(original))
        self.original = original


@dataclass(frozen=True)
class CallbackError(CallbackErrorRecord):
    """One exception of a callback.

    Attributes:
        original: The exception itself.
    """

    original: Optional[BaseException] = field(default=None, repr=False, compare=False)


class CallbackErrors:
    """The newest errors of each account, oldest first. Those of a deleted account stay until they are cleared."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._errors: deque[CallbackError] = deque(maxlen=KEEP)

    def add(
        self, *, at: str, account: str, sandbox: str, control: str, described: str, error: BaseException, allowed: bool
    ) -> CallbackError:
        """Record one; the oldest of its account is dropped when there are more than KEEP_PER_ACCOUNT."""
        made = CallbackError(
            id=self._randomness.identifier("cberr", {one.id for one in self._errors}),
            at=at,
            account=account,
            sandbox=sandbox,
            control=control,
            described=described,
            error=cut("".join(traceback.format_exception_only(type(error), error)).strip(), TRACEBACK_CHARACTERS),
            traceback=formatted(error),
            allowed=allowed,
            original=error,
        )
        own = [one for one in self._errors if one.account == account]
        if len(own) >= KEEP_PER_ACCOUNT:
            self._errors.remove(own[0])
        self._errors.append(made)
        return made

    def clear(self, account: str, control: Optional[str] = None) -> int:
        """Remove those that `list` returns. Returns how many."""
        removed = {one.id for one in self.list(account, control)}
        self._errors = deque((one for one in self._errors if one.id not in removed), maxlen=KEEP)
        return len(removed)

    def list(self, account: str, control: Optional[str] = None) -> Sequence[CallbackError]:
        """Return the errors of one account, or of all with `*`; with `control`, those of one stub or reply."""
        return [
            one for one in self._errors if account in (one.account, ALL_ACCOUNTS) and control in (None, one.control)
        ]


def formatted(error: BaseException) -> str:
    """The traceback from the first frame outside of the emulator, cut to TRACEBACK_CHARACTERS."""
    text = "".join(traceback.format_exception(type(error), error, outside(error.__traceback__)))
    if len(text) > TRACEBACK_CHARACTERS:
        half = TRACEBACK_CHARACTERS // 2
        text = f"{text[:half]}\n…\n{text[-half:]}"
    return text.encode("utf-8", "replace").decode("utf-8")


def outside(frames: Optional[TracebackType]) -> Optional[TracebackType]:
    """Without the emulator's frames at the start."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        frames = frames.tb_next
    return frames
