"""The two clients: thin shells that hold a session and the resource groups.

A group's module is loaded when it is first used: most programs use one or two of them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Optional

from ._closeable import AsyncCloseable, Closeable
from ._constants import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT
from ._http import AsyncSession, Session, check_open
from ._naming import public
from ._settings import resolve
from ._tracebacks import short_tracebacks

if TYPE_CHECKING:
    import httpx

    from ._models.tickets import SocketTicket
    from ._resources.account import AccountAPI, AsyncAccountAPI
    from ._resources.alerts import Alerts, AsyncAlerts
    from ._resources.billing import AsyncBilling, Billing
    from ._resources.events import AsyncEvents, Events
    from ._resources.files import AsyncFiles, Files
    from ._resources.notifications import AsyncNotifications, Notifications
    from ._resources.sandboxes import AsyncSandboxes, Sandboxes
    from ._resources.sessions import AsyncSessions, Sessions
    from ._resources.snapshots import AsyncSnapshots, Snapshots


@public
@short_tracebacks
class Caged(Closeable):
    """The Caged platform, blocking. Threads may share one client.

    Args:
        api_key: Falls back to ``CAGED_API_KEY``.
        base_url: Falls back to ``CAGED_BASE_URL``, then to ``https://api.caged.dev``; without the ``/v1`` of the
            API's paths. Another prefix of the path is kept.
            Proxy variables of the environment apply, except for loopback addresses.
        timeout: Seconds for each wait on the network (connect, send, each read) of calls that have no limit
            of their own; None means no limit.
        transport: An httpx transport to send through, e.g. ``httpx.MockTransport``; closed with the client.
        max_retries: How often a failed call may be tried again; 0 turns retries off. Any call is repeated
            when no connection came about; only calls that do no harm twice (reads, deletes, ``files.write``)
            after a lost connection or a 429, 502, 503 or 504.

    Raises:
        CagedError: No key, or an argument that cannot be used.
    """

    def __init__(
        self,
        api_key: Optional[str] = None,
        base_url: Optional[str] = None,
        timeout: Optional[float] = DEFAULT_TIMEOUT,
        transport: Optional[httpx.BaseTransport] = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
    ) -> None:
        self._session = Session(resolve(api_key, base_url, timeout, max_retries), transport)

    @cached_property
    def account(self) -> AccountAPI:
        """The account and its API keys."""
        from ._resources.account import AccountAPI

        return AccountAPI(self._session)

    @cached_property
    def alerts(self) -> Alerts:
        """Alerts and the rules that raise them."""
        from ._resources.alerts import Alerts

        return Alerts(self._session)

    @cached_property
    def billing(self) -> Billing:
        """The plan and what was used."""
        from ._resources.billing import Billing

        return Billing(self._session)

    @cached_property
    def events(self) -> Events:
        """Events that a program reports itself."""
        from ._resources.events import Events

        return Events(self._session)

    @cached_property
    def files(self) -> Files:
        """Files and git diffs."""
        from ._resources.files import Files

        return Files(self._session)

    @cached_property
    def notifications(self) -> Notifications:
        """Notifications and where they go."""
        from ._resources.notifications import Notifications

        return Notifications(self._session)

    @cached_property
    def sandboxes(self) -> Sandboxes:
        """Sandboxes, commands and terminals in them."""
        from ._resources.sandboxes import Sandboxes

        return Sandboxes(self._session)

    @cached_property
    def sessions(self) -> Sessions:
        """Runs of agents and their replay."""
        from ._resources.sessions import Sessions

        return Sessions(self._session)

    @cached_property
    def snapshots(self) -> Snapshots:
        """Copies of workspaces."""
        from ._resources.snapshots import Snapshots

        return Snapshots(self._session)

    def socket_ticket(self) -> SocketTicket:
        """A ticket that opens one WebSocket of the API in place of the key, e.g. in a browser."""
        from ._resources.tickets import socket_ticket

        return self._session.send(socket_ticket())

    def close(self) -> None:
        """Close all connections; a call afterwards is a `CagedError`. May be called twice."""
        self._session.close()

    def _begin(self) -> None:
        check_open(self._session)

    def __repr__(self) -> str:
        return f"Caged(base_url={self._session.settings.base_url!r})"


@public
@short_tracebacks
class AsyncCaged(AsyncCloseable):
    """The Caged platform for asyncio: the arguments, methods, results and errors of `Caged`, awaited.

    ``transport`` is an ``httpx.AsyncBaseTransport``. A client belongs to the event loop of its first call, because
    its connections do; a call from another loop is a `CagedError`, unless a `transport` was given that can do it.
    """

    def __init__(
        self,
        api_key: Optional[str] = None,
        base_url: Optional[str] = None,
        timeout: Optional[float] = DEFAULT_TIMEOUT,
        transport: Optional[httpx.AsyncBaseTransport] = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
    ) -> None:
        self._session = AsyncSession(resolve(api_key, base_url, timeout, max_retries), transport)

    @cached_property
    def account(self) -> AsyncAccountAPI:
        """The account and its API keys."""
        from ._resources.account import AsyncAccountAPI

        return AsyncAccountAPI(self._session)

    @cached_property
    def alerts(self) -> AsyncAlerts:
        """Alerts and the rules that raise them."""
        from ._resources.alerts import AsyncAlerts

        return AsyncAlerts(self._session)

    @cached_property
    def billing(self) -> AsyncBilling:
        """The plan and what was used."""
        from ._resources.billing import AsyncBilling

        return AsyncBilling(self._session)

    @cached_property
    def events(self) -> AsyncEvents:
        """Events that a program reports itself."""
        from ._resources.events import AsyncEvents

        return AsyncEvents(self._session)

    @cached_property
    def files(self) -> AsyncFiles:
        """Files and git diffs."""
        from ._resources.files import AsyncFiles

        return AsyncFiles(self._session)

    @cached_property
    def notifications(self) -> AsyncNotifications:
        """Notifications and where they go."""
        from ._resources.notifications import AsyncNotifications

        return AsyncNotifications(self._session)

    @cached_property
    def sandboxes(self) -> AsyncSandboxes:
        """Sandboxes, commands and terminals in them."""
        from ._resources.sandboxes import AsyncSandboxes

        return AsyncSandboxes(self._session)

    @cached_property
    def sessions(self) -> AsyncSessions:
        """Runs of agents and their replay."""
        from ._resources.sessions import AsyncSessions

        return AsyncSessions(self._session)

    @cached_property
    def snapshots(self) -> AsyncSnapshots:
        """Copies of workspaces."""
        from ._resources.snapshots import AsyncSnapshots

        return AsyncSnapshots(self._session)

    async def socket_ticket(self) -> SocketTicket:
        """See `Caged.socket_ticket`."""
        from ._resources.tickets import socket_ticket

        return await self._session.send(socket_ticket())

    async def aclose(self) -> None:
        """Close all connections; a call afterwards is a `CagedError`. May be called twice."""
        await self._session.close()

    async def close(self) -> None:
        """The same as `aclose`."""
        await self.aclose()

    async def _begin(self) -> None:
        check_open(self._session)

    def __repr__(self) -> str:
        return f"AsyncCaged(base_url={self._session.settings.base_url!r})"
