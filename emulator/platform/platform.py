"""All rules of one emulator, wired together."""

from __future__ import annotations

import asyncio
from typing import Optional

from ..control.scope import EVERYBODY
from ..history import History
from ..store import Account, NotificationConfig
from . import standing_in
from .accounts import Accounts
from .alarms import Alarms
from .alerts import Alerts
from .billing import Billing
from .devices import Devices
from .events import Events
from .execs import Execs
from .files import Files
from .logins import Logins
from .notifications import Notifications
from .open_sockets import OpenSockets
from .ports import Ports
from .rules import Rules
from .sandboxes import Sandboxes
from .services import Services
from .sessions import Sessions
from .snapshots import Snapshots
from .terminals import Terminals
from .tickets import Tickets
from .trust import Trust
from .watch import Watch

BACKGROUND_LIMIT = 10.0


class Platform:
    """`start` and `stop` run on the emulator's loop."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.accounts = Accounts(services)
        self.billing = Billing(services)
        self.logins = Logins(services, self.accounts)
        self.devices = Devices(services, self.accounts)
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
        self.alarms = Alarms(services, self.sandboxes, self.rules, self.alerts)
        self.watch = Watch(services, self.sandboxes)
        self.watch.also.append(self.alarms.look)
        self.watch.also_due.append(self.alarms.due)
        self.ports = Ports(services, self.sandboxes)
        self.watch.also.append(self.ports.tick)
        self._watching: Optional[asyncio.Task[None]] = None

    async def start(self) -> None:
        self.services.zygote.start()
        self._watching = asyncio.get_running_loop().create_task(self.watch.run())

    async def reset(self, account: Account) -> None:
        """Everything that an account has goes, but for its keys, and what a test asked of it. `*`: every account.
        Exceptions of a test's functions stay: a test must not become green by it."""
        await self._empty(account)

    async def _empty(self, account: Account) -> None:
        services = self.services
        for each in list(services.store.accounts.values()) if account.id == EVERYBODY else [account]:
            await self.sandboxes.destroy_all(each)
            self.snapshots.delete_all(each)
            self.notifications.delete_all(each)
            self.alerts.delete_all(each)
            self.sessions.delete_all(each)
            each.history = History()
            self.events.forget(each)
            self.alarms.forget(each)
            self.billing.begin_anew(each, self.accounts.tier.name)
            each.window = (0, 0)
            each.rules, each.notification_config = {}, NotificationConfig()
            await self._forget(each.id)
        await self._forget(account.id)

    async def forget(self, account: Account) -> None:
        """What a test asked of an account, and what was noted of it. `*`: of every account. Exceptions of a test's
        functions stay."""
        for each in list(self.services.store.accounts.values()) if account.id == EVERYBODY else ():
            await self._forget(each.id)
        await self._forget(account.id)

    async def _forget(self, account_id: str) -> None:
        services = self.services
        services.faults.clear(account_id)
        await standing_in.clear(services, account_id)
        services.scripts.clear(account_id)
        self.devices.allow_sandboxes(account_id, False)
        services.clock.reset(account_id)
        services.journal.forget(None if account_id == EVERYBODY else account_id)

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
