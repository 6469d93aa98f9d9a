"""Logins of the inspector: one-time tokens of links, and the sessions that they open. They end with the emulator."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import time
from collections.abc import Iterator
from typing import Callable, Optional
from urllib.parse import urlsplit

from .errors import ApiError

PATH = "/_emulator/ui"
#: The name of the cookie of sessions.
COOKIE = "caged_inspector"
TOKEN_SECONDS = 600
SESSION_SECONDS = 12 * 3600
#: Tokens that are not used yet, and sessions; the oldest are dropped.
MOST = 100


class InspectorLogins:
    """Creates and redeems tokens.

    The inspector has a host name of its own, which is random for each start and appears in links that log in only.
    Cookies belong to a host name, whatever the port: a program in a sandbox may listen on the host's loopback, and at a
    name that can be guessed it would get the cookie from the browser. A preview, at the emulator's other addresses, is
    another site for a browser.

    Args:
        base_url: The emulator's URL.
        now: Returns a time in seconds that no one sets. An account's clock has no effect.

    Attributes:
        host: The host name.
    """

    def __init__(self, base_url: str, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.host = f"inspector-{secrets.token_hex(10)}.localhost"
        self._listens_on = urlsplit(base_url).hostname or ""
        self._port = urlsplit(base_url).port
        self._tokens: dict[str, float] = {}
        self._sessions: dict[str, float] = {}
        #: What ends the calls that are in progress, by session.
        self._calls: dict[str, set[Callable[[], None]]] = {}

    @property
    def is_reachable(self) -> bool:
        """Whether the emulator listens on the loopback address, which `*.localhost` is."""
        try:
            return ipaddress.ip_address(self._listens_on).is_loopback
        except ValueError:
            return self._listens_on == "localhost"

    def new_link(self) -> str:
        """Create a link that logs in once, within TOKEN_SECONDS.

        Raises:
            ApiError: 409 where the emulator does not listen on the loopback address.
        """
        if not self.is_reachable:
            raise ApiError(
                409,
                "the inspector is served on the loopback address only, and this emulator listens on"
                f" {self._listens_on}; start it with --host 127.0.0.1 or 0.0.0.0",
            )
        token = self._add(self._tokens, TOKEN_SECONDS)
        return f"http://{self.host}:{self._port}{PATH}/login?token={token}"

    def redeem(self, token: str) -> Optional[str]:
        """Use up a token.

        Returns:
            The value of a new session's cookie; None for a token that is used up, expired or unknown.
        """
        expires = self._tokens.pop(token, 0.0)
        return self._add(self._sessions, SESSION_SECONDS) if expires > self.now() else None

    def is_session(self, value: str) -> bool:
        """Whether this is the cookie of a session that has not ended."""
        return self._sessions.get(value, 0.0) > self.now()

    @contextlib.contextmanager
    def in_use(self, value: str, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` if a session ends during the block: at its time, or because of a `log_out`."""
        rest = max(0.0, self._sessions.get(value, 0.0) - self.now())
        timer = asyncio.get_running_loop().call_later(rest, end)
        calls = self._calls.setdefault(value, set())
        calls.add(end)
        try:
            yield
        finally:
            timer.cancel()
            calls.discard(end)
            if not calls:
                self._calls.pop(value, None)

    def log_out(self, value: str) -> None:
        """End a session, with its calls that are in progress, such as streams and terminals."""
        self._sessions.pop(value, None)
        for end in list(self._calls.get(value, ())):
            end()

    def _add(self, kept: dict[str, float], seconds: float) -> str:
        now = self.now()
        for old in [secret for secret, expires in kept.items() if expires <= now]:
            del kept[old]
        while len(kept) >= MOST:
            oldest = next(iter(kept))
            if kept is self._sessions:
                self.log_out(oldest)
            else:
                del kept[oldest]
        secret = secrets.token_urlsafe(32)
        kept[secret] = now + seconds
        return secret
