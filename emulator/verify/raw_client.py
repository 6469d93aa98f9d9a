"""The raw wire: HTTP and WebSockets as the platform's clients send them, without the tolerance of our SDK."""

from __future__ import annotations

import json
import logging
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Optional, Union
from urllib.parse import quote, urlsplit

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from caged import __version__
from caged._http import no_authorities

from .errors import Mismatch, VerificationError
from .time_budget import TimeBudget

#: The longest wait that a rate limit may demand of one request, in seconds; the documented windows are minutes.
MOST_RATE_LIMIT_SECONDS = 65.0
_LARGEST_MESSAGE = 1024 * 1024  # what the platform's clients accept
_LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")

_silent_logger = logging.getLogger("caged.emulator.verify")
_silent_logger.setLevel(logging.CRITICAL)  # websockets would log whole URLs, with the tickets in them


def path_segment(identifier: str) -> str:
    """Return an id, quoted as one segment of a path."""
    return quote(identifier, safe="")


class RawClient:
    """A client of one server. The time budget bounds each call as a whole, however slowly the answer arrives.

    Args:
        base_url: The address of the server, without `/v1`.
        api_key: A key of the account under test.
        time_budget: The limits of the run.

    Raises:
        VerificationError: The key cannot be sent in a header, or the proxy settings are invalid.
    """

    def __init__(self, base_url: str, api_key: str, time_budget: TimeBudget) -> None:
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self.time_budget = time_budget
        self._local = (urlsplit(base_url).hostname or "") in _LOCAL_HOSTS
        headers = {"Accept": "application/json", "User-Agent": f"caged-emulator-verify/{__version__}"}
        try:
            headers["Authorization"] = f"Bearer {api_key}"
            self._client = httpx.Client(
                headers=headers, trust_env=not self._local, follow_redirects=False, verify=self._verification()
            )
        except (UnicodeEncodeError, ValueError) as error:
            raise VerificationError(f"the API key or the proxy settings cannot be used: {error}") from None

    def _verification(self) -> Union[ssl.SSLContext, bool]:
        """To load the certificate authorities takes 20 ms, which plain HTTP on this machine does not need."""
        if self._local and urlsplit(self.base_url).scheme == "http":
            return no_authorities()
        return True

    def close(self) -> None:
        self._client.close()

    def request(self, method: str, path: str, key: Optional[str] = None, **options: Any) -> httpx.Response:
        """Send a request; after a rate limit, wait as long as the server demands and send it once more.

        Args:
            method: The HTTP method.
            path: A path below `/v1`, or a whole URL.
            key: Another API key; an empty text sends none.
            options: `basic`, a user name and password to send instead of a key, and the options of
                `httpx.Client.build_request`.
        """
        answer = self._send(method, path, key, **options)
        if answer.status_code == 429:
            pause = _rate_limit_pause(answer)
            if pause is not None:
                with self.time_budget.extra_time(pause + self.time_budget.limit):
                    time.sleep(pause)
                    return self._send(method, path, key, **options)
        return answer

    def _send(self, method: str, path: str, key: Optional[str], **options: Any) -> httpx.Response:
        url = path if "://" in path else f"{self.base_url}/v1{path}"
        basic = options.pop("basic", None)
        request = self._client.build_request(method, url, timeout=self.time_budget.remaining(), **options)
        if key is not None:
            request.headers["Authorization"] = f"Bearer {key}"
        if key == "":
            del request.headers["Authorization"]
        if basic is not None:
            request.headers["Authorization"] = f"Basic {b64encode(':'.join(basic).encode()).decode()}"
        answer = self._client.send(request, stream=True)
        try:
            pieces = []
            for piece in answer.iter_bytes():
                self.time_budget.remaining()
                pieces.append(piece)
        finally:
            answer.close()
        # The body is decoded already, so the headers that describe its encoding must not be seen again.
        dropped = {"content-encoding", "transfer-encoding", "content-length"}
        headers = [(name, value) for name, value in answer.headers.multi_items() if name not in dropped]
        return httpx.Response(answer.status_code, headers=headers, content=b"".join(pieces), request=request)

    @contextmanager
    def socket(
        self, path: str, token: str, subprotocol: Optional[str] = None, origin: Optional[str] = None
    ) -> Iterator[Socket]:
        """Open a WebSocket. The token is added to the query of `path`.

        Raises:
            HandshakeRejected: The server answers the handshake with an HTTP status.
            Mismatch: The handshake fails otherwise.
        """
        url = f"ws{self.base_url[4:]}/v1{path}{'&' if '?' in path else '?'}token={quote(token, safe='')}"
        options: dict[str, Any] = {"proxy": None if self._local else True, "origin": origin}
        if url.startswith("wss"):
            options["ssl"] = httpx.create_ssl_context()
        with ExitStack() as stack:
            try:
                # Entered inside the try block: newer releases of websockets connect only there.
                connection = stack.enter_context(
                    connect(
                        url,
                        subprotocols=[subprotocol] if subprotocol else None,  # type: ignore[list-item]
                        open_timeout=self.time_budget.remaining(),
                        close_timeout=2,
                        max_size=_LARGEST_MESSAGE,
                        logger=_silent_logger,
                        **options,
                    )
                )
            except InvalidStatus as error:
                raise HandshakeRejected(error) from None
            except InvalidHandshake as error:
                raise Mismatch("a WebSocket", error) from None
            yield Socket(connection, self.time_budget)

    def handshake(
        self, path: str, token: str, subprotocol: Optional[str] = None, origin: Optional[str] = None
    ) -> httpx.Response:
        """Return the answer to a handshake that should be rejected; its status is 101 if it was accepted."""
        try:
            with self.socket(path, token, subprotocol, origin):
                return httpx.Response(101)
        except HandshakeRejected as error:
            return error.answer


