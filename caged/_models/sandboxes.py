"""Sandboxes, what running a command in one gives, and their logs."""

from dataclasses import dataclass, field
from typing import Any, Optional

from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class Sandbox(Model):
    """One sandbox, as it was when the API answered. Times are RFC 3339 strings, money is US dollars.

    Attributes:
        id: opaque; what every other call takes.
        status: pending, running, paused, stopped, error or destroyed.
        template: the resolved template (an alias such as ``node`` comes back as ``node-22``).
        ip: inside the platform's network; None when it has none.
        network_mode: full, none or allowlist.
        repo_url: the repository it was created with (`create` calls it ``repo``).
        budget: spending cap.
        timeout: idle seconds until it is paused by itself.
        config: the ``.caged.yaml`` it was made from, undecoded.
        started_at, stopped_at: None until it happened.
        cost: machine time only.
        llm_cost: model spend of its agent sessions.
        total_cost: the sum of both; the budget is checked against this one.
    """

    id: str = ""
    status: str = "pending"
    template: str = ""
    ip: Optional[str] = None
    cpus: int = 0
    memory_mb: int = 0
    disk_gb: int = 0
    network_mode: str = ""
    repo_url: Optional[str] = None
    budget: Optional[float] = None
    init_script: Optional[str] = None
    timeout: Optional[int] = None
    config: Optional[dict[str, Any]] = field(default=None, hash=False)
    created_at: str = ""
    started_at: Optional[str] = None
    stopped_at: Optional[str] = None
    cost: float = 0.0
    llm_cost: float = 0.0
    total_cost: float = 0.0


@public
@dataclass(frozen=True)
class ExecResult(Model):
    """What a command left behind.

    Attributes:
        output: stdout and stderr, merged in the order written.
        exit_code: the shell's; 128+n after signal n; -1 when `error` is set.
        error: why the command could not be run at all (sandbox unreachable or not running), else None.
        duration_ms: how long it ran, where the server tells.
        truncated: True when the server cut `output` for its size; None where it does not tell.
    """

    output: str = ""
    exit_code: int = 0
    error: Optional[str] = None
    duration_ms: Optional[int] = None
    truncated: Optional[bool] = None

    @property
    def ok(self) -> bool:
        """True when the command ran and exited with 0."""
        return self.exit_code == 0 and not self.error


@public
@dataclass(frozen=True)
class LogEntry(Model):
    """One line of a sandbox's log; `type` is e.g. ``lifecycle``, `timestamp` RFC 3339."""

    timestamp: str = ""
    type: str = ""
    message: str = ""
