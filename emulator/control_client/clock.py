"""The emulator's time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Optional, Union

from ..control.identifiers import IdOrObject
from ..control.values import number
from .admin_client import AdminClient


class Clock:
    """Time of one account: the selected one, unless `account` names another, or `"*"` for all. It drives what the
    platform does by time: sleep when idle, budgets, expiry of tickets and download URLs, alerts, timestamps. It is real
    time until it is moved. Commands take real time, and files have the machine's time.
    """

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin

    def now(self, account: Optional[IdOrObject] = None) -> datetime:
        """Return the account's time, in UTC.

        Args:
            account: An account or its id; `"*"`: the time of accounts without one of their own. The default is the
                selected account.
        """
        return _moment(self._admin.call("GET", "/clock", account=account))

    @property
    def frozen(self) -> bool:
        """Whether the time is frozen."""
        return bool(self._admin.call("GET", "/clock")["frozen"])

    def freeze(self, at: Union[datetime, float, str, None] = None, *, account: Optional[IdOrObject] = None) -> datetime:
        """Stop the time. No time passes by that: no sandbox costs more, or has been idle for longer.

        Args:
            at: A datetime with a time zone, seconds since the epoch, or a text in RFC 3339; now by default.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The time.

        Raises:
            ValueError, TypeError: `at` is something else.
        """
        if isinstance(at, datetime):
            if at.tzinfo is None:
                raise ValueError("at: a datetime needs its time zone, as in datetime.now(timezone.utc)")
            at = at.timestamp()
        if at is not None and not isinstance(at, str):
            try:
                at = number("at", at)
            except TypeError:
                allowed = "a datetime with a time zone, seconds since the epoch, or a text in RFC 3339"
                hint = "; to move the time by a timedelta use advance()" if isinstance(at, timedelta) else ""
                raise TypeError(f"at: must be {allowed}, not {at!r}{hint}") from None
        body = {} if at is None else {"at": at}
        return _moment(self._admin.call("POST", "/clock/freeze", body, account=account))

    def unfreeze(self, *, account: Optional[IdOrObject] = None) -> datetime:
        """Let the time go on from where it stands.

        Args:
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The time.
        """
        return _moment(self._admin.call("POST", "/clock/unfreeze", account=account))

    def advance(
        self,
        seconds: Union[float, timedelta, None] = None,
        *,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
        account: Optional[IdOrObject] = None,
    ) -> datetime:
        """Move the time on, frozen or not. What becomes due on the way happens in its order, each thing at its moment,
        and has happened on return.

        Args:
            seconds: Seconds, or a timedelta.
            minutes: Minutes to add.
            hours: Hours to add.
            days: Days to add, of 24 hours each.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The time.

        Raises:
            ValueError: Nothing is given, or the time would go back.
            TypeError: An argument is neither a number nor (`seconds`) a timedelta.
        """
        if seconds is None and not (minutes or hours or days):
            raise ValueError("advance: say how far, e.g. advance(60), advance(hours=1) or advance(timedelta(hours=1))")
        body = {"seconds": duration("seconds", seconds or 0)}
        body.update({name: number(name, part) for name, part in _parts(minutes, hours, days).items()})
        return _moment(self._admin.call("POST", "/clock/advance", body, account=account))

    def tick(self, seconds: Union[float, timedelta] = 1, *, account: Optional[IdOrObject] = None) -> datetime:
        """Advance the clock by a second, or by as many as given; see `advance`.

        Args:
            seconds: Seconds, or a timedelta.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.
        """
        body = {"seconds": duration("seconds", seconds)}
        return _moment(self._admin.call("POST", "/clock/tick", body, account=account))

    def reset(self, *, account: Optional[IdOrObject] = None) -> datetime:
        """Return to the emulator's own time.

        Args:
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The time.
        """
        return _moment(self._admin.call("DELETE", "/clock", account=account))


def duration(name: str, time: Union[float, timedelta, Any]) -> float:
    """The argument in seconds; a number is seconds already.

    Raises:
        TypeError: It is neither a number nor a timedelta.
        ValueError: It is not finite.
    """
    if isinstance(time, timedelta):
        return time.total_seconds()
    try:
        return number(name, time)
    except TypeError:
        raise TypeError(f"{name}: must be a number of seconds or a timedelta, not {time!r}") from None


def _parts(minutes: float, hours: float, days: float) -> dict[str, float]:
    return {"minutes": minutes, "hours": hours, "days": days}


def _moment(answer: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(answer["now"].replace("Z", "+00:00"))
