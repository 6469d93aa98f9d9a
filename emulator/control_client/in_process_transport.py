"""Calls of the admin API of an emulator in this process: the emulator's application is called on its event loop,
without a socket."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import os
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar
from urllib.parse import urlencode

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
    from starlette.types import ASGIApp

    from ..platform.platform import Platform
    from .application_call import ApplicationCall
    from .http_transport import HttpTransport

#: How often a call that waits looks whether the emulator's loop has ended, in seconds.
LOOP_CHECK_SECONDS = 0.2
#: Seconds that streams have for their rest when the emulator ends.
LAST_SECONDS = 0.5
T = TypeVar("T")


class InProcessTransport(Transport):
    """Calls the application of an emulator that runs in a thread of this process.

    The application checks, bounds and answers these requests as those that come over HTTP. A forked child has no such
    thread; there the calls go over HTTP.

    Args:
        app: The emulator's application.
        loop: The event loop that it runs on.
        base_url: The emulator's URL, without a path.
        admin_key: Its admin key.
        platform: Returns the platform of the emulator.
        pid: The process that the emulator runs in.
    """

    def __init__(
        self,
        app: ASGIApp,
        loop: asyncio.AbstractEventLoop,
        base_url: str,
        admin_key: str,
        platform: Callable[[], Platform],
        pid: int,
    ) -> None:
        self._app = app
        self._loop = loop
        self._url = base_url
        self._admin_key = admin_key
        self._platform = platform
        self._pid = pid
        self._is_closed = False
        self._of_child: Optional[HttpTransport] = None
        self._streams: set[ApplicationCall] = set()

    @property
    def url(self) -> str:
        return self._url

    @property
    def is_local(self) -> bool:
        return self._pid == os.getpid()

    @property
    def platform(self) -> Optional[Platform]:
        return self._platform() if self.is_local else None

    def send(self, request: AdminRequest) -> AdminResponse:
        self._check_usable()
        if not self.is_local:
            return self._http().send(request)
        call = self._call(request)
        return self._wait(call, call.answer(), request.timeout)

    @contextmanager
    def stream(self, request: AdminRequest) -> Iterator[StreamedAdminResponse]:
        self._check_usable()
        if not self.is_local:
            with self._http().stream(request) as answer:
                yield answer
            return
        call = self._call(request)
        self._streams.add(call)
        try:
            status = self._wait(call, call.start(), request.timeout)
            yield StreamedAdminResponse(status, self._pieces(call, request.timeout))
        finally:
            self._disconnect(call)
            self._streams.discard(call)

    async def finish_streams(self) -> None:
        """Wait, on the emulator's loop, until streams that have ended were read, for at most LAST_SECONDS: the rest of
        them cannot be read once the loop is closed."""
        reading = [asyncio.ensure_future(call.finished()) for call in list(self._streams)]
        if reading:
            await asyncio.wait(reading, timeout=LAST_SECONDS)

    def run(self, work: Callable[[Platform], Coroutine[Any, Any, T]]) -> T:
        platform = self.platform
        if platform is None:
            return super().run(work)
        self._check_usable()
        return self._wait(None, work(platform), SECONDS)

    def close(self) -> None:
        self._is_closed = True
        if self._of_child is not None:
            self._of_child.close()

    def _call(self, request: AdminRequest) -> ApplicationCall:
        from .application_call import ApplicationCall

        path = f"{ADMIN_PREFIX}{request.path}"
        headers = {"host": "localhost", "authorization": f"Bearer {self._admin_key}", **request.headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("ascii"),
            "query_string": urlencode(request.query).encode("ascii"),
            "root_path": "",
            "headers": [(name.lower().encode("ascii"), text.encode("latin-1")) for name, text in headers.items()],
            "client": None,
            "server": None,
        }
        return ApplicationCall(self._app, scope, request.content)

    def _pieces(self, call: ApplicationCall, timeout: float) -> Iterator[bytes]:
        while True:
            piece = self._wait(call, call.next_piece(), timeout)
            if piece is None:
                return
            yield piece

    def _check_usable(self) -> None:
        if self._is_closed:
            raise self._closed()
        try:
            running: Optional[asyncio.AbstractEventLoop] = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            raise EmulatorError(
                "a control was called on the emulator's own event loop, which would wait for itself; call it from"
                " another thread, as in `await asyncio.to_thread(emulator.faults.list)`"
            )

    def _wait(self, call: Optional[ApplicationCall], work: Coroutine[Any, Any, T], timeout: float) -> T:
        """The result of a coroutine on the emulator's loop.

        Raises:
            EmulatorError: It has none within `timeout` seconds, or the emulator has stopped.
        """
        try:
            # A context of its own: variables of the caller's are not the emulator's (sniffio's say which library runs).
            future = contextvars.Context().run(asyncio.run_coroutine_threadsafe, work, self._loop)
        except RuntimeError:
            work.close()
            raise self._no_answer("it has stopped") from None
        try:
            self._wait_for(future, work, timeout)
        except BaseException:
            if call is not None:
                self._disconnect(call)
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise self._no_answer("it has stopped") from None

    def _wait_for(self, future: concurrent.futures.Future[T], work: Coroutine[Any, Any, T], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            remaining = deadline - time.monotonic()
            try:
                future.exception(max(0.0, min(LOOP_CHECK_SECONDS, remaining)))
                return
            except concurrent.futures.CancelledError:
                return
            except concurrent.futures.TimeoutError:
                pass
            if self._loop.is_closed() and not future.done():
                _close_unstarted(work)
                raise self._no_answer("it has stopped")
            if remaining <= 0:
                raise self._no_answer(f"timed out after {timeout:g} s")

    def _disconnect(self, call: ApplicationCall) -> None:
        try:
            self._loop.call_soon_threadsafe(call.disconnect)
        except RuntimeError:
            pass  # the loop is closed: the call has ended with it

    def _http(self) -> HttpTransport:
        if self._of_child is None:
            from .http_transport import HttpTransport

            # The emulator of this machine, whatever address it listens on.
            self._of_child = HttpTransport(self._url, self._admin_key, verify=False)
        return self._of_child


def _close_unstarted(work: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine that the loop has never run, which would be warned of otherwise."""
    if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()
