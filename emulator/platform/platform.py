"""All rules of one emulator, wired together."""

from __future__ import annotations

import asyncio
from typing import Optional

from ..control.current_account import ALL_ACCOUNTS
from ..history import History
from ..store import Account, NotificationConfig
from . import command_stubs
from .accounts import Accounts
from .alert_triggers import AlertTriggers
from .alerts import Alerts
from .billing import Billing
from .device_logins import DeviceLogins
from .events import Events
from .execs import Execs
from .files import Files
from .logins import Logins
from .notifications import Notifications
from .open_sockets import OpenSockets
from .ports import Ports
from .rules import Rules
from .sandboxes import Sandboxes
from .scheduler import Scheduler
from .services import Services
from .sessions import Sessions
from .snapshots import Snapshots
from .terminals import Terminals
from .tickets import Tickets
from .trust import Trust

BACKGROUND_LIMIT = 10.0


class Platform:
    """`start` and `stop` run on the emulator's loop."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.accounts = Accounts(services)
        self.billing = Billing(services)
        self.logins = Logins(services, self.accounts)
        self.device_logins = DeviceLogins(services, self.accounts)
        self.snapshots = Snapshots(services)
        self.events = Events(services)
        self.sessions = Sessions(services)
        self.sandboxes = Sandboxes(services, self.accounts, self.snapshots, self.sessions)
        self.trust = Trust(services)
        self.execs = Execs(services, self.sandboxes)
        self.files = Files(services, self.sandboxes)
        self.terminals = Terminals(services, self.sandboxes)
        self.sockets = OpenSockets()
        self.tickets = Tickets(services, self.accounts)
        self.rules = Rules(services)
        self.notifications = Notifications(services)
        self.alerts = Alerts(services, self.rules, self.notifications)
        self.alert_triggers = AlertTriggers(services, self.sandboxes, self.rules, self.alerts)
        self.scheduler = Scheduler(services, self.sandboxes)
        self.scheduler.also.append(self.alert_triggers.look)
        self.scheduler.also_due.append(self.alert_triggers.due)
        self.ports = Ports(services, self.sandboxes)
        self.scheduler.also.append(self.ports.tick)
        self._watching: Optional[asyncio.Task[None]] = None

    async def start(self) -> None:
        self.services.zygote.start()
        self._watching = asyncio.get_running_loop().create_task(self.scheduler.run())

    async def reset(self, account: Account) -> None:
        """Everything that an account has goes, but for its keys, and what a test asked of it. `*`: every account.
        Exceptions of a test's functions stay: a test must not become green by it."""
        await self._empty(account)

    async def _empty(self, account: Account) -> None:
        services = self.services
        for each in list(services.store.accounts.values()) if account.id == ALL_ACCOUNTS else [account]:
            await self.sandboxes.destroy_all(each)
            self.snapshots.delete_all(each)
            self.notifications.delete_all(each)
            self.alerts.delete_all(each)
            self.sessions.delete_all(each)
            each.history = History()
            self.events.forget(each)
            self.alert_triggers.forget(each)
            self.billing.begin_anew(each, self.accounts.tier.name)
            each.window = (0, 0)
            each.rules, each.notification_config = {}, NotificationConfig()
            await self._reset_controls(each.id)
        await self._reset_controls(account.id)

    async def reset_controls(self, account: Account) -> None:
        """What a test asked of an account, and what was noted of it. `*`: of every account. Exceptions of a test's
        functions stay."""
        for each in list(self.services.store.accounts.values()) if account.id == ALL_ACCOUNTS else ():
            await self._reset_controls(each.id)
        await self._reset_controls(account.id)

    async def _reset_controls(self, account_id: str) -> None:
        services = self.services
        services.faults.clear(account_id)
        await command_stubs.clear(services, account_id)
        services.agent_replies.clear(account_id)
        self.device_logins.allow_sandboxes(account_id, False)
        services.clock.reset(account_id)
        services.journal.clear(None if account_id == ALL_ACCOUNTS else account_id)

    async def delete_account(self, account: Account) -> None:
        """With everything in it. Its keys are refused from this call on. Exceptions of a test's functions stay: who
        has not looked at them would miss them."""
        self.accounts.remove(account)
        await self._empty(account)
        self.services.journal.drop(account.id)

    async def stop(self) -> None:
        """Ends every sandbox (those that are kept are stopped), then the background work, then the zygote. Bounded."""
        self.services.workers.copy.close("the emulator is stopping")
        self.services.faults.clear_all()  # requests that hang would delay the end
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self.services.keeper is not None:
            await self.sandboxes.stop_all()
        else:
            await self.sandboxes.destroy_all()
        if self.services.tasks:
            _done, late = await asyncio.wait(set(self.services.tasks), timeout=BACKGROUND_LIMIT)
            for task in late:
                task.cancel()
        await self.services.zygote.stop()
