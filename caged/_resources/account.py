"""The account behind the API key, its keys and its dashboard logins."""

from __future__ import annotations

from .. import _arguments as arguments
from .._call import Call, ExpectedContent, ignore
from .._http import AsyncSession, Session
from .._literals import KeyScope
from .._models.account import Account, AccountSession, APIKey, CreatedAPIKey
from .._tracebacks import short_tracebacks


def get() -> Call[Account]:
    return Call("GET", "/account", ExpectedContent.OBJECT, Account.from_api, repeatable=True)


def list_keys() -> Call[list[APIKey]]:
    return Call("GET", "/account/keys", ExpectedContent.ARRAY, APIKey.list_from_api, repeatable=True)


def create_key(name: str, scope: str) -> Call[CreatedAPIKey]:
    body = {"name": arguments.text("name", name), "scope": arguments.text("scope", scope)}
    return Call("POST", "/account/keys", ExpectedContent.OBJECT, CreatedAPIKey.from_api, body=body)


def revoke_key(key_id: str) -> Call[None]:
    path = f"/account/keys/{arguments.segment('key_id', key_id)}"
    return Call("DELETE", path, ExpectedContent.NOTHING, ignore, repeatable=True)


def list_sessions() -> Call[list[AccountSession]]:
    return Call("GET", "/account/sessions", ExpectedContent.ARRAY, AccountSession.list_from_api, repeatable=True)


def revoke_session(session_id: str) -> Call[None]:
    path = f"/account/sessions/{arguments.segment('session_id', session_id)}"
    return Call("DELETE", path, ExpectedContent.NOTHING, ignore, repeatable=True)


@short_tracebacks
class AccountAPI:
    """``caged.account``"""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self) -> Account:
        """The account."""
        return self._session.send(get())

    def list_keys(self) -> list[APIKey]:
        """All API keys, without their secrets."""
        return self._session.send(list_keys())

    def create_key(self, name: str, scope: KeyScope = "full") -> CreatedAPIKey:
        """Make an API key; the secret is in the answer and nowhere else.

        Args:
            name: What the key is listed as.
            scope: ``full`` or ``read_only``.

        Returns:
            The key with its secret, which cannot be had again.

        Raises:
            CagedPlanLimitError: The plan allows no further key.
        """
        return self._session.send(create_key(name, scope))

    def revoke_key(self, key_id: str) -> None:
        """Make a key useless at once."""
        self._session.send(revoke_key(key_id))

    def list_sessions(self) -> list[AccountSession]:
        """Who is logged in to the dashboard; what agents did is in ``caged.sessions``."""
        return self._session.send(list_sessions())

    def revoke_session(self, session_id: str) -> None:
        """Log a dashboard session out."""
        self._session.send(revoke_session(session_id))


@short_tracebacks
class AsyncAccountAPI:
    """``caged.account`` of `AsyncCaged`; every method is described in `AccountAPI`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self) -> Account:
        """See `AccountAPI.get`."""
        return await self._session.send(get())

    async def list_keys(self) -> list[APIKey]:
        """See `AccountAPI.list_keys`."""
        return await self._session.send(list_keys())

    async def create_key(self, name: str, scope: KeyScope = "full") -> CreatedAPIKey:
        """See `AccountAPI.create_key`."""
        return await self._session.send(create_key(name, scope))

    async def revoke_key(self, key_id: str) -> None:
        """See `AccountAPI.revoke_key`."""
        await self._session.send(revoke_key(key_id))

    async def list_sessions(self) -> list[AccountSession]:
        """See `AccountAPI.list_sessions`."""
        return await self._session.send(list_sessions())

    async def revoke_session(self, session_id: str) -> None:
        """See `AccountAPI.revoke_session`."""
        await self._session.send(revoke_session(session_id))
