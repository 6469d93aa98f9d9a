"""The way from a test's hands to the admin API of an emulator, wherever that runs."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Optional

from ..control.identifiers import IdOrObject, id_of

if TYPE_CHECKING:
    import httpx

    from ..platform.services import Services
    from .connection import Verify

#: Of one call. Moving the clock may pause many sandboxes, an export may hold large ones.
SECONDS = 120.0
#: Where a POST adds something with an id, which stays until it is deleted.
_KEPT_APART = re.compile("/faults|/commands|/agents/[^/]+/replies")

#: Paths of what is a time or a journal of an account.
_CONSULTED = ("/clock/", "/journal/")


def _plain(body: Optional[Mapping[str, Any]]) -> Optional[dict[str, Any]]:
    return None if body is None else {name: id_of(value) for name, value in body.items()}


class EmulatorError(RuntimeError):
    """The emulator could not start or stop, is not running, or does not do what it was asked. The text says why, and
    ends with the tail of its log where that helps."""

    __module__ = "caged.emulator"


class Refused(EmulatorError):
    """The emulator answered, and said no. `status`: HTTP's."""

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


class Transport:
    """A connection to the admin API of one emulator, and the account that calls are about when they name none.

    The connection is shared, the account never changes: `scoped` returns another link on the same connection. Threads
    may share both.

    Args:
        base_url: the emulator's URL, without a path.
        admin_key: its admin key.
        services: returns the services of the emulator in this process, for what no wire carries (functions). None: the
            emulator runs in another process.
    """

    def __init__(
        self,
        base_url: str,
        admin_key: str,
        services: Optional[Callable[[], Optional[Services]]] = None,
        verify: Verify = True,
    ) -> None:
        import httpx  # a server does without, and starts the faster

        from .connection import client_options

        self._account: Optional[str] = None
        #: Controls that were added for all accounts (`account="*"`) through this link: paths to DELETE, oldest first.
        self.for_everybody: dict[str, None] = {}
        #: Whether something was changed through this link in the account that it is bound to.
        self.changed = False
        #: What of that account was moved or looked at through this link, which adds nothing: `clock`, `journal`.
        self.consulted: dict[str, None] = {}
        #: Accounts that were created over this connection and have no block that looks after their controls; shared.
        self.accounts_created: dict[str, None] = {}
        #: Shared by all links on the connection; see `callbacks_possible`.
        self._callbacks_possible = threading.Event()
        self._services = services
        self._client = httpx.Client(
            base_url=f"{base_url}/_emulator",
            headers={"Authorization": f"Bearer {admin_key}"},
            timeout=SECONDS,
            # The emulator of this process is on this machine, whatever address it listens on.
            **(client_options(base_url, verify) if services is None else {"trust_env": False, "verify": False}),
        )

    @property
    def account(self) -> Optional[str]:
        """The id of the account that calls are about; None: the emulator's first account, `*`: all."""
        return self._account

    @property
    def url(self) -> str:
        """The emulator's URL."""
        return str(self._client.base_url).rpartition("/_emulator")[0]

    @property
    def callbacks_possible(self) -> bool:
        """Whether a stub or reply was added over this connection, whose function or file may have failed since."""
        return self._callbacks_possible.is_set()

    @property
    def is_local(self) -> bool:
        """Whether the emulator runs in this process."""
        return self._services is not None

    def scoped(self, account: str) -> Transport:
        """Another link on the same connection, bound to this account."""
        link = copy.copy(self)
        link._account, link.for_everybody, link.changed, link.consulted = account, {}, False, {}
        return link

    def close(self) -> None:
        """Close the connection, for all links that share it."""
        self._client.close()

    def local(self, what: str) -> Services:
        """The emulator of this process. EmulatorError when it is elsewhere: `what` cannot travel there."""
        services = self._services() if self._services is not None else None
        if services is None:
            raise EmulatorError(f"{what} needs an emulator in this process; this one is reached by its URL")
        return services

    def about(self, account: Optional[IdOrObject]) -> Optional[str]:
        return self._account if account is None else str(id_of(account))

    def call(
        self,
        method: str,
        path: str,
        body: Optional[Mapping[str, Any]] = None,
        *,
        account: Optional[IdOrObject] = None,
        query: Optional[Mapping[str, Any]] = None,
        timeout: float = SECONDS,
    ) -> Any:
        """Send a request, and note which controls it adds for all accounts.

        Args:
            account: what it is about; None: the account of this link.
            timeout: seconds.

        Returns:
            The decoded body of the answer; None when it has none.

        Raises:
            ValueError: the emulator answered with 400.
            EmulatorError: it answered with another error, or not at all.
        """
        response = self.send(method, path, account=account, query=query, json=_plain(body), timeout=timeout)
        try:
            answer = response.json() if response.content else None
        except ValueError:
            raise EmulatorError(f"what answers at {self.url} is not an emulator") from None
        if self.about(account) == self._account and path.startswith(_CONSULTED) and method in ("GET", "POST"):
            self.consulted[path.split("/")[1]] = None
        if method == "POST":
            self._note(path, answer, self.about(account))
        return answer

    def _note(self, path: str, answer: Any, account: Optional[str]) -> None:
        if path.startswith(("/commands", "/agents/", "/scenario")):
            self._callbacks_possible.set()
        if account == self._account:
            self.changed = True
        if account != "*":
            return
        if path.startswith("/clock/"):
            self.for_everybody["/clock"] = None
        elif path == "/scenario":
            self.for_everybody.update(dict.fromkeys(answer["added"]))
        elif _KEPT_APART.fullmatch(path) and isinstance(answer, dict):
            # An agent may have been asked for by its command.
            kept = f"/agents/{answer['agent']}/replies" if "agent" in answer else path
            self.for_everybody[f"{kept}/{answer['id']}"] = None

    def take_back(self) -> None:
        """What was asked for everybody through here goes; of other accounts' own nothing does, but for their time when
        everybody's was moved."""
        while self.for_everybody:
            path = next(iter(self.for_everybody))
            del self.for_everybody[path]
            try:
                self.call("DELETE", path, account="*")
            except Refused as error:
                if error.status != 404:
                    raise

    def send(
        self,
        method: str,
        path: str,
        *,
        account: Optional[IdOrObject] = None,
        query: Optional[Mapping[str, Any]] = None,
        **options: Any,
    ) -> httpx.Response:
        from httpx import HTTPError

        if self._client.is_closed:
            raise EmulatorError(f"the connection to the emulator at {self._client.base_url} was closed")
        try:
            response = self._client.request(method, path, params=self._params(account, query), **options)
        except HTTPError as error:
            raise EmulatorError(f"the emulator at {self._client.base_url} does not answer: {error}") from None
        return self._accepted(response)

    @contextmanager
    def stream(
        self, method: str, path: str, *, account: Optional[IdOrObject] = None, timeout: float = SECONDS
    ) -> Iterator[httpx.Response]:
        """An answer whose body is still to be read."""
        from httpx import HTTPError

        try:
            with self._client.stream(method, path, params=self._params(account, None), timeout=timeout) as response:
                if response.status_code >= 400:
                    response.read()
                yield self._accepted(response)
        except HTTPError as error:
            raise EmulatorError(f"the emulator at {self._client.base_url} does not answer: {error}") from None

    def _params(self, account: Optional[IdOrObject], query: Optional[Mapping[str, Any]]) -> dict[str, Any]:
        params = {"account": self.about(account), **(query or {})}
        return {name: id_of(value) for name, value in params.items() if value is not None}

    @staticmethod
    def _accepted(response: httpx.Response) -> httpx.Response:
        if response.status_code < 300:
            return response
        if response.status_code < 400:
            target = response.headers.get("location", "nowhere")
            raise EmulatorError(f"{response.url} redirects to {target}; the admin key is not sent there. Use that URL")
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"HTTP {response.status_code}: {response.text[:200]}"
        if response.status_code == 400:
            raise ValueError(detail)
        raise Refused(detail, response.status_code)
