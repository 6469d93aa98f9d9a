"""Signals: what has happened, for listeners such as alerts. The sender does not know its listeners."""

from __future__ import annotations

import logging
from typing import Any, Callable

logger = logging.getLogger(__name__)

#: Every signal with the keywords it is sent with.
SIGNALS: dict[str, tuple[str, ...]] = {
    # An agent session's trust score (0-100) moved from `before` to `score`. Not sent when the sandbox is gone already.
    "trust_changed": ("sandbox", "session", "before", "score"),
    # `percent` (80, 95 or 100) of the budget is used. At 100 before the sandbox is paused or destroyed.
    "budget_mark": ("sandbox", "percent", "spent"),
    # The sandbox's status became `error`; `reason` is text for people, secrets redacted.
    "sandbox_error": ("sandbox", "reason"),
    # The sandbox was paused at the end of its budget: its commands will never go on.
    "out_of_budget": ("sandbox",),
    # The sandbox was paused because it was idle.
    "idle_timeout": ("sandbox",),
    # An agent session is over: completed or failed.
    "session_ended": ("sandbox", "session"),
    # The account's clock was set (not advanced) by so many seconds, forwards or backwards. No time has passed by that,
    # so a listener that stores a moment in order to compare it with the present moves it along. The account is empty
    # for what belongs to no account.
    "clock_set": ("account_id", "seconds"),
    # Something was recorded; `sandbox` is None for an ingested event that names none.
    "event": ("sandbox", "event"),
}

_KEYWORDS = {name: frozenset(keywords) for name, keywords in SIGNALS.items()}

Listener = Callable[..., None]


class Signals:
    """Listeners are called at once, in the order in which they were connected, on the emulator's loop. They must not
    wait; for what takes time there is `BackgroundTasks`. The exception of one is logged; the others are still
    called."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {name: [] for name in SIGNALS}

    def connect(self, name: str, listener: Listener) -> None:
        """Call `listener(**data)` for each signal from now on. KeyError for a name that is not in SIGNALS."""
        self._listeners[name].append(listener)

    def send(self, name: str, **data: Any) -> None:
        """Call the listeners. TypeError when `data` has other keywords than SIGNALS says."""
        if data.keys() != _KEYWORDS[name]:
            raise TypeError(f"signal {name} is sent with {', '.join(SIGNALS[name])}, not {', '.join(data)}")
        for listener in tuple(self._listeners[name]):
            try:
                listener(**data)
            except Exception:
                logger.exception("a listener to the signal %s failed", name)
