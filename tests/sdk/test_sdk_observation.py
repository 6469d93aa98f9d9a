"""The private observer of calls: what it sees of each call, and that it changes nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import httpx
import pytest

from caged import AsyncCaged, Caged, CagedNotFoundError, CagedServerError, _observation
from caged._frames import user_line
from caged._observed_call import ObservedCall


class Observed(ObservedCall):
    def __init__(self, path: str) -> None:
        self.path = path
        self.headers = {"X-Observed": path}
        self.ends: list[Optional[BaseException]] = []
        self.statuses: list[int] = []
        self.retries: list[tuple[type[BaseException], float]] = []

    def answered(self, status: int) -> None:
        self.statuses.append(status)

    def retried(self, error: BaseException, delay: float) -> None:
        self.retries.append((type(error), delay))

    def end(self, error: Optional[BaseException], result: Any = None) -> None:
        self.ends.append(error)


class Observer:
    def __init__(self) -> None:
        self.calls: list[Observed] = []
        self.bodies: list[Optional[Mapping[str, Any]]] = []

    def begin(
        self, settings: Any, path: str, body: Optional[Mapping[str, Any]], traceparent: str
    ) -> Optional[Observed]:
        if path == "/billing/usage":
            return None
        self.calls.append(Observed(path))
        self.bodies.append(body)
        return self.calls[-1]


@pytest.fixture
def observer() -> Iterator[Observer]:
    found = Observer()
    before = _observation.install(found)
    yield found
    assert _observation.install(before) is found


class Server:
    """Answers each request with the next status, and keeps the requests."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status = self.statuses.pop(0)
        headers = {"Retry-After": "0"} if status == 503 else {}
        return httpx.Response(status, json=[] if status == 200 else {"detail": "no"}, headers=headers)


def client(server: Any, **options: Any) -> Caged:
    return Caged("key", "http://127.0.0.1:1", transport=httpx.MockTransport(server), **options)


def test_each_attempt_of_a_call_has_the_headers_and_the_call_ends_once(observer: Observer) -> None:
    server = Server(503, 200)
    with client(server) as caged:
        assert caged.sandboxes.list() == []
    (call,) = observer.calls
    assert (call.path, call.ends) == ("/sandboxes", [None])
    assert (call.statuses, call.retries) == ([503, 200], [(CagedServerError, 0.0)])
    assert [request.headers["X-Observed"] for request in server.requests] == ["/sandboxes"] * 2
    assert server.requests[0].headers["Authorization"] == "Bearer key"


def test_call_that_fails_ends_with_its_error(observer: Observer) -> None:
    with client(Server(404)) as caged, pytest.raises(CagedNotFoundError) as raised:
        caged.sandboxes.get("cage_a")
    assert observer.calls[0].ends == [raised.value]


def test_call_that_is_interrupted_ends_at_once(observer: Observer) -> None:
    def interrupt(_request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    with client(interrupt) as caged:
        with pytest.raises(KeyboardInterrupt) as interrupted:  # which keeps the frames
            caged.sandboxes.list()
        assert [type(end) for end in observer.calls[0].ends] == [GeneratorExit]
        del interrupted


def test_bodies_are_seen_and_uninteresting_calls_are_left_alone(observer: Observer) -> None:
    server = Server(500, 404)
    with client(server, max_retries=0) as caged:
        with pytest.raises(CagedServerError):
            caged.sandboxes.exec("cage_a", "true")
        with pytest.raises(CagedNotFoundError):
            caged.billing.get_usage()
    assert observer.bodies == [{"command": "true"}]
    assert "X-Observed" not in server.requests[1].headers


def test_async_calls_at_the_same_time_are_separate(observer: Observer) -> None:
    server = Server(200, 200)

    async def main() -> None:
        async with AsyncCaged("key", "http://127.0.0.1:1", transport=httpx.MockTransport(server)) as caged:
            await asyncio.gather(caged.sandboxes.logs("cage_a"), caged.sandboxes.logs("cage_b"))

    asyncio.run(main())
    assert sorted(call.path for call in observer.calls) == ["/sandboxes/cage_a/logs", "/sandboxes/cage_b/logs"]
    assert [call.ends for call in observer.calls] == [[None], [None]]
    assert all(request.headers["X-Observed"] in str(request.url) for request in server.requests)


def test_socket_is_one_call_with_its_ticket(caged: Caged, caged_sandbox: Any, observer: Observer) -> None:
    observer.calls.clear()
    assert list(caged.sandboxes.stream(caged_sandbox.id, "echo hello")) == ["hello\n"]
    (call,) = observer.calls
    assert (call.path, call.ends) == (f"/sandboxes/{caged_sandbox.id}/terminal", [None])
    assert call.statuses == [101]


def test_without_an_observer_nothing_is_added() -> None:
    before = _observation.install(None)
    try:
        server = Server(200)
        with client(server) as caged:
            caged.sandboxes.list()
    finally:
        _observation.install(before)
    assert sorted(server.requests[0].headers) == ["accept", "accept-encoding", "authorization", *_REST]


_REST = ["connection", "host", "user-agent"]


def test_line_of_a_user_is_the_nearest_one_or_that_of_the_preferred_file() -> None:
    names: dict[str, Any] = {"user_line": user_line, "__name__": "elsewhere"}
    exec(compile("def line(preferred=None): return user_line(preferred)[0]", "elsewhere.py", "exec"), names)
    assert names["line"]() == ("elsewhere.py", 1)
    assert names["line"]("another.py") == ("elsewhere.py", 1)
    assert names["line"](__file__)[0] == __file__
