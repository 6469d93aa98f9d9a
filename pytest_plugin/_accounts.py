"""The accounts that fixtures work with: their clients are closed with them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn, Optional

import pytest

from caged.emulator.control_client import local_accounts
from caged.emulator.control_client.base_emulator import AccountInfo, AccountView
from caged.emulator.control_client.controls import Controls

from ._closing import close_async
from ._policy import POLICY
from ._transport import unpooled_transport

if TYPE_CHECKING:
    from caged import AsyncCaged, Caged
    from caged.emulator.control_client.base_emulator import BaseEmulator

    from ._creations import Creations


class _Clients(Controls):
    """An account whose clients are closed by `close_clients`."""

    __slots__ = ()
    _closing: ExitStack

    def client(self, api_key: Optional[str] = None, **options: Any) -> Caged:
        """Create a client of the account. Options are those of `Caged`. It is closed with the account."""
        client = super().client(api_key, **options)
        self._closing.callback(client.close)
        self._created(client)
        return client

    def async_client(self, api_key: Optional[str] = None, **options: Any) -> AsyncCaged:
        """Create an asynchronous client of the account, for any event loop. Options are those of `AsyncCaged`. It is
        closed with the account."""
        # Connections belong to an event loop, and which one a test uses, and how often it starts a new one, is not
        # known here. So no connection outlives its request: there is nothing to close too late.
        options.setdefault("transport", unpooled_transport(self.base_url))
        client = super().async_client(api_key, **options)
        self._closing.callback(close_async, client)
        self._created(client)
        return client

    def _created(self, client: Any) -> None:
        pass

    def close_clients(self) -> None:
        self._closing.close()


class EmulatorAccount(_Clients, AccountView):
    """An account on the emulator."""

    __slots__ = ("_closing",)

    def __init__(self, emulator: BaseEmulator, account: AccountInfo) -> None:
        super().__init__(emulator, account)
        self._closing = ExitStack()


def create_account(emulator: BaseEmulator, config: pytest.Config, name: str) -> EmulatorAccount:
    """Create an account for a fixture. Where traces are written, it records which files commands and agents change."""
    record = config.stash[POLICY].trace != "off"
    admin = emulator._admin
    if admin.is_local:
        return EmulatorAccount(emulator, AccountInfo(*local_accounts.create(admin, name, record)))
    return EmulatorAccount(emulator, emulator.create_account(name, record_file_changes=record))


def remove_account(account: EmulatorAccount) -> None:
    """Delete the account of a fixture with everything in it."""
    admin = account.emulator._admin
    if admin.is_local:
        local_accounts.remove(admin, account.id)
    else:
        account.emulator.remove_account(account.id)


class LiveAccount(_Clients):
    """The account of a live run's API key. It has clients; all controls skip, for there is no emulator."""

    __slots__ = ("_api_key", "_base_url", "_closing", "_creations")

    def __init__(self, base_url: str, api_key: str, creations: Creations) -> None:
        self._closing = ExitStack()
        self._base_url, self._api_key, self._creations = base_url, api_key, creations

    @property
    def _admin(self) -> NoReturn:
        pytest.skip("caged_factory: the caged target is live, there is no emulator with faults, stubs or a clock")

    @property
    def base_url(self) -> str:
        return self._base_url

    @property
    def api_key(self) -> str:
        return self._api_key

    def _created(self, client: Any) -> None:
        self._creations.clients.add(client._session._http)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("id", "emulator", "export", "log_tail"):
                return self._admin
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
