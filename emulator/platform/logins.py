"""Sign-up, login, and login sessions (docs/contract/platform-behaviour.md B 1; docs/contract/wire-contract.md 3.5).

No source documents the answers of the two calls. The token works as a bearer for /v1 like a full API key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Optional

from ..control.clock import Clock
from ..control.randomness import Randomness
from ..store import AccountRecord, Key, LoginSession, Store
from ..workers import Workers
from .accounts import Accounts
from .errors import ApiError, invalid, not_found
from .signals import Signals

PASSWORD_LEAST = 8
PASSWORD_MOST = 1024
#: Login sessions of one emulator; the oldest end first.
MOST = 10_000
#: Some control characters by number: `\s` has different ones in different languages.
EMAIL, EMAIL_MOST = r"[^@\s\x1c-\x1f\x85]+@[^@\s\x1c-\x1f\x85]+", 254
SESSION_SECONDS = 7 * 24 * 3600


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=2**12, r=8, p=1)


class Logins:
    def __init__(
        self, store: Store, clock: Clock, randomness: Randomness, workers: Workers, signals: Signals, accounts: Accounts
    ) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._workers = workers
        self._signals = signals
        self._accounts = accounts
        self._signals.connect("clock_set", self._clock_set)

    def _clock_set(self, account_id: str, seconds: float) -> None:
        for login in self._store.logins.values():
            if login.key.account_id == account_id:
                login.expires += seconds

    async def signup(
        self, email: str, password: str, name: str, user_agent: str, ip: str
    ) -> tuple[AccountRecord, LoginSession]:
        """Create an account without API keys, and log it in. 400 for a wrong address or password, 409 when the address
        has an account."""
        email = email.strip().lower()
        if len(email) > EMAIL_MOST or not re.fullmatch(EMAIL, email):
            raise invalid("email: is not an e-mail address")
        if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
            raise invalid(f"password: must have at least {PASSWORD_LEAST} characters, and at most {PASSWORD_MOST}")
        salt = secrets.token_bytes(16)
        hashed = await self._workers.walk.run(_hash, password, salt)
        if self._of_email(email) is not None:
            raise ApiError(409, f"{email} has an account already; log in instead")
        account = self._accounts.create_bare(name.strip() or email.partition("@")[0], email)
        account.password = (salt, hashed)
        return account, self._open(account, user_agent, ip)

    async def login(self, email: str, password: str, user_agent: str, ip: str) -> tuple[AccountRecord, LoginSession]:
        """Log an account in. 401 for a wrong address or password, without saying which."""
        account = self._of_email(email.strip().lower())
        salt, expected = (account and account.password) or (b"", b"")
        given = await self._workers.walk.run(_hash, password[:PASSWORD_MOST], salt)
        if (
            account is None
            or account.id not in self._store.accounts
            or len(password) > PASSWORD_MOST
            or not hmac.compare_digest(given, expected)
        ):
            raise ApiError(401, "wrong email or password; POST /signup makes an account")
        return account, self._open(account, user_agent, ip)

    def _of_email(self, email: str) -> Optional[AccountRecord]:
        return next((account for account in self._store.accounts.values() if account.email == email), None)

    def _open(self, account: AccountRecord, user_agent: str, ip: str) -> LoginSession:
        store, clock = self._store, self._clock
        identifier = self._randomness.identifier("login", {login.id for login in store.logins.values()})
        at = clock.timestamp()
        key = Key(identifier, account.id, "dashboard", f"caged_ses_{secrets.token_hex(24)}", "full", at)
        login = LoginSession(identifier, key, user_agent, ip, at, clock.time() + SESSION_SECONDS)
        while len(store.logins) >= MOST:
            del store.logins[next(iter(store.logins))]
        store.logins[key.secret] = login
        return login

    def of(self, account: AccountRecord) -> list[LoginSession]:
        """The account's sessions that have not expired, oldest first."""
        store, now = self._store, self._clock.time()
        for token, login in list(store.logins.items()):
            if login.key.account_id == account.id and now >= login.expires:
                del store.logins[token]
        return [login for login in store.logins.values() if login.key.account_id == account.id]

    def revoke(self, account: AccountRecord, login_id: str) -> None:
        """End a session. 404 for an unknown one."""
        for login in self.of(account):
            if login.id == login_id:
                del self._store.logins[login.key.secret]
                return
        raise not_found("dashboard session", login_id)
