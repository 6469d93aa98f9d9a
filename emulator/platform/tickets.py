"""Credentials of WebSockets: a ticket that opens one, or an API key (docs/contract/wire-contract.md 3.11, 4.1)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from ..control.clock import Clock
from ..control.current_account import act_for
from ..store import AccountRecord, Key
from .accounts import Accounts
from .errors import ApiError
from .signals import Signals

TICKET_SECONDS = 60
PREFIX = "caged_wst_"


@dataclass(frozen=True)
class Ticket:
    secret: str
    key: Key
    #: Epoch seconds on the emulator's clock.
    expires: float


class Tickets:
    def __init__(self, clock: Clock, signals: Signals, accounts: Accounts) -> None:
        self._clock = clock
        self._signals = signals
        self._accounts = accounts
        self._open: dict[str, Ticket] = {}
        self._signals.connect("clock_set", self._clock_set)

    def _clock_set(self, account_id: str, seconds: float) -> None:
        for ticket in list(self._open.values()):
            if ticket.key.account_id == account_id:
                self._open[ticket.secret] = replace(ticket, expires=ticket.expires + seconds)

    def mint(self, key: Key) -> Ticket:
        """Create a ticket that is valid for one WebSocket handshake, for TICKET_SECONDS."""
        now = self._clock.time()
        for old in self._expired(key.account_id, now):
            del self._open[old]
        secret = f"{PREFIX}{secrets.token_hex(8)}.{secrets.token_urlsafe(24)}"
        self._open[secret] = Ticket(secret, key, now + TICKET_SECONDS)
        return self._open[secret]

    def _expired(self, account_id: str, now: float) -> list[str]:
        """Return the expired tickets of one account: clocks of accounts may differ."""
        mine = [ticket for ticket in self._open.values() if ticket.key.account_id == account_id]
        return [ticket.secret for ticket in mine if ticket.expires <= now]

    def admit(self, token: str) -> tuple[AccountRecord, Key]:
        """Return the account and key of a ticket or API key. A ticket is used up by that. 401 otherwise."""
        if not token:
            raise ApiError(
                401, "no credential: add `?token=<ticket>`, from POST /v1/auth/socket-ticket, or the API key"
            )
        if not token.startswith(PREFIX):
            return self._accounts.authenticate(token)
        ticket = self._open.pop(token, None)
        if ticket is not None:
            act_for(ticket.key.account_id)
        if ticket is None or ticket.expires <= self._clock.time():
            raise ApiError(401, "this ticket is used up, too old or none of ours; get a new one for every socket")
        return self._accounts.authenticate(ticket.key.secret)
