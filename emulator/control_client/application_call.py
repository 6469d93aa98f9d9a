"""One request to an ASGI application without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Optional, Union

from .transport import AdminResponse, EmulatorError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

#: Pieces of a streamed answer that may wait for the reader; then the application waits.
WAITING_PIECES = 8


class ApplicationCall:
    """A request to an application, and its answer. Coroutines and `disconnect` run on the application's event loop.

    Await either `answer`, or `start` and then `next_piece` until it returns None.

    Args:
        app: The application.
        scope: The ASGI scope of the request.
        content: The body, or its pieces; those are read in a thread.
    """

    def __init__(self, app: ASGIApp, scope: dict[str, Any], content: Union[bytes, Iterable[bytes]]) -> None:
        self._app = app
        self._scope = scope
        self._body: Optional[bytes] = content if isinstance(content, bytes) else None
        self._upload: Iterator[bytes] = iter(() if isinstance(content, bytes) else content)
        self._upload_failure: Optional[Exception] = None
        self._is_received = False
        self._is_complete = False
        self._is_disconnected = False
        # Made on the loop: Python 3.9 binds them to the loop of the thread that makes them.
        self._gone: Optional[asyncio.Event] = None
        self._queue: Optional[asyncio.Queue[Any]] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._finished: Optional[asyncio.Event] = None

    async def answer(self) -> AdminResponse:
        """The whole answer.

        Raises:
            EmulatorError: The application failed.
            Exception: Reading the body's pieces raised it.
        """
        status, pieces = 0, []

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                pieces.append(message.get("body", b""))
                self._is_complete = not message.get("more_body", False)

        failure = await self._run(send)
        if self._upload_failure is not None:
            raise self._upload_failure
        if failure is not None:
            raise failure
        return AdminResponse(status, b"".join(pieces))

    async def start(self) -> int:
        """The status of the answer, whose body is then read by `next_piece`.

        Raises:
            EmulatorError: The application failed.
        """
        self._queue = asyncio.Queue(WAITING_PIECES)
        self._finished = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run_streamed())
        status = await self.next_piece()
        assert isinstance(status, int)
        return status

    async def next_piece(self) -> Any:
        """The next piece of the body; None at its end.

        Raises:
            EmulatorError: The answer broke off.
        """
        assert self._queue is not None, "await `start` first"
        assert self._finished is not None
        item = await self._queue.get()
        if item is None or isinstance(item, EmulatorError):
            self._finished.set()
        if isinstance(item, EmulatorError):
            raise item
        return item

    def disconnect(self) -> None:
        """Stop waiting for the answer: what follows of it is dropped, and the application sees a client that has
        disconnected."""
        self._is_disconnected = True
        for event in (self._gone, self._finished):
            if event is not None:
                event.set()
        while self._queue is not None and not self._queue.empty():
            self._queue.get_nowait()  # which wakes a `put` that waits

    async def finished(self) -> None:
        """Wait until the end of a streamed answer was read, or nothing reads it any more."""
        if self._finished is not None:
            await self._finished.wait()

    async def _run(self, send: Any) -> Optional[EmulatorError]:
        """Run the application. Its failure is returned."""
        self._gone = asyncio.Event()
        try:
            await self._app(self._scope, self._receive, send)
        except Exception as error:
            return EmulatorError(f"the emulator failed: {error!r}")
        return None if self._is_complete else EmulatorError("the emulator's answer broke off")

    async def _run_streamed(self) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._put(message["status"])
                return
            if message.get("body"):
                await self._put(message["body"])
            self._is_complete = not message.get("more_body", False)

        await self._put(await self._run(send))

    async def _put(self, item: Any) -> None:
        if self._queue is not None and not self._is_disconnected:
            await self._queue.put(item)

    async def _receive(self) -> Message:
        if self._is_received or self._is_disconnected:
            if self._gone is not None and not self._is_disconnected:
                await self._gone.wait()
            return {"type": "http.disconnect"}
        if self._body is not None:
            self._is_received = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        try:
            piece = await asyncio.to_thread(next, self._upload, None)
        except Exception as error:
            self._upload_failure = error
            self.disconnect()
            return {"type": "http.disconnect"}
        self._is_received = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}
