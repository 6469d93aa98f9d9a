"""Faults that are injected into requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..control.faults import Fault, FaultInfo, FaultMethods
from .collection import Collection
from .handle import Handle

#: Why a fault never triggered that no request matched.
NO_REQUEST_MATCHED = "no request matched"


@dataclass(frozen=True)
class FaultHandle(Handle):
    """The handle of a fault that was added: see `Handle` for its use in a `with` statement. Requests that hang by it
    end, without an answer, when it is removed."""

    @property
    def _path(self) -> str:
        return f"/faults/{self.id}"

    @property
    def info(self) -> FaultInfo:
        """The fault as the emulator has it now."""
        return FaultInfo(**self._admin.call("GET", self._path, account="*"))

    @property
    def triggered(self) -> int:
        """How often it has triggered so far: on how many requests it had its effect."""
        return self.info.triggered

    def _complaint(self) -> str:
        info = self.info
        return unused_faults([info]) if info.is_unused else ""


def unused_faults(faults: Sequence[FaultInfo]) -> str:
    """The message about faults that never triggered."""
    lines = [f"  {fault.described} ({reason_unused(fault)})" for fault in faults]
    hint = "remove it, correct what it matches, or add it with optional=True"
    return "\n".join(["a fault never triggered:" if len(lines) == 1 else "faults never triggered:", *lines, hint])


def reason_unused(fault: FaultInfo) -> str:
    """Why a fault never triggered."""
    if not fault.seen:
        return NO_REQUEST_MATCHED
    if fault.seen <= int(fault.options.get("after", 0)):
        return f"{fault.seen} requests matched, all of them within `after`"
    if "probability" in fault.options:
        return f"{fault.seen} requests matched, and the effect did not happen on any of them"
    return f"{fault.seen} requests matched, but ended before the effect"


class Faults(Collection[FaultInfo], FaultMethods[FaultHandle]):
    """Faults of one account: the selected one, unless `account` names another. `account="*"` applies to every account.

    A request takes at most one fault: the first that matches and whose turn it is.
    """

    _info = FaultInfo

    @property
    def _path(self) -> str:
        return "/faults"

    def _add_fault(self, arguments: dict[str, Any]) -> FaultHandle:
        added = self._add(Fault, arguments, arguments["account"])
        return FaultHandle(added["id"], self._admin)
