"""The states of a sandbox, and what leads from one to the next.

A create makes a *pending* sandbox. When all steps of its setup have succeeded it is *running*; when one fails it is in
*error*, for good, with the reason in its log. A running sandbox is *paused* on request, when it is idle, when its
budget is used up, or when an agent's trust is too low; its processes are frozen, and a resume lets them go on. An
emulator with a state directory leaves its sandboxes *stopped* at its end: the files are there, the processes are not,
and a resume starts new ones. Processes that are killed from outside cannot be brought back: *error*. Destroying works
in every state and ends in *destroyed*, from which nothing leads; such a sandbox is not in the store any more.
"""

from __future__ import annotations

from typing import Literal, get_args

from ..store import Sandbox
from .errors import invalid_state

State = Literal["pending", "running", "paused", "stopped", "error", "destroyed"]
Change = Literal["ready", "fail", "pause", "resume", "stop", "lose", "destroy"]

STATES: tuple[str, ...] = get_args(State)
#: For each change: the states in which it is possible, each with the state that it leads to.
TRANSITIONS: dict[Change, dict[str, State]] = {
    "ready": {"pending": "running"},
    "fail": {"pending": "error"},
    "pause": {"running": "paused"},
    "resume": {"paused": "running", "stopped": "running"},
    "stop": {"running": "stopped", "paused": "stopped"},
    "lose": {"pending": "error", "running": "error", "paused": "error"},
    "destroy": dict.fromkeys(STATES, "destroyed"),
}
#: The states that count towards the plan's number of sandboxes.
LIVING: tuple[State, ...] = ("pending", "running", "paused")
#: The state that the error of a call names as the one it needs.
_NEEDED: dict[Change, State] = {"pause": "running", "resume": "paused"}


class InvalidTransition(AssertionError):
    """The platform tried a change that the table does not have."""


def can(sandbox: Sandbox, change: Change) -> bool:
    """Whether a change is possible in the sandbox's state."""
    return sandbox.status in TRANSITIONS[change]


def require(sandbox: Sandbox, change: Change, status: str = "") -> None:
    """Raise ApiError unless a call's change is possible: 404 for a destroyed sandbox, else 409.

    To be repeated after each wait: destroy and the loss of the processes wait for nothing.

    Args:
        status: The one state, of several, that the change was begun in.
    """
    if not can(sandbox, change) or status not in ("", sandbox.status):
        raise invalid_state(sandbox.id, sandbox.status, status or _NEEDED[change], change)


def apply(sandbox: Sandbox, change: Change) -> None:
    """Set the state that a change leads to."""
    if not can(sandbox, change):
        raise InvalidTransition(f"{sandbox.id} is {sandbox.status}; {change!r} is not a change of that state")
    sandbox.status = TRANSITIONS[change][sandbox.status]
