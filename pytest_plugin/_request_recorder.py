"""Live runs: record what is created while a test runs, so that exactly that is destroyed afterwards.

The account may hold other sandboxes and other programs may use it, so comparing `list()` before and after is not
enough. Instead each answer of the API to a request of this process is read, whichever client sent it. What the code
under test creates from another process is not seen.

Several scopes may be open at a time: that of a test, and those of `caged_factory.account()`. What a client of such an
account creates belongs to its scope, everything else to the test's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional

import httpx

from caged._http import is_loopback

from ._creations import LOOK, Creations

#: Exceptions which mean that the API did not receive the request.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
#: The scopes that are open, outermost first.
_open: list[Creations] = []


@contextmanager
def recording(creations: Creations) -> Iterator[None]:
    """Record in `creations` what is created, until the end of the block."""
    _open.append(creations)
    try:
        if len(_open) > 1:
            yield
        else:
            with _recorded_httpx():
                yield
    finally:
        _open.remove(creations)


def _owner(client: Any, request: httpx.Request) -> Optional[Creations]:
    """The scope that a request belongs to; None: it is not one to the API with a known key."""
    known = [creations for creations in reversed(_open) if creations.is_own_request(request)]
    for belongs in (lambda one: one.is_about_own_resource(request), lambda one: client in one.clients):
        for creations in known:
            if belongs(creations):
                return creations
    return next((creations for creations in known if creations.of_test), known[0] if known else None)


@contextmanager
def _recorded_httpx() -> Iterator[None]:
    """Replace the `send` methods of httpx, which every client calls, whatever its transport."""
    send, async_send = httpx.Client.send, httpx.AsyncClient.send

    def recorded_send(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        creations = _owner(self, request)
        if creations is None:
            return send(self, request, **options)
        request, token = _prepare(creations, request)
        began = time.perf_counter()
        try:
            response = send(self, request, **options)
        except httpx.HTTPError as error:
            _note_failure(creations, request, token, error, began)
            raise
        _note_answer(creations, request, response, began)
        if creations.is_relevant(request):
            response.read()
            _note_created(creations, request, token, response, send)
        return response

    async def recorded_async_send(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        creations = _owner(self, request)
        if creations is None:
            return await async_send(self, request, **options)
        request, token = _prepare(creations, request)
        began = time.perf_counter()
        try:
            response = await async_send(self, request, **options)
        except httpx.HTTPError as error:
            _note_failure(creations, request, token, error, began)
            raise
        _note_answer(creations, request, response, began)
        if creations.is_relevant(request):
            await response.aread()
            _note_created(creations, request, token, response, send)
        return response

    # setattr, because assigning to a method is an error to a type checker.
    setattr(httpx.Client, "send", recorded_send)  # noqa: B010
    setattr(httpx.AsyncClient, "send", recorded_async_send)  # noqa: B010
    try:
        yield
    finally:
        setattr(httpx.Client, "send", send)  # noqa: B010
        setattr(httpx.AsyncClient, "send", async_send)  # noqa: B010


def _prepare(creations: Creations, request: httpx.Request) -> tuple[httpx.Request, str]:
    destroyed = creations.destroys(request)
    if destroyed:
        creations.wait_for_searches([destroyed])
    return creations.prepare(request)


def _note_created(
    creations: Creations,
    request: httpx.Request,
    token: str,
    response: httpx.Response,
    send: Callable[..., httpx.Response],
) -> None:
    creations.note_answer(token, request, response)
    search = creations.record(request, response)
    if search is not None:
        sandbox, listing = search
        creations.search(sandbox, lambda: _send_by_own_client(listing, send))


def _send_by_own_client(request: httpx.Request, send: Callable[..., httpx.Response]) -> httpx.Response:
    """Send a request by a client of our own: the user's may have hooks, a mock transport or an event loop."""
    with httpx.Client(timeout=LOOK, trust_env=not is_loopback(request.url.host)) as client:
        return send(client, request)


def _note_failure(
    creations: Creations, request: httpx.Request, token: str, error: httpx.HTTPError, began: float
) -> None:
    creations.seen(request.method, request.url.path, 0, type(error).__name__, began)
    if isinstance(error, _NEVER_SENT):
        creations.note_unsent(token)
    creations.recent_requests.append(f"{request.method} {request.url.path} -> {type(error).__name__}")


def _note_answer(creations: Creations, request: httpx.Request, response: httpx.Response, began: float) -> None:
    creations.seen(request.method, request.url.path, response.status_code, "", began)
    milliseconds = (time.perf_counter() - began) * 1000
    shown = f"{request.method} {request.url.path} -> {response.status_code} ({milliseconds:.0f} ms)"
    creations.recent_requests.append(shown)
