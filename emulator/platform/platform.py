"""One emulator's platform: its parts by name, and what concerns several of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

from ..cage.chosen_isolation import ChosenIsolation
from ..cage.isolation import IsolationLevel
from ..cage.probe_result import ProbeResult
from ..cage.provisioning import Provisioner
from ..cage.zygote import Zygote
from ..config import EmulatorConfig
from ..control.callbacks import CallbackErrors
from ..control.clock import Clock
from ..control.current_account import ALL_ACCOUNTS
from ..control.fault_registry import Faults
from ..control.journal import Journal
from ..control.prepared_registry import PreparedRegistry
from ..control.randomness import Randomness
from ..control.registry import Registry
from ..control.reply_registry import AgentReplies
from ..control.repository_registry import Repositories
from ..control.steps import Steps
from ..control.stub_registry import Stubs
from ..history import History
from ..pace import LongWorkLock
from ..store import AccountRecord, NotificationConfig, Store
from ..workers import Workers
from .accounts import Accounts
from .agent_sessions import AgentSessions
from .alert_history import AlertHistory
from .alerts import Alerts
from .background import BackgroundTasks
from .billing import Billing
from .command_stubs import CommandStubs
from .device_logins import DeviceLogins
from .durability import Durability
from .events import Events
from .execs import Execs
from .fake_repositories import FakeRepositories
from .file_change_recording import FileChangeRecording
from .files import Files
from .inspector_logins import InspectorLogins
from .live_sandboxes import LiveSandboxes
from .logins import Logins
from .mcp_server import McpServer
from .notifications import Notifications
from .open_sockets import OpenSockets
from .package_layers import PackageLayers
from .ports import Ports
from .prepared_sandboxes import PreparedSandboxes
from .recorder import SandboxRecorder
from .rules import Rules
from .sandbox_lifecycle import SandboxLifecycle
from .sandboxes import Sandboxes
from .scheduler import Scheduler
from .signals import Signals
from .snapshots import Snapshots
from .terminals import Terminals
from .tickets import Tickets

BACKGROUND_LIMIT = 10.0


@dataclass
class Platform:
    """Made by `composition.compose`. `start` and `stop` run on the emulator's loop.

    Attributes:
        admin_key: Opens the calls about the emulator itself.
        log_tail: Returns the newest lines of the emulator's own log: so many, about one account and the emulator
            itself, or all with `*`.
        functions: Functions of a test in this process, by the handle that is sent in their place.
        run_dir: The directory of what goes when the emulator stops.
        files_dir: The directory of sandboxes and snapshots: the state directory, or `run_dir`.
    """

    config: EmulatorConfig
    admin_key: str
    base_url: str
    log_tail: Callable[[int, str], list[str]]
    run_dir: Path
    files_dir: Path
    # What everything below is built on.
    store: Store
    clock: Clock
    randomness: Randomness
    workers: Workers
    long_work: LongWorkLock
    background: BackgroundTasks
    signals: Signals
    durability: Durability
    # The controls of a test.
    journal: Journal
    steps: Steps
    file_changes: FileChangeRecording
    faults: Faults
    stubs: Stubs
    agent_replies: AgentReplies
    repositories: Repositories
    prepared: PreparedRegistry
    callback_errors: CallbackErrors
    # Processes and their isolation.
    chosen_isolation: ChosenIsolation
    zygote: Zygote
    provisioner: Provisioner
    package_layers: PackageLayers
    # The rules of the platform.
    accounts: Accounts
    billing: Billing
    logins: Logins
    device_logins: DeviceLogins
    inspector_logins: InspectorLogins
    tickets: Tickets
    events: Events
    recorder: SandboxRecorder
    agent_sessions: AgentSessions
    snapshots: Snapshots
    live: LiveSandboxes
    sandboxes: Sandboxes
    lifecycle: SandboxLifecycle
    command_stubs: CommandStubs
    fake_repositories: FakeRepositories
    prepared_sandboxes: PreparedSandboxes
    execs: Execs
    files: Files
    terminals: Terminals
    mcp: McpServer
    ports: Ports
    rules: Rules
    notifications: Notifications
    alerts: Alerts
    alert_history: AlertHistory
    scheduler: Scheduler
    sockets: OpenSockets = field(default_factory=OpenSockets)
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    _scheduling: Optional[asyncio.Task[None]] = None
    _import_lock: Optional[asyncio.Lock] = None

    @property
    def import_lock(self) -> asyncio.Lock:
        """Held while what was read from an archive is added."""
        if self._import_lock is None:
            self._import_lock = asyncio.Lock()  # in Python 3.9 a lock belongs to the loop that runs when it is created
        return self._import_lock

    @property
    def registries(self) -> tuple[Registry[Any], ...]:
        """The controls that are added one by one, by kind. A kind that is missing here is never reported as unused."""
        return self.faults, self.stubs, self.agent_replies, self.repositories, self.prepared

    @property
    def isolation(self) -> IsolationLevel:
        """The isolation level of sandboxes."""
        return self.chosen_isolation.current

    @property
    def probe_results(self) -> list[ProbeResult]:
        """What was found out about isolation when the emulator was started."""
        return self.chosen_isolation.probe_results

    @property
    def is_persistent(self) -> bool:
        """Whether the state survives the emulator."""
        return self.durability.is_persistent

    def commit(self) -> None:
        """Make all changes durable. Raises OSError when that fails."""
        self.durability.commit()

    async def start(self) -> None:
        self.zygote.start()
        self._scheduling = asyncio.get_running_loop().create_task(self.scheduler.run())

    async def stop(self) -> None:
        """End every sandbox (stop those that are kept), then the background work, then the zygote. Bounded."""
        self.workers.copy.close("the emulator is stopping")
        self.faults.clear(ALL_ACCOUNTS)  # requests that hang would delay the end
        if self._scheduling is not None:
            self._scheduling.cancel()
            await asyncio.gather(self._scheduling, return_exceptions=True)
        if self.is_persistent:
            await self.lifecycle.stop_all()
        else:
            await self.lifecycle.destroy_all()
        await self.provisioner.close()
        await self.fake_repositories.stop()
        await self.background.finish(BACKGROUND_LIMIT)
        self.steps.close()  # streams of steps never end by themselves
        await self.zygote.stop()

    async def reset(self, account: AccountRecord) -> None:
        """Delete everything that an account has but its keys, and its controls. `*`: of every account. Exceptions of a
        test's functions stay: a reset must not turn a failed test into a passed one."""
        for each in list(self.store.accounts.values()) if account.id == ALL_ACCOUNTS else [account]:
            await self._empty(each)
        await self._reset_controls(account.id)

    async def _empty(self, account: AccountRecord) -> None:
        await self.lifecycle.destroy_all(account)
        self.snapshots.delete_all(account)
        self.notifications.delete_all(account)
        self.alerts.delete_all(account)
        self.agent_sessions.delete_all(account)
        account.history = History()
        self.events.forget(account)
        self.alert_history.forget(account)
        self.billing.reset(account, self.accounts.tier.name)
        account.window = (0, 0)
        account.rules, account.notification_config = {}, NotificationConfig()
        await self._reset_controls(account.id)

    async def reset_controls(self, account: AccountRecord) -> None:
        """Remove an account's controls and its journal. `*`: of every account. Exceptions of a test's functions
        stay."""
        for each in list(self.store.accounts.values()) if account.id == ALL_ACCOUNTS else ():
            await self._reset_controls(each.id)
        await self._reset_controls(account.id)

    async def _reset_controls(self, account_id: str) -> None:
        self.faults.clear(account_id)
        await self.command_stubs.clear(account_id)
        self.agent_replies.clear(account_id)
        await self.fake_repositories.clear(account_id)
        await self.prepared_sandboxes.clear(account_id)
        self.device_logins.allow_sandboxes(account_id, False)
        self.file_changes.enable(account_id, False)
        self.clock.reset(account_id)
        self.journal.clear(None if account_id == ALL_ACCOUNTS else account_id)
        self.steps.clear(None if account_id == ALL_ACCOUNTS else account_id)

    async def remove_account(self, account: AccountRecord) -> None:
        """Delete an account with everything in it. Its keys are refused from this call on. Exceptions of a test's
        functions stay: a test that has not looked at them yet would miss them."""
        self.accounts.remove(account)
        await self.reset(account)
        self.file_changes.forget(account.id)
        self.journal.drop(account.id)
        self.steps.drop(account.id)
