"""The one exception by which the platform says no. The wire turns it into a problem response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .. import descriptors


@dataclass
class ApiError(Exception):
    """`code` is the machine-readable half (platform-behaviour.md A, Errors); without one there is no `reason`.
    `error`: the word of a refusal of device login, whose client reads nothing else."""

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
    return ApiError(400, detail)


def not_found(kind: str, identifier: str) -> ApiError:
    return ApiError(404, f"{kind} not found: {identifier}")


def not_running(sandbox_id: str, status: str) -> ApiError:
    """409; 404 for a sandbox that was destroyed while the call waited for its turn."""
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
    """409; 404 for a sandbox that was destroyed while the call waited for its turn."""
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
    return ApiError(403, detail, "plan_limit_reached", "upgrade_plan", subject_type, subject_id)


def require_descriptors(has_room: bool, what: str) -> None:
    """503 when too few file descriptors are left for `what`: those that there are keep existing sandboxes at work."""
    if not has_room:
        raise ApiError(
            503,
            f"too few file descriptors are left for {what}: {descriptors.used()} of {descriptors.limit()} are in use;"
            " destroy sandboxes or close connections, or raise the limit (`ulimit -n`) and start the emulator again",
            retry_after=1,
        )
