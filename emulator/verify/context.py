"""What checks share: a server, one sandbox for most of them, and the duty to leave nothing behind.

Everything is made when the first check asks for it, once; what could not be made is not tried again, and the checks
that need it are not made. What was made is undone by `clean`, whatever happened in between.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional, TypeVar

import httpx

from . import expect
from .check import Different, Unchecked
from .wire import Patience, Socket, Wire, segment

T = TypeVar("T")

CREATE_SECONDS = 360.0  # what the platform's clients wait for
CLEAN_SECONDS = 60.0
SNAPSHOT_SECONDS = 60.0


class Context:
    """`label` is in everything that is made: the name of keys and snapshots, the init script of sandboxes."""

    def __init__(
        self, wire: Wire, patience: Patience, second_key: Optional[str] = None, agent: Optional[str] = None
    ) -> None:
        self.wire = wire
        self.patience = patience
        self.second_key = second_key
        self.agent = agent
        self.label = f"caged-verify-{secrets.token_hex(4)}"
        self._count = 0
        self._shared: dict[str, Any] = {}
        #: (method, path, body, what it is): what has to be sent to leave everything as it was.
        self._undo: list[tuple[str, str, Any, str]] = []
        self._sandboxes: list[str] = []

    # --- asking

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.wire.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.wire.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.wire.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.wire.request("DELETE", path, **options)

    def exec(self, command: str, sandbox: Optional[str] = None) -> httpx.Response:
        return self.post(f"/sandboxes/{sandbox or self.box}/exec", json={"command": command})

    def executed(self, command: str, sandbox: Optional[str] = None) -> dict[str, Any]:
        """The result of a command."""
        return expect.an_object(self.exec(command, sandbox))

    def write(self, path: str, content: str, **options: Any) -> httpx.Response:
        return self.put(self.files("/content"), params={"path": path}, json={"content": content}, **options)

    def read(self, path: str) -> httpx.Response:
        return self.get(self.files("/content"), params={"path": path})

    def files(self, rest: str = "") -> str:
        return f"/sandboxes/{self.box}/files{rest}"

    @contextmanager
    def socket(
        self, kind: str, query: str = "", token: Optional[str] = None, sandbox: Optional[str] = None
    ) -> Iterator[Socket]:
        """`kind`: `terminal` or `mcp`, the subprotocol too. A new ticket is the token unless one is given."""
        token = self.ticket() if token is None else token
        with self.wire.socket(f"/sandboxes/{sandbox or self.box}/{kind}{query}", token, kind) as socket:
            yield socket

    # --- what a check needs before it can look

    def need(self, answer: httpx.Response, what: str) -> httpx.Response:
        """What is not the matter of this check has to work."""
        if not 200 <= answer.status_code < 300:
            raise Unchecked(f"{what} failed: {expect.said(answer)}")
        return answer

    def needed(self, answer: httpx.Response, what: str) -> Any:
        """The JSON of it."""
        try:
            return expect.any_json(self.need(answer, what))
        except Different as error:
            raise Unchecked(f"{what} failed: {error}") from None

    def shell(self, command: str, sandbox: Optional[str] = None) -> str:
        """The output of a command that has to succeed."""
        result = self.needed(self.exec(command, sandbox), "a command")
        if not isinstance(result, dict) or result.get("exit_code") != 0 or not isinstance(result.get("output"), str):
            raise Unchecked(f"a command failed: {expect.short(repr(result))}")
        return str(result["output"])

    def put_file(self, content: str) -> str:
        """The path of a new file."""
        path = f"/workspace/{self.name()}"
        self.need(self.write(path, content), "writing a file")
        return path

    def ticket(self) -> str:
        found = self.needed(self.post("/auth/socket-ticket"), "a ticket for the socket")
        ticket = found.get("ticket") if isinstance(found, dict) else None
        if not isinstance(ticket, str) or not ticket:
            raise Unchecked(f"a ticket for the socket failed: {expect.short(repr(found))}")
        return ticket

    def name(self) -> str:
        """One that nothing else has, and that says whose it is."""
        self._count += 1
        return f"{self.label}-{self._count}"

    def eventually(self, look: Callable[[], Optional[T]], what: str, seconds: float) -> T:
        """The first result of `look` that is not None, asked again and again."""
        pause, until = 0.01, time.monotonic() + seconds
        with self.patience.aside(seconds):
            while time.monotonic() < until:
                found = look()
                if found is not None:
                    return found
                time.sleep(pause)
                pause = min(pause * 2, 1.0)
        raise Different(what, f"not within {seconds:g} s")

    # --- what all checks share

    def shared(self, name: str, make: Callable[[], T]) -> T:
        """Made once. A failure is remembered too, and is the same for everybody who asks."""
        if name not in self._shared:
            try:
                with self.patience.aside(CREATE_SECONDS + SNAPSHOT_SECONDS):
                    self._shared[name] = make()
            except httpx.ConnectError:
                raise  # the server is gone, for everybody
            except (Different, Unchecked, httpx.HTTPError) as error:
                self._shared[name] = Unchecked(f"{name} cannot be had: {expect.short(str(error))}")
        found = self._shared[name]
        if isinstance(found, Unchecked):
            raise Unchecked(str(found))
        result: T = found
        return result

    def create(self, **fields: Any) -> httpx.Response:
        """A create, whatever comes of it. A sandbox that comes of it is destroyed in the end."""
        body = {"template": "minimal", "init_script": f": {self.label}", **fields}
        answer = self.post("/sandboxes", json={name: value for name, value in body.items() if value is not None})
        if answer.status_code < 300:
            try:
                identifier = answer.json().get("id")
            except (ValueError, AttributeError):
                identifier = None
            if isinstance(identifier, str) and identifier:
                self._sandboxes.append(identifier)
                self.undo("DELETE", f"/sandboxes/{segment(identifier)}", f"sandbox {identifier}")
        return answer

    def sandbox(self, name: str, **fields: Any) -> httpx.Response:
        """The answer to a create that made a sandbox, made once under this name."""

        def make() -> httpx.Response:
            answer = self.create(**fields)
            self.needed(answer, "creating a sandbox")
            if not self._sandboxes or f'"{self._sandboxes[-1]}"' not in answer.text:
                raise Unchecked(f"creating a sandbox answered without its id: {expect.said(answer)}")
            return answer

        return self.shared(name, make)

    @property
    def created(self) -> httpx.Response:
        """How the shared sandbox was made: with nothing but a template and what tells whose it is."""
        return self.sandbox("the shared sandbox", env={"CAGED_VERIFY": self.label})

    @property
    def box(self) -> str:
        """The id of the shared sandbox."""
        return str(self.created.json()["id"])

    @property
    def python_created(self) -> httpx.Response:
        """How the second sandbox was made: with an alias and most of the fields."""
        agents = {"agents": [self.agent], "memory_mb": 1024} if self.agent else {"memory_mb": 256}
        return self.sandbox(
            "the second sandbox", template="python", cpus=1, disk_gb=0, budget=1.5, timeout=600, **agents
        )

    @property
    def python_box(self) -> str:
        return str(self.python_created.json()["id"])

    def undo(self, method: str, path: str, what: str, body: Any = None) -> None:
        """Sent in the end, the last one first."""
        self._undo.append((method, path, body, what))

    # --- leaving nothing behind

    def clean(self) -> list[str]:
        """Undoes everything; what could not be undone is returned, in words. Bounded by CLEAN_SECONDS."""
        self.patience.begin(CLEAN_SECONDS)
        left: list[str] = []
        with self.patience.aside(CLEAN_SECONDS):
            for sandbox in self._strays(left):
                if sandbox not in self._sandboxes:
                    self.undo("DELETE", f"/sandboxes/{segment(sandbox)}", f"sandbox {sandbox}")
                    self._sandboxes.append(sandbox)
            for sandbox in self._sandboxes:  # those that a pause makes, and that outlive the sandbox
                for snapshot in self._listed(f"/sandboxes/{segment(sandbox)}/snapshots", left):
                    self.undo("DELETE", f"/snapshots/{segment(str(snapshot.get('id')))}", f"snapshot of {sandbox}")
            while self._undo:
                method, path, body, what = self._undo.pop()
                options = {} if body is None else {"json": body}
                try:
                    answer = self.wire.request(method, path, **options)
                except (httpx.HTTPError, Different) as error:
                    left.append(f"{what}: {error}")
                    continue
                if answer.status_code >= 300 and answer.status_code != 404:
                    left.append(f"{what}: {expect.said(answer)}")
        return left

    def _strays(self, left: list[str]) -> list[str]:
        """Sandboxes and keys of this run whose making was never answered, or not in time."""
        for key in self._listed("/account/keys", left):
            if self.label in str(key.get("name")):
                self.undo("DELETE", f"/account/keys/{segment(str(key.get('id')))}", f"key {key.get('name')}")
        sandboxes = self._listed("/sandboxes", left)
        return [str(found.get("id")) for found in sandboxes if self.label in str(found.get("init_script"))]

    def _listed(self, path: str, left: list[str]) -> list[dict[str, Any]]:
        try:
            answer = self.get(path)
            found = answer.json() if answer.status_code == 200 else []
        except (httpx.HTTPError, ValueError, Different) as error:
            left.append(f"what {path} lists: {error}")
            return []
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
