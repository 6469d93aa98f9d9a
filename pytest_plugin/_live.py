"""Live runs: know what was created while a test ran, and destroy that and nothing else.

The account is somebody's own and may hold other sandboxes, so comparing `list()` before and after is no way
to tell. Instead each answer of the API to a request of this process is looked at, whichever client sent it.
What the code under test creates from another process is not seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from ._creations import Creations

#: Of an exception that says that nothing reached the API.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@contextmanager
def watching(creations: Creations) -> Iterator[None]:
    """httpx is the one place that every client passes, whoever built it and with whatever transport."""
    send, async_send = httpx.Client.send, httpx.AsyncClient.send

    def watched_send(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        if not creations.ours(request):
            return send(self, request, **options)
        request, token = creations.before(request)
        began = time.perf_counter()
        try:
            response = send(self, request, **options)
        except httpx.HTTPError as error:
            _unanswered(creations, request, token, error)
            raise
        _answered(creations, request, response, began)
        if creations.concerns(request):
            response.read()
            creations.after(token, request, response)
            more = creations.saw(request, response)
            if more is not None:
                creations.saw_snapshots(send(self, more))
        return response

    async def watched_async_send(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        if not creations.ours(request):
            return await async_send(self, request, **options)
        request, token = creations.before(request)
        began = time.perf_counter()
        try:
            response = await async_send(self, request, **options)
        except httpx.HTTPError as error:
            _unanswered(creations, request, token, error)
            raise
        _answered(creations, request, response, began)
        if creations.concerns(request):
            await response.aread()
            creations.after(token, request, response)
            more = creations.saw(request, response)
            if more is not None:
                creations.saw_snapshots(await async_send(self, more))
        return response

    # setattr, because assigning to a method is an error to a type checker.
    setattr(httpx.Client, "send", watched_send)  # noqa: B010
    setattr(httpx.AsyncClient, "send", watched_async_send)  # noqa: B010
    try:
        yield
    finally:
        setattr(httpx.Client, "send", send)  # noqa: B010
        setattr(httpx.AsyncClient, "send", async_send)  # noqa: B010


def _unanswered(creations: Creations, request: httpx.Request, token: str, error: httpx.HTTPError) -> None:
    if isinstance(error, _NEVER_SENT):
        creations.never_sent(token)
    creations.last.append(f"{request.method} {request.url.path} -> {type(error).__name__}")


def _answered(creations: Creations, request: httpx.Request, response: httpx.Response, began: float) -> None:
    milliseconds = (time.perf_counter() - began) * 1000
    shown = f"{request.method} {request.url.path} -> {response.status_code} ({milliseconds:.0f} ms)"
    creations.last.append(shown)
