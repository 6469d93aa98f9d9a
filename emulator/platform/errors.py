"""The errors of the platform. The wire turns an ApiError into a problem response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .. import descriptors


@dataclass
class ApiError(Exception):
    """An error that a client gets.

    Attributes:
        status: The HTTP status.
        detail: The text for people.
        code: The machine-readable reason (docs/contract/platform-behaviour.md A, Errors); without one the problem has
            no `reason`.
        action: What the client should do, as a code, e.g. `upgrade_plan`.
        subject_type, subject_id: What the reason is about.
        retry_after: Seconds for the header of that name.
        error: The OAuth error code of a device login, the only part that its client reads.
    """

    status: int
    detail: str
    code: Optional[str] = None
    action: str = ""
    subject_type: str = ""
    subject_id: str = ""
    retry_after: Optional[int] = None
    error: Optional[str] = None

    def __str__(self) -> str:
        return self.detail


def invalid(detail: str) -> ApiError:
    """Return a 400."""
    return ApiError(400, detail)


def not_found(kind: str, identifier: str) -> ApiError:
    """Return a 404."""
    return ApiError(404, f"{kind} not found: {identifier}")


def not_running(sandbox_id: str, status: str) -> ApiError:
    """Return a 409; a 404 for a sandbox that was destroyed while the call waited."""
    if status == "destroyed":
        return not_found("sandbox", sandbox_id)
    hint = "; resume it first" if status in ("paused", "stopped") else ""
    return ApiError(
        409,
        f"sandbox {sandbox_id} is {status}, not running{hint}",
        "sandbox_not_running",
        "",
        "sandbox",
        sandbox_id,
    )


def invalid_state(sandbox_id: str, status: str, wanted: str, call: str) -> ApiError:
    """Return a 409; a 404 for a sandbox that was destroyed while the call waited."""
    if status == "destroyed":
        return not_found("sandbox", sandbox_id)
    return ApiError(
        409,
        f"sandbox {sandbox_id} is {status}; {call} needs a {wanted} one",
        "invalid_state",
        "",
        "sandbox",
        sandbox_id,
    )


def plan_limit(detail: str, subject_type: str = "", subject_id: str = "") -> ApiError:
    """Return a 403 for a limit of the plan."""
    return ApiError(403, detail, "plan_limit_reached", "upgrade_plan", subject_type, subject_id)


def require_descriptors(has_room: bool, what: str) -> None:
    """Raise a 503 when too few file descriptors are left for `what`; the rest is reserved for existing sandboxes."""
    if not has_room:
        raise ApiError(
            503,
            f"too few file descriptors are left for {what}: {descriptors.count_used()} of {descriptors.limit()} are in"
            " use; destroy sandboxes or close connections, or raise the limit (`ulimit -n`) and start the emulator"
            " again",
            retry_after=1,
        )
