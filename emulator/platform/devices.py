"""Logging in the command line client by device code (wire-other-clients.md 2.4).

Nobody is asked: a code is approved when it is made, and the emulator's log says so. Who gets one gets the key of the
emulator's first account, so only this machine does: a client at another address is told `access_denied`.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass

from ..store import Account
from .accounts import Accounts
from .refusal import Refusal
from .services import Services

EXPIRES_SECONDS = 600
#: Seconds between polls; the client takes 5 when it is told less than 3.
INTERVAL_SECONDS = 3
#: Letters that nobody takes for another when reading a code aloud.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_KEPT = 1000


@dataclass
class Device:
    device_code: str
    user_code: str
    expires: float
    here: bool
    used: bool = False


def refused(error: str, detail: str) -> Refusal:
    """`error` is the word that the client goes by, `detail` the sentence for people."""
    return Refusal(400, detail, error=error)


class Devices:
    def __init__(self, services: Services, accounts: Accounts) -> None:
        self._services = services
        self._accounts = accounts
        self._devices: dict[str, Device] = {}  # by device code
        services.signals.connect("clock_set", self._clock_set)

    def _clock_set(self, account_id: str, seconds: float) -> None:
        """Codes are made before it is known for which account."""
        if not account_id:
            for device in self._devices.values():
                device.expires += seconds

    def begin(self, address: str) -> Device:
        """A new code for the client at `address`."""
        now = self._services.clock.time()
        self._devices = {code: device for code, device in self._devices.items() if now < device.expires}
        while len(self._devices) >= _KEPT:
            del self._devices[next(iter(self._devices))]
        letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
        device = Device(
            secrets.token_urlsafe(32), f"{letters[:4]}-{letters[4:]}", now + EXPIRES_SECONDS, _is_loopback(address)
        )
        self._devices[device.device_code] = device
        verdict = "approved by itself" if device.here else "denied: it comes from another machine"
        self._services.log(f"device login {device.user_code} from {address}: {verdict}")
        return device

    def redeem(self, device_code: str) -> tuple[Account, str]:
        """(account, API key), once."""
        device = self._devices.get(device_code)
        account = self._accounts.first()
        if device is None:
            raise refused("invalid_grant", "the device code is unknown; begin with POST /v1/auth/device/code")
        if device.used or self._services.clock.time() >= device.expires:
            raise refused("expired_token", "the device code has expired or was used already; log in again")
        if not device.here or account is None:
            raise refused("access_denied", "only this machine is logged in by itself; use an API key instead")
        device.used = True
        self._services.log(f"device login {device.user_code} has the API key of account {account.id} now")
        return account, self._accounts.full_key(account).secret

    def told(self, user_code: str) -> str:
        """What the verification page says about a code."""
        for device in self._devices.values():
            if device.user_code == user_code and self._services.clock.time() < device.expires:
                if not device.here:
                    return f"{user_code} comes from another machine and was denied."
                return f"{user_code} is approved{' and in use' if device.used else ''}. You can close this page."
        return "This code is unknown or has expired. Run `caged login` again."


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
