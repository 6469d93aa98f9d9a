"""What the emulator's tests share: raw HTTP as one account, a clock that can be moved, and waiting."""

from __future__ import annotations

import os
import socket
import time
from typing import Any, Optional
from urllib.parse import quote

import conformance
import httpx
import pytest
from internals import call_on_loop, platform_of
from waiting import eventually as eventually

from caged.emulator import AccountInfo, Emulator
from caged.emulator.control.current_account import ALL_ACCOUNTS

#: For all clients: to make one takes as long as a call.
NO_CERTIFICATES = httpx.create_ssl_context(verify=False)


def live(emulator: Emulator, sandbox_id: str) -> Any:
    """The processes and locks of a sandbox."""
    platform = platform_of(emulator)
    return platform.live.of(platform.store.sandboxes[sandbox_id])


def init_of(emulator: Emulator, sandbox_id: str) -> int:
    """The process id of a sandbox's init, once the zygote has reported it."""
    pid: int = eventually(lambda: live(emulator, sandbox_id).cage.init_pid, "the zygote to report the init")
    return pid


class Api(httpx.Client):
    """The wire as one account speaks it. Every answer must be one that the OpenAPI document names. The shortcuts
    assert that they succeeded."""

    def __init__(self, emulator: Emulator, api_key: str, account_id: str = "") -> None:
        super().__init__(
            base_url=f"{emulator.base_url}/v1",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=60,
            trust_env=False,
            verify=NO_CERTIFICATES,
        )
        self.emulator = emulator
        self.key = api_key
        self.account_id = account_id

    def send(self, *arguments: Any, **options: Any) -> httpx.Response:
        response = super().send(*arguments, **options)
        conformance.check(response)
        return response

    def sandbox(self, **fields: Any) -> str:
        """The id of a new running sandbox."""
        made = self.post("/sandboxes", json={"template": "minimal", **fields})
        assert made.status_code == 201, made.text
        assert made.json()["status"] == "running", self.log_text(made.json()["id"])
        return str(made.json()["id"])

    def run(self, sandbox: str, command: str) -> dict[str, Any]:
        """The whole result of an exec."""
        answer = self.post(f"/sandboxes/{sandbox}/exec", json={"command": command})
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def output(self, sandbox: str, command: str) -> str:
        """The output of a command that must succeed."""
        result = self.run(sandbox, command)
        assert result["exit_code"] == 0, result
        return str(result["output"])

    def write(self, sandbox: str, path: str, content: str) -> httpx.Response:
        return self.put(f"/sandboxes/{sandbox}/files/content", params={"path": path}, json={"content": content})

    def read(self, sandbox: str, path: str) -> httpx.Response:
        return self.get(f"/sandboxes/{sandbox}/files/content", params={"path": path})

    def listing(self, sandbox: str, path: Optional[str] = None) -> httpx.Response:
        return self.get(f"/sandboxes/{sandbox}/files", params={} if path is None else {"path": path})

    def status(self, sandbox: str) -> str:
        return str(self.get(f"/sandboxes/{sandbox}").json()["status"])

    def logs(self, sandbox: str, tail: int = 1000) -> list[dict[str, str]]:
        lines: list[dict[str, str]] = self.get(f"/sandboxes/{sandbox}/logs", params={"tail": tail}).json()
        return lines

    def log_text(self, sandbox: str) -> str:
        return "\n".join(line["message"] for line in self.logs(sandbox))

    def snapshot(self, sandbox: str, **fields: Any) -> str:
        """The id of a new completed snapshot."""
        made = self.post(f"/sandboxes/{sandbox}/snapshots", json=fields)
        assert made.status_code == 201, made.text
        done = self.settled(made.json()["id"])
        assert done["status"] == "completed", self.log_text(sandbox)
        return str(done["id"])

    def settled(self, snapshot: str) -> dict[str, Any]:
        """A snapshot that is not pending any more."""

        def look() -> Any:
            found = self.get(f"/snapshots/{snapshot}").json()
            return found if found["status"] != "pending" else None

        settled: dict[str, Any] = eventually(look, f"{snapshot} to be completed or failed")
        return settled

    def restore(self, snapshot: str, sandbox: str) -> httpx.Response:
        return self.post(f"/snapshots/{snapshot}/restore", json={"target_sandbox_id": sandbox})


def has_own_root(api: Api) -> bool:
    """Whether the emulator's sandboxes have a root of their own, in which everything can be written."""
    return platform_of(api.emulator).isolation.root == "overlays"


def require_own_root(api: Api) -> None:
    """Skip the test where they do not."""
    if not has_own_root(api):
        pytest.skip("sandboxes have no root of their own here")


class FakeClock:
    """The time of one account, or of all, ahead of the real one by `offset` seconds. Moving it jumps; `Emulator.clock`
    does what becomes due on the way."""

    def __init__(self, emulator: Emulator, account_id: str = ALL_ACCOUNTS) -> None:
        self._emulator = emulator
        self._account_id = account_id
        clock = platform_of(emulator).clock
        clock.advance(account_id, 0)  # an account has a clock of its own from then on
        self._clock = clock._clocks_of(account_id)[0]

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return self._clock.time()

    @property
    def offset(self) -> float:
        return self._clock.offset

    @offset.setter
    def offset(self, seconds: float) -> None:
        self._clock.offset = seconds

    def begin_minute(self) -> None:
        """Jumps to a full minute, so that a window of the rate limit does not end within a test."""
        self.offset = 60 - time.time() % 60

    def advance(self, seconds: float) -> None:
        """Moves on, and lets the emulator look at its sandboxes."""
        self.offset += seconds
        call_on_loop(self._emulator, platform_of(self._emulator).scheduler.check(self._account_id))


def api_of(emulator: Emulator, account: Optional[AccountInfo] = None) -> Api:
    account = account or emulator.create_account()
    return Api(emulator, account.api_key, account.id)


def segment(text: str) -> str:
    """An id as one path segment."""
    return quote(text, safe="")


def raw_request(emulator: Emulator, data: bytes) -> bytes:
    """Everything that the emulator answers to exactly these bytes, until it closes."""
    host, port = emulator.base_url[len("http://") :].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(data)
        received = b""
        while True:
            piece = connection.recv(65536)
            if not piece:
                return received
            received += piece


def post_and_leave(api: Api, box: str, command: str) -> None:
    """Send an exec and disconnect when the command has begun (it must `touch begun`)."""
    host, port = api.emulator.base_url[len("http://") :].split(":")
    body = b'{"command": "%s"}' % command.encode()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            f"POST /v1/sandboxes/{box}/exec HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        eventually(lambda: api.read(box, "begun").status_code == 200, "the command to begin")


def assert_problem(response: httpx.Response, status: int, detail: str = "", code: Optional[str] = None) -> None:
    """Check that a response is a refusal with `detail` in its text and `code` as its reason. Its keys are checked by
    `Api`, against the contract."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["type"] == f"https://caged.dev/errors/{body['title']}"
    assert detail in body["detail"], body["detail"]
    assert body.get("reason", {}).get("code") == code
    if code is not None:
        assert all(body["reason"].values())  # what does not apply is left out
        assert body["reason"]["message"] == body["detail"]


def gone(pid: int) -> bool:
    """Whether a process is over."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as stat:  # a zombie is gone too
        return stat.read().rpartition(")")[2].split()[0] == "Z"
