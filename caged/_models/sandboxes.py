"""Sandboxes, results of commands, log entries, ports and trust scores."""

from dataclasses import dataclass, field
from typing import Any, Optional

from .._literals import AgentName, NetworkMode, SandboxStatus, Template
from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class Sandbox(Model):
    """One sandbox, as it was when the API answered. Times are RFC 3339 strings, money is US dollars.

    Attributes:
        id: Opaque; what every other call takes.
        status: One of pending, running, paused, stopped, error, destroyed.
        template: The resolved template (an alias such as ``node`` comes back as ``node-22``).
        ip: Inside the platform's network; None when it has none.
        network_mode: One of full, none, allowlist.
        repo_url: The repository it was created with (`create` calls it ``repo``).
        budget: Spending cap.
        timeout: Idle seconds until it is paused by itself.
        config: ``source`` and ``raw`` of the ``.caged.yaml`` in its repository, as `SandboxConfigSummary` reads it;
            None when it has none.
        started_at, stopped_at: None until it happened.
        cost: Machine time only.
        llm_cost: Model spend of its agent sessions.
        total_cost: The sum of both; the budget is checked against this one.
    """

    id: str = ""
    status: SandboxStatus = "pending"
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
    """The result of a command.

    Attributes:
        output: stdout and stderr, merged in the order written.
        exit_code: The shell's; 128+n after signal n; -1 when `error` is set.
        error: Why the command could not be run at all (sandbox unreachable or not running), else None.
    """

    output: str = ""
    exit_code: int = 0
    error: Optional[str] = None

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


@public
@dataclass(frozen=True)
class Port(Model):
    """A port that something in the sandbox listens on.

    Attributes:
        preview_url: Where it can be reached from outside; empty for a port that has none.
        protocol: ``http`` or ``tcp``.
        protected: Whether visitors need a password.
        detected_at: RFC 3339; None when the server does not report it.
    """

    port: int = 0
    preview_url: str = ""
    protocol: str = ""
    protected: bool = False
    detected_at: Optional[str] = None


@public
@dataclass(frozen=True)
class TrustScoreSummary(Model):
    """How far the platform trusts one agent session: `score` is 0 (not at all) to 100."""

    session_id: str = ""
    score: int = 0
    updated_at: str = ""


TrustScore = TrustScoreSummary  # an older name of it


@public
@dataclass(frozen=True)
class SandboxConfigSummary(Model):
    """Where a sandbox's settings came from, as ``Sandbox.config`` holds it.

    Attributes:
        source: ``yaml``, ``flags`` or ``merged``.
        raw: The ``.caged.yaml`` itself.
    """

    source: str = ""
    raw: Optional[str] = None


@public
@dataclass
class SandboxCreateParams:
    """The arguments of ``sandboxes.create``, for programs that store them: ``create(**vars(params))``.

    The fields are described at ``sandboxes.create``.
    """

    template: Template = "minimal"
    cpus: Optional[int] = None
    memory_mb: Optional[int] = None
    disk_gb: Optional[int] = None
    network_mode: Optional[NetworkMode] = None
    allowlist: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    repo: Optional[str] = None
    repo_token: Optional[str] = field(default=None, repr=False)
    repo_branch: Optional[str] = None
    repo_commit: Optional[str] = None
    repo_subdir: Optional[str] = None
    budget: Optional[float] = None
    init_script: Optional[str] = None
    secrets: list[str] = field(default_factory=list)
    timeout: Optional[int] = None
    packages: list[str] = field(default_factory=list)
    agents: list[AgentName] = field(default_factory=list)
    persona_id: Optional[str] = None
    harness_id: Optional[str] = None
