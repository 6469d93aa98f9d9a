"""Logins of the command line client by device code (docs/contract/wire-other-clients.md 2.4).

A code is approved or denied when it is created, and the emulator's log says so. A code for a process of this machine
that is outside of every sandbox is approved for the emulator's first account, whose key the developer has anyway. A
code for another machine is denied, and so is one for a sandbox, unless the sandbox's account allows it; then it is
approved for that account and no other.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
from dataclasses import dataclass
from typing import Optional

from ..cage.peers import Address, Peer, peer_of
from ..cage.zygote import Zygote
from ..control.clock import Clock
from ..store import AccountRecord, Store
from ..workers import Workers
from .accounts import Accounts
from .errors import ApiError
from .signals import Signals

logger = logging.getLogger(__name__)

EXPIRES_SECONDS = 600
#: Seconds between polls; for less than 3 the client uses 5.
INTERVAL_SECONDS = 3
#: Letters that are not taken for others when a code is read aloud.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_KEPT = 1000


@dataclass
class DeviceLogin:
    """One code. `account_id`: the account that it is approved for; None: it is denied. `origin`: the client, in
    words."""

    device_code: str
    user_code: str
    expires: float
    account_id: Optional[str]
    origin: str
    used: bool = False


def refused(error: str, detail: str) -> ApiError:
    """Return a 400 with the `error` code that the client evaluates, and `detail` for people."""
    return ApiError(400, detail, error=error)


class DeviceLogins:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        zygote: Zygote,
        workers: Workers,
        relayed: set[tuple[str, int]],
        signals: Signals,
        accounts: Accounts,
    ) -> None:
        self._store = store
        self._clock = clock
        self._zygote = zygote
        self._workers = workers
        self._relayed = relayed
        self._signals = signals
        self._accounts = accounts
        self._devices: dict[str, DeviceLogin] = {}  # by device code
        #: Accounts whose sandboxes may log in.
        self._allowed: set[str] = set()
        self._signals.connect("clock_set", self._clock_set)

    def _clock_set(self, account_id: str, seconds: float) -> None:
        """Codes belong to no account when they are created, so they follow the emulator's own clock."""
        if not account_id:
            for device in self._devices.values():
                device.expires += seconds

    def allow_sandboxes(self, account_id: str, allowed: bool) -> None:
        """Approve logins from the account's sandboxes, or deny them again."""
        (self._allowed.add if allowed else self._allowed.discard)(account_id)

    async def begin(self, client: Optional[Address], server: Optional[Address]) -> DeviceLogin:
        """Create a code for the client at one address, which is connected to the other."""
        peer = await self._peer(client, server)
        now = self._clock.time()
        self._devices = {code: device for code, device in self._devices.items() if now < device.expires}
        while len(self._devices) >= _KEPT:
            del self._devices[next(iter(self._devices))]
        letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
        account_id = self._approved_for(peer)
        device = DeviceLogin(
            secrets.token_urlsafe(32), f"{letters[:4]}-{letters[4:]}", now + EXPIRES_SECONDS, account_id, peer.why
        )
        self._devices[device.device_code] = device
        probe_result = f"approved for account {account_id}" if account_id else "denied"
        logger.info("device login %s from %s: %s", device.user_code, peer.why, probe_result)
        return device

    async def _peer(self, client: Optional[Address], server: Optional[Address]) -> Peer:
        if client is None or server is None or not _is_loopback(client[0]):
            return Peer(False, "", "another machine")
        zygote = self._zygote
        inits = dict(zygote.inits)
        relayed = frozenset(self._relayed)
        return await self._workers.small.run(peer_of, client, server, zygote.pid, inits, relayed)

    def _approved_for(self, peer: Peer) -> Optional[str]:
        """Return the id of the account that a client is approved for; None: it is denied."""
        if peer.is_host:
            first = self._accounts.first()
            return None if first is None else first.id
        sandbox = self._store.sandboxes.get(peer.sandbox)
        return sandbox.account_id if sandbox is not None and sandbox.account_id in self._allowed else None

    async def redeem(
        self, device_code: str, client: Optional[Address], server: Optional[Address]
    ) -> tuple[AccountRecord, str]:
        """Return the account and an API key of an approved code, once. An approved code is still denied to a sandbox
        that may not log in to that account."""
        device = self._devices.get(device_code)
        if device is None:
            raise refused("invalid_grant", "the device code is unknown; begin with POST /v1/auth/device/code")
        if device.account_id is not None:
            peer = await self._peer(client, server)
            if not peer.is_host and self._approved_for(peer) != device.account_id:
                raise refused("access_denied", f"the code was created for another client than {peer.why}")
        if device.used or self._clock.time() >= device.expires:
            raise refused("expired_token", "the device code has expired or was used already; log in again")
        account = self._store.accounts.get(device.account_id or "")
        if account is None:
            raise refused(
                "access_denied",
                f"a login from {device.origin} is not approved: use an API key, or, in a test, allow the"
                " account's sandboxes to log in (allow_device_login)",
            )
        device.used = True
        logger.info("device login %s has the API key of account %s now", device.user_code, account.id)
        return account, self._accounts.full_key(account).secret

    def describe(self, user_code: str) -> str:
        """Return the text of the verification page about a code."""
        for device in self._devices.values():
            if device.user_code == user_code and self._clock.time() < device.expires:
                if device.account_id is None:
                    return f"{user_code} comes from {device.origin} and was denied."
                return f"{user_code} is approved{' and in use' if device.used else ''}. You can close this page."
        return "This code is unknown or has expired. Run `caged login` again."


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)
