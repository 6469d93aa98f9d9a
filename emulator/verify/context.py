"""What the checks of a run share: a client, one sandbox for most of them, and the removal of what they create.

A shared object is created when the first check needs it. One that could not be created is not tried again, and the
checks that need it are skipped. `clean_up` removes everything, however the run has ended.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional, TypeVar

import httpx

from .assertions import describe, parse_json, read_object, shorten
from .cleanup import Cleanup
from .errors import Mismatch, SkipCheck
from .raw_client import RawClient, Socket, path_segment

T = TypeVar("T")

CREATE_SECONDS = 360.0  # the timeout of the platform's clients
SNAPSHOT_SECONDS = 60.0


class Context:
    """The state of one run.

    Attributes:
        client: The client of the account under test.
        second_key: An API key of another account, if one was given.
        agent: The agent to prompt, if one was given.
        label: A text that everything of this run contains: the names of keys and snapshots, and the init scripts of
            sandboxes.
    """

    def __init__(self, client: RawClient, second_key: Optional[str] = None, agent: Optional[str] = None) -> None:
        self.client = client
        self.time_budget = client.time_budget
        self.second_key = second_key
        self.agent = agent
        self.label = f"caged-verify-{secrets.token_hex(4)}"
        self._names = 0
        self._shared: dict[str, Any] = {}
        self._cleanup = Cleanup(client, self.label)

    # --- requests

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.client.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.client.request("DELETE", path, **options)

    def exec(self, command: str, sandbox: Optional[str] = None) -> httpx.Response:
        return self.post(f"/sandboxes/{sandbox or self.sandbox_id}/exec", json={"command": command})

    def exec_result(self, command: str, sandbox: Optional[str] = None) -> dict[str, Any]:
        """Run a command and return its result."""
        return read_object(self.exec(command, sandbox))

    def write(self, path: str, content: str, **options: Any) -> httpx.Response:
        return self.put(self.files_path("/content"), params={"path": path}, json={"content": content}, **options)

    def read(self, path: str) -> httpx.Response:
        return self.get(self.files_path("/content"), params={"path": path})

    def files_path(self, rest: str = "") -> str:
        """Return the URL path of the files of the shared sandbox."""
        return f"/sandboxes/{self.sandbox_id}/files{rest}"

    @contextmanager
    def socket(
        self, kind: str, query: str = "", token: Optional[str] = None, sandbox: Optional[str] = None
    ) -> Iterator[Socket]:
        """Open a WebSocket of a sandbox.

        Args:
            kind: `terminal` or `mcp`; also the subprotocol.
            query: The query string, with its `?`.
            token: A ticket or key; None means a new ticket.
            sandbox: An id; None means the shared sandbox.
        """
        token = self.ticket() if token is None else token
        with self.client.socket(f"/sandboxes/{sandbox or self.sandbox_id}/{kind}{query}", token, kind) as socket:
            yield socket

    # --- preconditions: their failure is not what the check reports

    def require_success(self, answer: httpx.Response, what: str) -> httpx.Response:
        """Return the answer, or skip the check when it is an error."""
        if not 200 <= answer.status_code < 300:
            raise SkipCheck(f"{what} failed: {describe(answer)}")
        return answer

    def require_json(self, answer: httpx.Response, what: str) -> Any:
        """Return the JSON of a successful answer, or skip the check."""
        try:
            return parse_json(self.require_success(answer, what))
        except Mismatch as error:
            raise SkipCheck(f"{what} failed: {error}") from None

    def run_command(self, command: str, sandbox: Optional[str] = None) -> str:
        """Return the output of a command, or skip the check when it fails."""
        result = self.require_json(self.exec(command, sandbox), "a command")
        if not isinstance(result, dict) or result.get("exit_code") != 0 or not isinstance(result.get("output"), str):
            raise SkipCheck(f"a command failed: {shorten(repr(result))}")
        return str(result["output"])

    def write_new_file(self, content: str) -> str:
        """Write a file of a new name and return its path, or skip the check."""
        path = f"/workspace/{self.unique_name()}"
        self.require_success(self.write(path, content), "writing a file")
        return path

    def ticket(self) -> str:
        """Return a new socket ticket, or skip the check."""
        body = self.require_json(self.post("/auth/socket-ticket"), "a ticket for the socket")
        ticket = body.get("ticket") if isinstance(body, dict) else None
        if not isinstance(ticket, str) or not ticket:
            raise SkipCheck(f"a ticket for the socket failed: {shorten(repr(body))}")
        return ticket

    def unique_name(self) -> str:
        """Return a name that was not used before, and that contains the label."""
        self._names += 1
        return f"{self.label}-{self._names}"

    def wait_until(self, poll: Callable[[], Optional[T]], what: str, seconds: float) -> T:
        """Call `poll` until it returns something other than None, and return that.

        Raises:
            Mismatch: It did not within `seconds`; `what` is what was expected.
        """
        pause, until = 0.01, time.monotonic() + seconds
        with self.time_budget.extra_time(seconds):
            while time.monotonic() < until:
                result = poll()
                if result is not None:
                    return result
                time.sleep(pause)
                pause = min(pause * 2, 1.0)
        raise Mismatch(what, f"not within {seconds:g} s")

    # --- shared objects

    def shared(self, name: str, make: Callable[[], T]) -> T:
        """Return the result of `make`, which is called once for each name. A failure is kept, too: all checks that
        need the object are skipped for the same reason."""
        if name not in self._shared:
            try:
                with self.time_budget.extra_time(CREATE_SECONDS + SNAPSHOT_SECONDS):
                    self._shared[name] = make()
            except httpx.ConnectError:
                raise  # the server is gone, which ends the run
            except (Mismatch, SkipCheck, httpx.HTTPError) as error:
                self._shared[name] = SkipCheck(f"{name} is not available: {shorten(str(error))}")
        result = self._shared[name]
        if isinstance(result, SkipCheck):
            raise SkipCheck(str(result))
        value: T = result
        return value

    def create(self, **fields: Any) -> httpx.Response:
        """Request a sandbox, and have it destroyed at the end if the answer has an id. A field of None is left out."""
        body = {"template": "minimal", "init_script": f": {self.label}", **fields}
        answer = self.post("/sandboxes", json={name: value for name, value in body.items() if value is not None})
        sandbox_id = _created_id(answer)
        if sandbox_id:
            self._cleanup.add_sandbox(sandbox_id)
        return answer

    def shared_sandbox(self, name: str, **fields: Any) -> httpx.Response:
        """Create a sandbox once for each name, and return the answer."""

        def make() -> httpx.Response:
            answer = self.create(**fields)
            self.require_json(answer, "creating a sandbox")
            if not _created_id(answer):
                raise SkipCheck(f"creating a sandbox answered without its id: {describe(answer)}")
            return answer

        return self.shared(name, make)

    @property
    def create_response(self) -> httpx.Response:
        """The answer to creating the shared sandbox, with a template and the label only."""
        return self.shared_sandbox("the shared sandbox", env={"CAGED_VERIFY": self.label})

    @property
    def sandbox_id(self) -> str:
        """The id of the shared sandbox."""
        return str(self.create_response.json()["id"])

    @property
    def second_create_response(self) -> httpx.Response:
        """The answer to creating the second sandbox, with an alias of a template and most of the fields."""
        agents = {"agents": [self.agent], "memory_mb": 1024} if self.agent else {"memory_mb": 256}
        return self.shared_sandbox(
            "the second sandbox", template="python", cpus=1, disk_gb=0, budget=1.5, timeout=600, **agents
        )

    @property
    def second_sandbox_id(self) -> str:
        """The id of the second sandbox."""
        return str(self.second_create_response.json()["id"])

    def wait_for_snapshot(self, snapshot_id: str) -> httpx.Response:
        """Return the answer to getting a snapshot when its status is not `pending` any more."""
        path = f"/snapshots/{path_segment(snapshot_id)}"

        def poll() -> Optional[httpx.Response]:
            answer = self.get(path)
            return None if '"pending"' in answer.text else answer

        return self.wait_until(poll, "status completed", SNAPSHOT_SECONDS)

    # --- removal

    def add_cleanup(self, method: str, path: str, what: str, body: Any = None) -> None:
        """Add a request that is sent at the end, the last one first; `what` describes its object in the report."""
        self._cleanup.add(method, path, what, body)

    def clean_up(self) -> list[str]:
        """Remove everything that was created. Returns what could not be removed, as texts."""
        return self._cleanup.run()


def _created_id(answer: httpx.Response) -> str:
    """Return the id in the answer to a create, or an empty text."""
    if answer.status_code >= 300:
        return ""
    try:
        sandbox_id = answer.json().get("id")
    except (ValueError, AttributeError):
        return ""
    return sandbox_id if isinstance(sandbox_id, str) else ""
