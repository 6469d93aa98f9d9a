"""A client of the admin API of an emulator, for the controls of one account."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar
from urllib.parse import quote

from ..control.identifiers import IdOrObject, id_of
from ..control.records import SharedControl
from ..control.values import check_characters
from ..platform.shared_controls import shared_controls
from .call_notes import CallNotes
from .transport import SECONDS, AdminRequest, AdminRequestError, AdminResponse, EmulatorError, Transport

if TYPE_CHECKING:
    from ..platform.platform import Platform

T = TypeVar("T")


class AdminClient:
    """Calls operations of the admin API. Threads may share it.

    Args:
        transport: How the calls reach the emulator; shared by the clients that `scoped` returns.
        account: Default account id of calls; `*`: all accounts. None: the emulator's first account.
        notes: The notes on its calls; new ones by default.
        is_confined: Whether controls and sandboxes are addressed by id in that account only.

    Attributes:
        notes: The notes on its calls.
    """

    def __init__(
        self,
        transport: Transport,
        account: Optional[str] = None,
        notes: Optional[CallNotes] = None,
        is_confined: bool = False,
    ) -> None:
        self._transport = transport
        self._account = account
        self._is_confined = is_confined
        self.notes = notes or CallNotes(account)

    @property
    def account(self) -> Optional[str]:
        """Default account id of calls; `*`: all accounts. None: the emulator's first account."""
        return self._account

    @property
    def url(self) -> str:
        """The emulator's URL."""
        return self._transport.url

    @property
    def is_local(self) -> bool:
        """Whether the emulator runs in this process."""
        return self._transport.is_local

    @property
    def allowed_account(self) -> str:
        """Id of the account whose controls and sandboxes a call may address by id; `*`: all accounts."""
        return self._account if self._is_confined and self._account is not None else "*"

    def scoped(self, account: str, *, is_confined: bool = False) -> AdminClient:
        """Create a client of the same transport for another account. `is_confined`: whether controls and sandboxes are
        addressed by id in that account only."""
        return AdminClient(self._transport, account, self.notes.shared.of_account(account), is_confined)

    def shared_controls(self) -> list[SharedControl]:
        """List what applies to all accounts, whoever has added it."""
        platform = self._transport.platform
        if platform is not None:
            return shared_controls(platform)
        return self.records("/shared-controls", SharedControl, account="*")

    def may_have_controls(self) -> bool:
        """Whether there may be controls (faults, stubs, …) that apply to the account of this client. False spares
        a test without any the calls that list them; True where only these calls can find out."""
        platform, account = self._transport.platform, self._account
        if platform is None or account not in platform.store.accounts:
            return True  # also for the first account and for all: the calls say which is meant
        return any(registry.list(account) for registry in platform.registries)

    def close(self) -> None:
        """Close the transport, for all clients that share it."""
        self._transport.close()

    def local(self, what: str) -> Platform:
        """The platform of an emulator in this process.

        Args:
            what: What needs it, for the error.

        Raises:
            EmulatorError: The emulator runs in another process.
        """
        platform = self._transport.platform
        if platform is None:
            raise EmulatorError(
                f"{what} needs an emulator in this process; use `Emulator()` instead of `RemoteEmulator`"
            )
        return platform

    def run(self, work: Callable[[Platform], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function with the platform of an emulator in this process, on its event loop.

        Raises:
            EmulatorError: The emulator runs in another process, or has stopped.
        """
        return self._transport.run(work)

    def account_of_call(self, account: Optional[IdOrObject]) -> Optional[str]:
        """Return the id of the account that a call with `account=` is for; None: the emulator's first."""
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
        """Call an operation.

        Args:
            method: GET, POST, PUT or DELETE.
            path: Below `/_emulator`, such as `/faults`.
            body: Sent as JSON. Objects that have an id are sent as their id.
            account: The account that the call is for, or its id; `"*"`: all. The default is this client's account.
            query: Other parameters; those that are None are left out.
            timeout: Seconds.

        Returns:
            The decoded body of the answer; None when it has none.

        Raises:
            ValueError: The emulator answered with 400.
            EmulatorError: It answered with another error, or not at all.
        """
        content = b"" if body is None else _encoded(body)
        answer = self._transport.send(self._request(method, path, account, query, content, timeout))
        answer.raise_for_status()
        try:
            decoded = json.loads(answer.body) if answer.body else None
        except ValueError:
            raise EmulatorError(
                f"what answers at {self.url} is not an emulator; check base_url: `caged-emulator env` prints that of a"
                " running emulator"
            ) from None
        self.notes.note(method, path, self.account_of_call(account), decoded)
        return decoded

    def records(
        self,
        path: str,
        record: Callable[..., T],
        *,
        account: Optional[IdOrObject] = None,
        query: Optional[Mapping[str, Any]] = None,
    ) -> list[T]:
        """GET a list of records; the arguments are those of `call`, and the class of the records."""
        return [record(**one) for one in self.call("GET", path, account=account, query=query)]

    def upload(self, path: str, content: Iterable[bytes], *, account: IdOrObject, timeout: float) -> None:
        """POST a body that is read piece by piece; raises as `call` does, and what reading `content` raises."""
        self._transport.send(self._request("POST", path, account, None, content, timeout)).raise_for_status()

    def lines(
        self,
        path: str,
        *,
        account: Optional[IdOrObject],
        query: Mapping[str, Any],
        headers: Optional[Mapping[str, str]] = None,
        timeout: float = SECONDS,
    ) -> Generator[bytes, None, None]:
        """GET a text that is read line by line, as it comes; close the iterator to end it. Raises as `call` does.

        Args:
            headers: Further headers.
            timeout: Seconds for each piece.
        """
        with self.download(path, account=account, query=query, headers=headers, timeout=timeout) as pieces:
            rest = b""
            for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines

    @contextmanager
    def download(
        self,
        path: str,
        *,
        account: Optional[IdOrObject],
        query: Optional[Mapping[str, Any]] = None,
        headers: Optional[Mapping[str, str]] = None,
        timeout: float,
    ) -> Iterator[Iterator[bytes]]:
        """GET a body that is read piece by piece in the `with` block; raises as `call` does.

        Args:
            headers: Further headers.
            timeout: Seconds for each piece.
        """
        selected = self.account_of_call(account)
        request = replace(self._request("GET", path, account, query, b"", timeout), headers=headers or {})
        with self._transport.stream(request) as answer:
            if answer.status >= 300:
                AdminResponse(answer.status, b"".join(answer.pieces)).raise_for_status()
            self.notes.note("GET", path, selected, None)
            yield answer.pieces

    def remove_shared_controls(self) -> None:
        """Remove the controls that were added for all accounts through this client, and reset all accounts' time if it
        was changed through it. Controls of single accounts stay."""
        added = self.notes.added_for_all_accounts
        while added:
            path = next(iter(added))
            del added[path]
            self.remove_shared(path)

    def remove_shared(self, path: str) -> None:
        """Remove one control of all accounts by its path. Harmless when it was removed before."""
        try:
            self.call("DELETE", path, account="*")
        except AdminRequestError as error:
            if error.status != 404:
                raise

    def _request(
        self,
        method: str,
        path: str,
        account: Optional[IdOrObject],
        query: Optional[Mapping[str, Any]],
        content: Any,
        timeout: float,
    ) -> AdminRequest:
        parameters = {"account": self.account_of_call(account), **(query or {})}
        return AdminRequest(
            method,
            quote(path, safe="/%:@!$&'()*+,;=~"),
            {name: _as_text(id_of(value)) for name, value in parameters.items() if value is not None},
            content,
            timeout,
        )


def _encoded(body: Mapping[str, Any]) -> bytes:
    plain = {name: id_of(value) for name, value in body.items()}
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        for name, value in plain.items():
            check_characters(name, json.dumps(value, ensure_ascii=False))
        raise


def _as_text(value: Any) -> str:
    """A query parameter as it is sent."""
    return str(value).lower() if isinstance(value, bool) else str(value)
