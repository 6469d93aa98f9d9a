"""The raw wire: HTTP and WebSockets as the platform's clients send them, and nothing of our SDK's tolerance."""

from __future__ import annotations

import json
import logging
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Optional
from urllib.parse import quote, urlsplit

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from caged import __version__

from .check import CannotRun, Different

#: Seconds that a rate limit may hold one request up; the documented windows are minutes.
LONGEST_PAUSE = 65.0
_LARGEST_MESSAGE = 1024 * 1024  # what the platform's clients take
_LOCAL = ("127.0.0.1", "::1", "localhost")

_silent = logging.getLogger("caged.emulator.verify")
_silent.setLevel(logging.CRITICAL)  # websockets would log whole URLs, tickets and all


def segment(identifier: str) -> str:
    """An id as one segment of a path."""
    return quote(identifier, safe="")


class Patience:
    """How long may be waited: `limit` seconds for the check that runs, and not beyond the end of the run."""

    def __init__(self, limit: float, total: float) -> None:
        self.limit = limit
        self._end = time.monotonic() + total
        self._until = self._end

    def begin(self, limit: Optional[float] = None) -> None:
        """A new check."""
        self._until = time.monotonic() + (self.limit if limit is None else limit)

    @property
    def over(self) -> bool:
        """The run's whole time is used up."""
        return time.monotonic() >= self._end

    def left(self) -> float:
        """Seconds, more than 0. Different when there are none."""
        left = min(self._until, self._end) - time.monotonic()
        if left <= 0:
            raise Different(f"an answer within {self.limit:g} s", "none yet")
        return left

    @contextmanager
    def aside(self, most: float) -> Iterator[None]:
        """What happens here has `most` seconds of its own, and costs the check nothing."""
        began, until = time.monotonic(), self._until
        self._until = began + most
        try:
            yield
        finally:
            self._until = until + time.monotonic() - began


class Wire:
    """Requests to one server. Every call is bounded by the check's patience as a whole, however slowly it drips."""

    def __init__(self, base_url: str, api_key: str, patience: Patience) -> None:
        self.base_url = base_url.rstrip("/")
        self.key = api_key
        self.patience = patience
        host = urlsplit(base_url).hostname or ""
        self._local = host in _LOCAL
        headers = {"Accept": "application/json", "User-Agent": f"caged-emulator-verify/{__version__}"}
        try:
            headers["Authorization"] = f"Bearer {api_key}"
            self._client = httpx.Client(headers=headers, trust_env=not self._local, follow_redirects=False)
        except (UnicodeEncodeError, ValueError) as error:
            raise CannotRun(f"the API key or the proxy settings cannot be used: {error}") from None

    def close(self) -> None:
        self._client.close()

    def request(self, method: str, path: str, key: Optional[str] = None, **options: Any) -> httpx.Response:
        """`path` is below /v1, or a whole URL. `key`: another one; "" sends none. `basic`: user and password instead.
        A rate limit is waited for."""
        answer = self._once(method, path, key, **options)
        if answer.status_code == 429:
            pause = _pause(answer)
            if pause is not None:
                with self.patience.aside(pause + self.patience.limit):
                    time.sleep(pause)  # what the server asked for
                    return self._once(method, path, key, **options)
        return answer

    def _once(self, method: str, path: str, key: Optional[str], **options: Any) -> httpx.Response:
        url = path if "://" in path else f"{self.base_url}/v1{path}"
        basic = options.pop("basic", None)
        request = self._client.build_request(method, url, timeout=self.patience.left(), **options)
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
                self.patience.left()
                pieces.append(piece)
        finally:
            answer.close()
        # Decoded already: what said how it was encoded must not have it decoded again.
        dropped = {"content-encoding", "transfer-encoding", "content-length"}
        headers = [(name, value) for name, value in answer.headers.multi_items() if name not in dropped]
        return httpx.Response(answer.status_code, headers=headers, content=b"".join(pieces), request=request)

    @contextmanager
    def socket(
        self, path: str, token: str, subprotocol: Optional[str] = None, origin: Optional[str] = None
    ) -> Iterator[Socket]:
        """`path` with its query; the token is put last. Different when the server refuses."""
        url = f"ws{self.base_url[4:]}/v1{path}{'&' if '?' in path else '?'}token={quote(token, safe='')}"
        options: dict[str, Any] = {"proxy": None if self._local else True, "origin": origin}
        if url.startswith("wss"):
            options["ssl"] = httpx.create_ssl_context()
        with ExitStack() as stack:
            try:
                # Entered at once: newer releases of websockets connect there, and not before.
                connection = stack.enter_context(
                    connect(
                        url,
                        subprotocols=[subprotocol] if subprotocol else None,  # type: ignore[list-item]
                        open_timeout=self.patience.left(),
                        close_timeout=2,
                        max_size=_LARGEST_MESSAGE,
                        logger=_silent,
                        **options,
                    )
                )
            except InvalidStatus as refusal:
                raise Refused(refusal) from None
            except InvalidHandshake as error:
                raise Different("a WebSocket", error) from None
            yield Socket(connection, self.patience)

    def handshake(
        self, path: str, token: str, subprotocol: Optional[str] = None, origin: Optional[str] = None
    ) -> httpx.Response:
        """The answer to a handshake that ought to be refused; one with status 101 when it was not."""
        try:
            with self.socket(path, token, subprotocol, origin):
                return httpx.Response(101)
        except Refused as refusal:
            return refusal.answer


class Refused(Different):
    """A handshake was answered with HTTP."""

    def __init__(self, refusal: InvalidStatus) -> None:
        response = refusal.response
        body = bytes(response.body or b"")
        super().__init__("a WebSocket", f"HTTP {response.status_code} {body[:120].decode('utf-8', 'replace')}")
        kept = [(name, value) for name, value in response.headers.raw_items() if name.lower() == "content-type"]
        self.answer = httpx.Response(response.status_code, headers=kept, content=body)


class Socket:
    """An open WebSocket of the server. `closed`: the code that it was closed with."""

    def __init__(self, connection: ClientConnection, patience: Patience) -> None:
        self._connection = connection
        self._patience = patience
        self.subprotocol = connection.subprotocol
        self.closed: Optional[int] = None

    def send(self, message: object) -> None:
        """A text as it is, anything else as JSON."""
        try:
            self._connection.send(message if isinstance(message, str) else json.dumps(message))
        except ConnectionClosed as closed:
            raise Different("an open WebSocket", f"closed with {_code(closed)}") from None

    def receive(self) -> Optional[Any]:
        """The next message: its JSON, or the text of what is none; None once it is closed."""
        try:
            raw = self._connection.recv(timeout=self._patience.left())
        except TimeoutError:
            raise Different("a message", f"none within {self._patience.limit:g} s") from None
        except ConnectionClosed as closed:
            self.closed = _code(closed)
            return None
        text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:
            return text


def _code(closed: ConnectionClosed) -> int:
    return closed.rcvd.code if closed.rcvd is not None else 1006


def _pause(answer: httpx.Response) -> Optional[float]:
    """Seconds until the server takes requests again, by its own word; None when it does not say, or too many."""
    asked, reset = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-reset", "")
    seconds = float(asked) if asked.isdigit() else float(reset) - time.time() if reset.isdigit() else None
    return None if seconds is None or seconds > LONGEST_PAUSE else max(0.0, seconds)
