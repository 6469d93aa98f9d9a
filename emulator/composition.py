"""The composition root: everything that one emulator's platform consists of, made in the order of its dependencies.

Nothing else makes these objects, and none of them gets a part later: what a class uses is an argument of its
constructor. Objects that would need each other are connected by `Signals`, or by a small third one that both are given.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Callable, Optional

from .cage.cgroups import MemoryGroups
from .cage.chosen_isolation import ChosenIsolation
from .cage.provisioning import Provisioner
from .cage.toolchains import Toolchains
from .cage.zygote import Zygote
from .config import EmulatorConfig
from .control.callbacks import CallbackErrors
from .control.clock import Clock
from .control.fault_registry import Faults
from .control.journal import Journal
from .control.prepared_registry import PreparedRegistry
from .control.randomness import Randomness
from .control.reply_registry import AgentReplies
from .control.repository_registry import Repositories
from .control.routes import Route
from .control.steps import Steps
from .control.stub_registry import Stubs
from .pace import LongWorkLock
from .platform.accounts import Accounts
from .platform.agent_runs import AgentRuns
from .platform.agent_sessions import AgentSessions
from .platform.alert_history import AlertHistory
from .platform.alert_triggers import AlertTriggers
from .platform.alerts import Alerts
from .platform.background import BackgroundTasks
from .platform.billing import Billing
from .platform.command_stubs import CommandStubs
from .platform.device_logins import DeviceLogins
from .platform.durability import Durability, StateWriter
from .platform.events import Events
from .platform.execs import Execs
from .platform.fake_repositories import FakeRepositories
from .platform.file_change_recording import FileChangeRecording
from .platform.file_writes import FileWrites
from .platform.files import Files
from .platform.inspector_logins import InspectorLogins
from .platform.live_sandboxes import LiveSandboxes
from .platform.logins import Logins
from .platform.mcp_server import McpServer
from .platform.notifications import Notifications
from .platform.package_layers import PackageLayers
from .platform.platform import Platform
from .platform.ports import Ports
from .platform.prepared_sandboxes import PreparedSandboxes
from .platform.recorder import SandboxRecorder
from .platform.rules import Rules
from .platform.sandbox_lifecycle import SandboxLifecycle
from .platform.sandbox_limits import SandboxLimits
from .platform.sandbox_setup import SandboxSetup
from .platform.sandbox_starter import ProcessLossHandler, SandboxStarter
from .platform.sandboxes import Sandboxes
from .platform.scheduler import Scheduler
from .platform.shim_requests import ShimRequests
from .platform.signals import Signals
from .platform.snapshots import Snapshots
from .platform.terminals import Terminals
from .platform.tickets import Tickets
from .platform.trust import Trust
from .store import Store
from .workers import Workers


def compose(
    *,
    config: EmulatorConfig,
    admin_key: str,
    base_url: str,
    clock: Clock,
    randomness: Randomness,
    workers: Workers,
    zygote: Zygote,
    chosen_isolation: ChosenIsolation,
    memory_groups: Optional[MemoryGroups],
    run_dir: Path,
    files_dir: Path,
    state_writer: Optional[StateWriter],
    log_tail: Callable[[int, str], list[str]],
    signing_key: bytes,
    routes: Callable[[], Collection[Route]],
) -> Platform:
    """Make a platform.

    Args:
        run_dir: The directory of what goes when the emulator stops.
        files_dir: The directory of sandboxes and snapshots: the state directory, or `run_dir`.
        state_writer: Writes the state to where it survives the emulator; None: nothing survives.
        memory_groups: Where control groups can be made for sandboxes; None: not here, or limits are off.
        signing_key: Signs the URLs of downloads.
        routes: Returns the routes of the platform's API. Not called before a control or a query is checked.
    """
    prepared = PreparedRegistry(randomness)
    store, live, long_work = Store(), LiveSandboxes(), LongWorkLock()
    signals, background, durability = Signals(), BackgroundTasks(), Durability(state_writer)
    journal, steps = Journal(), Steps(clock)
    faults, stubs = Faults(randomness, routes), Stubs(randomness)
    agent_replies, callback_errors = AgentReplies(randomness), CallbackErrors(randomness)
    repositories = Repositories(randomness)
    toolchains = Toolchains()
    provisioner = Provisioner(run_dir, zygote, chosen_isolation, toolchains.shell, workers)
    #: Local addresses of the connections that this process has opened on behalf of sandboxes.
    relayed: set[tuple[str, int]] = set()

    accounts = Accounts(config, store, clock, randomness)
    events = Events(store, clock, randomness, journal, steps, long_work, signals)
    file_changes = FileChangeRecording(live, steps)
    recorder = SandboxRecorder(clock, journal, events, callback_errors, steps, file_changes)
    sessions = AgentSessions(store, clock, randomness, signals)
    snapshots = Snapshots(
        store, clock, live, randomness, files_dir, signals, recorder, background, durability, signing_key
    )

    command_stubs = CommandStubs(stubs, store, live, workers, recorder)
    file_writes = FileWrites(clock, live, recorder)
    agent_runs = AgentRuns(
        clock, live, journal, agent_replies, chosen_isolation, sessions, file_writes, recorder, steps
    )
    fake_repositories = FakeRepositories(
        repositories, store, live, chosen_isolation, recorder, journal, steps, clock, workers, run_dir
    )
    starter = SandboxStarter(
        config,
        live,
        chosen_isolation,
        provisioner,
        toolchains,
        memory_groups,
        files_dir,
        relayed,
        command_stubs,
        ShimRequests(stubs, live, command_stubs, agent_runs, recorder, steps),
        ProcessLossHandler(clock, live, recorder, sessions, signals),
        recorder,
        background,
        fake_repositories,
    )
    package_layers = PackageLayers(
        config,
        chosen_isolation,
        provisioner,
        toolchains,
        command_stubs,
        recorder,
        workers,
        run_dir,
        relayed,
        state_writer is not None,
    )
    sandboxes = Sandboxes(store, clock, live)
    setup = SandboxSetup(clock, live, starter, command_stubs, recorder, fake_repositories, package_layers)
    lifecycle = SandboxLifecycle(
        store,
        clock,
        randomness,
        live,
        SandboxLimits(config, store, accounts, chosen_isolation, provisioner),
        setup,
        snapshots,
        sessions,
        signals,
        recorder,
        durability,
        files_dir,
        workers,
        background,
    )

    rules, notifications = Rules(randomness), Notifications(store, randomness)
    alerts = Alerts(store, clock, randomness, rules, notifications, steps)
    Trust(store, clock, signals, recorder)  # reached by the signals that it is connected to
    alert_history = AlertHistory(store, clock)
    alert_triggers = AlertTriggers(store, clock, signals, background, lifecycle, rules, alerts, alert_history)
    ports = Ports(config, store, clock, live, chosen_isolation, recorder, background, sandboxes, provisioner)
    scheduler = Scheduler(
        config,
        store,
        clock,
        live,
        signals,
        recorder,
        background,
        lifecycle,
        checks=[alert_triggers.check, ports.tick],
        due_times=[alert_triggers.due],
    )
    return Platform(
        config=config,
        admin_key=admin_key,
        base_url=base_url,
        log_tail=log_tail,
        run_dir=run_dir,
        files_dir=files_dir,
        store=store,
        clock=clock,
        randomness=randomness,
        workers=workers,
        long_work=long_work,
        background=background,
        signals=signals,
        durability=durability,
        journal=journal,
        steps=steps,
        file_changes=file_changes,
        faults=faults,
        stubs=stubs,
        agent_replies=agent_replies,
        repositories=repositories,
        callback_errors=callback_errors,
        chosen_isolation=chosen_isolation,
        zygote=zygote,
        provisioner=provisioner,
        package_layers=package_layers,
        accounts=accounts,
        billing=Billing(store, clock, signals),
        logins=Logins(store, clock, randomness, workers, signals, accounts),
        device_logins=DeviceLogins(store, clock, zygote, workers, relayed, signals, accounts),
        inspector_logins=InspectorLogins(base_url),
        tickets=Tickets(clock, signals, accounts),
        events=events,
        recorder=recorder,
        agent_sessions=sessions,
        snapshots=snapshots,
        live=live,
        prepared=prepared,
        prepared_sandboxes=PreparedSandboxes(prepared, store, clock, live, chosen_isolation, setup, workers, run_dir),
        sandboxes=sandboxes,
        lifecycle=lifecycle,
        command_stubs=command_stubs,
        fake_repositories=fake_repositories,
        execs=Execs(live, workers, sandboxes, command_stubs, recorder, signals),
        files=Files(clock, live, sandboxes, file_writes, recorder),
        terminals=Terminals(clock, randomness, live, sandboxes, command_stubs, recorder, provisioner),
        mcp=McpServer(clock, live, sandboxes, command_stubs, recorder),
        ports=ports,
        rules=rules,
        notifications=notifications,
        alerts=alerts,
        alert_history=alert_history,
        scheduler=scheduler,
    )
