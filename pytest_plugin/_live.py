"""Live runs: know what was created while a test ran, and destroy that and nothing else.

The account is somebody's own and may hold other sandboxes, so comparing `list()` before and after is no way
to tell. Instead each answer of the API to a request of this process is looked at, whichever client sent it.
What the code under test creates from another process is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional

import httpx
import pytest

from caged import Caged, CagedError, CagedNotFoundError

_CREATES = re.compile(r"(?P<kind>sandboxes|sandboxes/[^/]+/snapshots|account/keys)")
_PAUSE = re.compile(r"sandboxes/(?P<id>[^/]+)/pause")


class Creations:
    """What was created with one API key, or with a key created by it. Ids are in order of creation."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._prefix = str(httpx.URL(f"{base_url}/v1/"))
        self._bearers = {f"Bearer {api_key}"}
        self.sandboxes: list[str] = []
        self.snapshots: list[str] = []
        self.keys: list[str] = []

    def concerns(self, request: httpx.Request) -> bool:
        """Does this request create something, or pause a sandbox of ours?"""
        path = self._path(request)
        if request.method != "POST" or path is None:
            return False
        return bool(_CREATES.fullmatch(path)) or self._paused(path) is not None

    def saw(self, request: httpx.Request, response: httpx.Response) -> Optional[httpx.Request]:
        """Note what the answer to such a request created. The body must have been read.

        Pausing makes an automatic snapshot without naming it: then the request that asks for it is returned,
        and its answer is to be handed to `saw_snapshots`.
        """
        path = self._path(request)
        if path is None or not response.is_success:
            return None
        paused = self._paused(path)
        if paused is not None:
            url = f"{self._prefix}sandboxes/{paused}/snapshots"
            headers = {"Authorization": request.headers["Authorization"], "Accept": "application/json"}
            return httpx.Request("GET", url, headers=headers, extensions=request.extensions)
        body = _json(response)
        if path == "sandboxes":
            _note(self.sandboxes, body)
        elif path == "account/keys":
            _note(self.keys, body.get("info") if isinstance(body, dict) else None)
            if isinstance(body, dict) and isinstance(body.get("key"), str):
                self._bearers.add(f"Bearer {body['key']}")
        else:
            _note(self.snapshots, body)
        return None

    def saw_snapshots(self, response: httpx.Response) -> None:
        body = _json(response)
        for snapshot in body if response.is_success and isinstance(body, list) else []:
            _note(self.snapshots, snapshot)

    def _path(self, request: httpx.Request) -> Optional[str]:
        """The path below /v1/, or None when this is not our API or not our key."""
        url = str(request.url)
        if request.headers.get("Authorization") not in self._bearers or not url.startswith(self._prefix):
            return None
        return url[len(self._prefix) :].partition("?")[0]

    def _paused(self, path: str) -> Optional[str]:
        match = _PAUSE.fullmatch(path)
        return match["id"] if match and match["id"] in self.sandboxes else None

    def destroy(self, client: Caged) -> list[str]:
        """Destroy everything noted and not gone yet. One line per thing that would not go."""
        problems: list[str] = []

        def attempt(what: str, call: Callable[[str], Any], id: str) -> Any:
            try:
                return call(id)
            except CagedNotFoundError:
                return None  # the test destroyed it itself
            except CagedError as error:
                problems.append(f"{what} {id}: {error}")
                return None

        for id in self.sandboxes:
            # A sandbox's snapshots outlive it, also those it got by pausing when idle.
            for snapshot in attempt("snapshots of sandbox", client.snapshots.list, id) or []:
                _note(self.snapshots, {"id": snapshot.id})
        for id in reversed(self.snapshots):
            attempt("snapshot", client.snapshots.delete, id)
        for id in reversed(self.sandboxes):
            attempt("sandbox", client.sandboxes.destroy, id)
        for id in reversed(self.keys):
            attempt("API key", client.account.revoke_key, id)
        return problems


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _note(ids: list[str], thing: Any) -> None:
    id = thing.get("id") if isinstance(thing, dict) else None
    if isinstance(id, str) and id and id not in ids:
        ids.append(id)


@contextmanager
def destroying_what_is_created(base_url: str, api_key: str) -> Iterator[None]:
    """Everything created with this key by this process, inside the block, is destroyed at its end."""
    creations = Creations(base_url, api_key)
    try:
        with _watching(creations):
            yield
    finally:
        with Caged(api_key=api_key, base_url=base_url) as client:
            problems = creations.destroy(client)
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        pytest.fail(f"created on {base_url} and still there, destroy it by hand:{listed}", pytrace=False)


@contextmanager
def _watching(creations: Creations) -> Iterator[None]:
    """httpx is the one place that every client passes, whoever built it and with whatever transport."""
    send, async_send = httpx.Client.send, httpx.AsyncClient.send

    def watched_send(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        response = send(self, request, **options)
        if creations.concerns(request):
            response.read()
            more = creations.saw(request, response)
            if more is not None:
                creations.saw_snapshots(send(self, more))
        return response

    async def watched_async_send(
        self: httpx.AsyncClient, request: httpx.Request, **options: Any
    ) -> httpx.Response:
        response = await async_send(self, request, **options)
        if creations.concerns(request):
            await response.aread()
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
