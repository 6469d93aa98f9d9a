"""The data of one emulator: plain records, without processes, locks or globals."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from .cage.git import Repo
from .history import History


@dataclass
class Key:
    id: str
    account_id: str
    name: str
    secret: str
    scope: str
    created_at: str
    last_used: Optional[str] = None


@dataclass
class AccountRecord:
    id: str
    name: str
    email: str
    tier: str
    created_at: str
    keys: dict[str, Key] = field(default_factory=dict)
    #: Start of the current rate window (a whole minute) and the requests seen in it.
    window: tuple[int, int] = (0, 0)
    #: Ingested events that name no sandbox.
    history: History = field(default_factory=History)
    #: Salt and hash, of an account that signed up with a password.
    password: Optional[tuple[bytes, bytes]] = None
    #: Its plan, and the running time (seconds) of its sandboxes that are gone.
    subscription: Subscription = field(default_factory=lambda: Subscription())
    past_seconds: float = 0.0
    rules: dict[str, AlertRule] = field(default_factory=dict)
    notification_config: NotificationConfig = field(default_factory=lambda: NotificationConfig())


@dataclass
class Subscription:
    """An account's plan. `period_end`: epoch seconds, None on the free plan. `reported_minutes`: running time that was
    reported to the biller, at `reported_at`."""

    period_end: Optional[float] = None
    cancel_at_period_end: bool = False
    ended: bool = False
    reported_minutes: int = 0
    reported_at: Optional[str] = None


@dataclass
class LoginSession:
    """A session of the dashboard. `key` holds its token; it is not one of the account's API keys. `expires`: epoch
    seconds."""

    id: str
    key: Key
    user_agent: str
    ip: str
    created_at: str
    expires: float


@dataclass
class AlertRule:
    """A rule of alerts. `config`: only what was set; see `platform/rules.py` for the defaults."""

    id: str
    account_id: str
    type: str
    created_at: str
    enabled: bool = True
    config: dict[str, float] = field(default_factory=dict)


@dataclass
class Alert:
    """An alert. `state`: open, resolved, muted."""

    id: str
    account_id: str
    rule_id: str
    rule_type: str
    severity: str
    title: str
    message: str
    sandbox_id: str
    session_id: str
    meta: dict[str, str]
    created_at: str
    state: str = "open"
    resolved_at: Optional[str] = None


@dataclass
class NotificationConfig:
    """Where an account gets notifications. The webhooks are credentials: never shown."""

    enabled_channels: list[str] = field(default_factory=list)
    slack_channel_id: str = ""
    email_address: str = ""
    slack_webhook_url: str = ""
    discord_webhook_url: str = ""


@dataclass
class Notification:
    id: str
    account_id: str
    alert_id: str
    channel: str
    title: str
    message: str
    created_at: str
    read: bool = False


@dataclass
class Port:
    """A TCP port that a sandbox's processes listen on. `address`: by which it is reached from within. `window`: of
    its preview's rate, as `AccountRecord.window`."""

    port: int
    address: str
    detected_at: str
    window: tuple[int, int] = (0, 0)


@dataclass
class LogEntry:
    timestamp: str
    type: str
    message: str


@dataclass
class Sandbox:
    """A sandbox. `status`: see `platform/sandbox_states.py`. Money in USD, times in epoch seconds."""

    id: str
    account_id: str
    template: str
    cpus: int
    memory_mb: int
    disk_gb: int
    network_mode: str
    timeout: int
    created_at: str
    allowlist: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    repo: Optional[Repo] = None
    budget: Optional[float] = None
    init_script: Optional[str] = None
    #: `source` and `raw` of the `.caged.yaml` in its repository.
    config: Optional[dict[str, str]] = None
    ip: Optional[str] = None
    status: str = "pending"
    started_at: Optional[str] = None
    stopped_at: Optional[str] = None
    logs: list[LogEntry] = field(default_factory=list)
    #: Cost of the finished stretches of running, and the start of the current one.
    spent_compute: float = 0.0
    spent_llm: float = 0.0
    running_since: Optional[float] = None
    #: Percentages of the budget that were reported.
    budget_marks: set[int] = field(default_factory=set)
    #: Processes that the kernel has killed here for lack of memory, as far as the log says.
    memory_kills: int = 0
    #: When its disk usage was measured last, and whether that was more than `disk_gb`.
    disk_checked: float = 0.0
    disk_exceeded: bool = False
    #: The end of the last call.
    last_active: float = 0.0
    #: Ports that its processes listen on, and passwords of ports, which stay when the listening ends.
    ports: dict[int, Port] = field(default_factory=dict)
    port_passwords: dict[int, str] = field(default_factory=dict)
    #: Whether a snapshot was restored here, which may have brought the sessions of agents in another sandbox along.
    has_restored: bool = False
    #: Tokens of the fake repositories that its account has or had while the sandbox existed, the newest last.
    fake_repository_tokens: list[str] = field(default_factory=list)
    #: The newest agent session, which may be over.
    agent_session: Optional[AgentSession] = None
    history: History = field(default_factory=History)


@dataclass
class AgentSession:
    """One agent interaction. `status`: active, completed, failed. Money in USD, times in epoch seconds."""

    id: str
    account_id: str
    sandbox_id: str
    agent_type: str
    model: Optional[str]
    started_at: float
    #: What the sandbox's machine time had cost when the session began.
    compute_before: float
    status: str = "active"
    ended_at: Optional[float] = None
    tokens_in: int = 0
    tokens_out: int = 0
    llm_cost: float = 0.0
    #: Of a session that is over.
    compute_cost: float = 0.0
    trust_score: int = 100
    trust_updated_at: float = 0.0
    #: Charges of trust that are made once only, as (rule, cause), and the times of recent deletions of files.
    charged: set[tuple[str, str]] = field(default_factory=set)
    deletions: list[float] = field(default_factory=list)
    #: The id that the agent's command line gave to it.
    chosen_id: Optional[str] = None
    history: History = field(default_factory=History)


@dataclass
class Snapshot:
    id: str
    account_id: str
    sandbox_id: str
    name: str
    description: str
    trigger: str
    created_at: str
    file: Path
    status: str = "pending"
    size_bytes: int = 0
    completed_at: Optional[str] = None


class Store:
    def __init__(self) -> None:
        self.accounts: dict[str, AccountRecord] = {}
        self.keys: dict[str, Key] = {}  # by secret
        self.sandboxes: dict[str, Sandbox] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.sessions: dict[str, AgentSession] = {}  # oldest first
        self.logins: dict[str, LoginSession] = {}  # by token
        self.alerts: dict[str, Alert] = {}  # oldest first, as the notifications
        self.notifications: dict[str, Notification] = {}