class HandshakeRejected(Mismatch):
    """The server answered a handshake with an HTTP status; `answer` is what it sent."""

    def __init__(self, error: InvalidStatus) -> None:
        response = error.response
        body = bytes(response.body or b"")
        super().__init__("a WebSocket", f"HTTP {response.status_code} {body[:120].decode('utf-8', 'replace')}")
        headers = [(name, value) for name, value in response.headers.raw_items() if name.lower() == "content-type"]
        self.answer = httpx.Response(response.status_code, headers=headers, content=body)


class Socket:
    """An open WebSocket.

    Attributes:
        subprotocol: The subprotocol that the server accepted.
        close_code: The code with which the server closed; None while it is open.
    """

    def __init__(self, connection: ClientConnection, time_budget: TimeBudget) -> None:
        self._connection = connection
        self._time_budget = time_budget
        self.subprotocol = connection.subprotocol
        self.close_code: Optional[int] = None

    def send(self, message: object) -> None:
        """Send a text unchanged, anything else as JSON."""
        try:
            self._connection.send(message if isinstance(message, str) else json.dumps(message))
        except ConnectionClosed as closed:
            raise Mismatch("an open WebSocket", f"closed with {_close_code(closed)}") from None

    def receive(self) -> Optional[Any]:
        """Return the JSON of the next message, or its text if it is not JSON; None when the server has closed."""
        try:
            raw = self._connection.recv(timeout=self._time_budget.remaining())
        except TimeoutError:
            raise Mismatch("a message", f"none within {self._time_budget.limit:g} s") from None
        except ConnectionClosed as closed:
            self.close_code = _close_code(closed)
            return None
        text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:
            return text


def _close_code(closed: ConnectionClosed) -> int:
    return closed.rcvd.code if closed.rcvd is not None else 1006


def _rate_limit_pause(answer: httpx.Response) -> Optional[float]:
    """Return the seconds after which the server accepts requests again; None when it does not say, or when it is more
    than MOST_RATE_LIMIT_SECONDS."""
    after, reset = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-reset", "")
    seconds = float(after) if after.isdigit() else float(reset) - time.time() if reset.isdigit() else None
    return None if seconds is None or seconds > MOST_RATE_LIMIT_SECONDS else max(0.0, seconds)
