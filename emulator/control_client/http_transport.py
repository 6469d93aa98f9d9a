"""Calls of the admin API over HTTP, for an emulator in another process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from typing import TYPE_CHECKING, Any, Optional

from ..control.current_account import OWNER_HEADER, OWNER_VARIABLE
from .transport import (
    ADMIN_PREFIX,
    SECONDS,
    AdminRequest,
    AdminResponse,
    EmulatorError,
    StreamedAdminResponse,
    Transport,
)

if TYPE_CHECKING:
    import httpx

    from .connection import Verify


class HttpTransport(Transport):
    """A pool of connections to the admin API of one emulator.

    Args:
        base_url: The emulator's URL, without a path.
        admin_key: Its admin key.
        verify: How certificates are verified; see `connection.client_options`.

    Raises:
        ValueError: The URL cannot be an emulator's.
    """

    def __init__(self, base_url: str, admin_key: str, verify: Verify = True) -> None:
        import httpx  # loaded late: an emulator in this process does without it

        from .connection import client_options

        self._url = base_url
        #: The owner of controls for all accounts; None: the value of CAGED_EMULATOR_OWNER.
        self.owner: Optional[str] = None
        self._client = httpx.Client(
            base_url=f"{base_url}{ADMIN_PREFIX}",
            headers={"Authorization": f"Bearer {admin_key}"},
            timeout=SECONDS,
            **client_options(base_url, verify),
        )

    @property
    def url(self) -> str:
        return self._url

    @property
    def platform(self) -> None:
        return None

    def send(self, request: AdminRequest) -> AdminResponse:
        from httpx import HTTPError

        if self._client.is_closed:
            raise self._closed()
        try:
            response = self._client.request(**self._arguments(request))
        except HTTPError as error:
            raise self._no_answer(error) from None
        return AdminResponse(_status(response), response.content)

    @contextmanager
    def stream(self, request: AdminRequest) -> Iterator[StreamedAdminResponse]:
        from httpx import HTTPError

        if self._client.is_closed:
            raise self._closed()
        try:
            with self._client.stream(**self._arguments(request)) as response:
                yield StreamedAdminResponse(_status(response), response.iter_bytes())
        except HTTPError as error:
            raise self._no_answer(error) from None

    def close(self) -> None:
        self._client.close()

    def _arguments(self, request: AdminRequest) -> dict[str, Any]:
        is_json = isinstance(request.content, bytes) and request.content
        return {
            "method": request.method,
            "url": request.path,
            "params": dict(request.query),
            "content": request.content,
            "headers": {
                **request.headers,
                **({"Content-Type": "application/json"} if is_json else {}),
                **self._owner_header(),
            },
            "timeout": request.timeout,
        }

    def _owner_header(self) -> dict[str, str]:
        owner = environ.get(OWNER_VARIABLE, "") if self.owner is None else self.owner
        return {OWNER_HEADER: owner} if owner and owner.isascii() and owner.isprintable() else {}


def _status(response: httpx.Response) -> int:
    """The status of an answer.

    Raises:
        EmulatorError: It is a redirect, which an emulator never sends.
    """
    if 300 <= response.status_code < 400:
        target = response.headers.get("location", "nowhere")
        raise EmulatorError(f"{response.url} redirects to {target}; the admin key is not sent there. Use that URL")
    return response.status_code
