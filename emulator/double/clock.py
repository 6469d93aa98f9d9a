"""The time that the emulator goes by, in a test's hands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Optional, Union

from .link import Link, Of


class Clock:
    """Time of one account (the one that the test works with, unless `account` names another, or `"*"` for all). It
    drives what the platform does by time: sleep when idle, budgets, expiry of tickets and download URLs, alerts,
    timestamps. Real time until it is moved. Commands take as long as they take, and files bear the machine's time.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def now(self, account: Optional[Of] = None) -> datetime:
        """In UTC."""
        return _moment(self._link.call("GET", "/clock", account=account))

    @property
    def frozen(self) -> bool:
        return bool(self._link.call("GET", "/clock")["frozen"])

    def freeze(self, at: Union[datetime, float, str, None] = None, *, account: Optional[Of] = None) -> datetime:
        """Time stands, now or at a moment: a datetime with an offset, seconds since the epoch, or RFC 3339.
        Setting it is no passing of time: no sandbox has cost more, or been idle for longer, by it."""
        if isinstance(at, datetime):
            if at.tzinfo is None:
                raise ValueError("at: a datetime needs its time zone, as in datetime.now(timezone.utc)")
            at = at.timestamp()
        body = {} if at is None else {"at": float(at) if isinstance(at, (int, float)) else at}
        return _moment(self._link.call("POST", "/clock/freeze", body, account=account))

    def unfreeze(self, *, account: Optional[Of] = None) -> datetime:
        """It goes on from where it stands."""
        return _moment(self._link.call("POST", "/clock/unfreeze", account=account))

    def advance(
        self,
        seconds: float = 0,
        *,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
        account: Optional[Of] = None,
    ) -> datetime:
        """Moves time on, frozen or not; all parts add up. What becomes due on the way happens in its order, each thing
        at its moment, and has happened on return. ValueError for going back."""
        body = {"seconds": seconds, "minutes": minutes, "hours": hours, "days": days}
        return _moment(self._link.call("POST", "/clock/advance", _floats(body), account=account))

    def tick(self, seconds: float = 1, *, account: Optional[Of] = None) -> datetime:
        """A second more, or as many as it says."""
        return _moment(self._link.call("POST", "/clock/tick", {"seconds": float(seconds)}, account=account))

    def reset(self, *, account: Optional[Of] = None) -> datetime:
        """The emulator's own time again."""
        return _moment(self._link.call("DELETE", "/clock", account=account))


def _floats(body: Mapping[str, float]) -> dict[str, Any]:
    return {name: float(value) for name, value in body.items() if value}


def _moment(told: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(told["now"].replace("Z", "+00:00"))
