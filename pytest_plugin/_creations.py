"""What was created while a test ran, with one API key, as this process's requests and their answers show."""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, Optional

import httpx

from caged import Caged, CagedError, CagedNotFoundError

from ._creation_messages import created_resource, id_of, json_of, mark_request

if TYPE_CHECKING:
    from caged._runs import Ledger

_CREATES = re.compile(r"(?P<kind>sandboxes|sandboxes/[^/]+/snapshots|account/keys)")
_PAUSE = re.compile(r"sandboxes/(?P<id>[^/]+)/pause")
_THING = re.compile(r"(?P<kind>sandboxes|snapshots|account/keys)/(?P<id>[^/]+)")
_KINDS = {"sandboxes": "sandbox", "snapshots": "snapshot", "account/keys": "key"}
#: The number of requests that are kept for the report of a failed test.
_LAST = 20
#: Seconds that a search for automatic snapshots may take, and that a request waits for one.
LOOK = 5.0
_WAIT = 2.0


class Creations:
    """The resources that were created with an API key, or with a key created by it. Ids are in order of creation.

    Args:
        base_url: The API.
        api_key: The key.
        run: The id of the run, which sandboxes and snapshots carry.
        ledger: Where creations are noted.
        of_test: Whether the scope is a test's; else it is an account that a fixture has opened.
    """

    def __init__(
        self, base_url: str, api_key: str, run: str = "", ledger: Optional[Ledger] = None, of_test: bool = True
    ) -> None:
        self._prefix = str(httpx.URL(f"{base_url}/v1/"))
        self._bearers = {f"Bearer {api_key}"}
        self._run = run
        self._ledger = ledger
        self.of_test = of_test
        self.sandboxes: list[str] = []
        self.snapshots: list[str] = []
        self.keys: list[str] = []
        #: Snapshots that the platform made when a sandbox was paused.
        self.automatic: set[str] = set()
        #: Clients whose creations belong here, whatever other scope is open.
        self.clients: weakref.WeakSet[Any] = weakref.WeakSet()
        #: Searches for the snapshots that a pause made, by sandbox.
        self._searches: dict[str, threading.Thread] = {}
        #: Why the ledger could not be written; empty while it could.
        self.ledger_failure = ""
        #: (kind, id) of what `destroy` found still there.
        self.destroyed: list[tuple[str, str]] = []
        self.recent_requests: deque[str] = deque(maxlen=_LAST)
        #: Called with method, path, status (0: no answer), error and beginning (`time.perf_counter`) of each request.
        self.seen: Callable[[str, str, int, str, float], None] = lambda *_: None

    # --- a request and its answer

    def is_own_request(self, request: httpx.Request) -> bool:
        return self._path(request) is not None

    def is_relevant(self, request: httpx.Request) -> bool:
        """Whether this request creates something, or pauses or destroys something that was created here."""
        path = self._path(request)
        if path is None:
            return False
        if request.method == "DELETE":
            return self._own_resource(path) is not None
        return request.method == "POST" and (bool(_CREATES.fullmatch(path)) or self._paused(path) is not None)

    def prepare(self, request: httpx.Request) -> tuple[httpx.Request, str]:
        """The request to send in its place, so that what it creates carries the run's id, and the ledger's token for
        `note_answer`."""
        kind = self._created_kind(request)
        if kind is None:
            return request, ""
        token = self._in_ledger("creating", kind)
        return (mark_request(request, kind, self._run) if self._run else request), token

    def note_answer(self, token: str, request: httpx.Request, response: httpx.Response) -> None:
        """Note the answer to a request. The body must have been read."""
        if token:
            id = id_of(created_resource(self._created_kind(request), json_of(response)))
            if response.is_success and id:
                self._in_ledger("created", self._created_kind(request) or "", id, token)
            elif response.status_code < 500:
                self._in_ledger("refused", token)

    def note_unsent(self, token: str) -> None:
        if token:
            self._in_ledger("refused", token)

    def _in_ledger(self, what: str, *arguments: str) -> str:
        """Write to the ledger. A failure, such as a full disk, must not fail the request that is noted."""
        if self._ledger is None:
            return ""
        try:
            return str(getattr(self._ledger, what)(*arguments) or "")
        except OSError as error:
            self.ledger_failure = self.ledger_failure or str(error)
            return ""

    def record(self, request: httpx.Request, response: httpx.Response) -> Optional[tuple[str, httpx.Request]]:
        """Note what the answer to a request of `is_relevant` created. The body must have been read.

        Pausing makes an automatic snapshot without naming it. Then the sandbox is returned, with a request that lists
        its snapshots and whose answer is passed to `record_snapshots`.
        """
        path = self._path(request)
        if path is None:
            return None
        if request.method == "DELETE":
            if response.is_success or response.status_code == 404:
                self._forget(path)
            return None
        if not response.is_success:
            return None
        paused = self._paused(path)
        if paused is not None:
            url = f"{self._prefix}sandboxes/{paused}/snapshots"
            headers = {"Authorization": request.headers["Authorization"], "Accept": "application/json"}
            return paused, httpx.Request("GET", url, headers=headers)
        body = json_of(response)
        if path == "sandboxes":
            _note(self.sandboxes, body)
        elif path == "account/keys":
            _note(self.keys, created_resource("key", body))
            if isinstance(body, dict) and isinstance(body.get("key"), str):
                self._bearers.add(f"Bearer {body['key']}")
        else:
            _note(self.snapshots, body)
        return None

    def search(self, sandbox: str, request: Callable[[], httpx.Response]) -> None:
        """Request the sandbox's snapshots in a thread of its own: the request that paused it neither waits for this
        nor fails with it. What is not found here is found by `destroy`, unless the sandbox is gone by then."""

        def work() -> None:
            try:
                self.record_snapshots(request())
            except Exception:  # best effort, whatever a transport raises
                pass

        thread = threading.Thread(target=work, name="caged-snapshots", daemon=True)
        self._searches[sandbox] = thread
        thread.start()

    def wait_for_searches(self, sandboxes: Iterable[str], seconds: float = _WAIT) -> None:
        """Wait before these sandboxes are destroyed, no longer than `seconds` altogether."""
        deadline = time.monotonic() + seconds
        for sandbox in sandboxes:
            thread = self._searches.pop(sandbox, None)
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def destroys(self, request: httpx.Request) -> str:
        """The sandbox of ours that this request destroys; empty: none."""
        path = self._path(request) if request.method == "DELETE" else None
        kind, id = (self._own_resource(path) if path is not None else None) or ("", "")
        return id if kind == "sandbox" else ""

    def is_about_own_resource(self, request: httpx.Request) -> bool:
        """Whether this request pauses or destroys something that was created here."""
        path = self._path(request)
        return path is not None and bool(self._own_resource(path) or self._paused(path))

    def record_snapshots(self, response: httpx.Response) -> None:
        body = json_of(response)
        for snapshot in body if response.is_success and isinstance(body, list) else []:
            self._note_found(id_of(snapshot))

    def _note_found(self, snapshot: str) -> None:
        if snapshot and snapshot not in self.snapshots:
            self.snapshots.append(snapshot)
            self.automatic.add(snapshot)
            self._in_ledger("created", "snapshot", snapshot)

    def _forget(self, path: str) -> None:
        kind, id = self._own_resource(path) or ("", "")
        if kind:
            self._of(kind).remove(id)
            self._note_removed(kind, id)

    def _note_removed(self, kind: str, id: str) -> None:
        self._in_ledger("gone", kind, id)

    def _of(self, kind: str) -> list[str]:
        return {"sandbox": self.sandboxes, "snapshot": self.snapshots, "key": self.keys}[kind]

    def _path(self, request: httpx.Request) -> Optional[str]:
        """The path below /v1/, or None when this is not our API or not our key."""
        url = str(request.url)
        if request.headers.get("Authorization") not in self._bearers or not url.startswith(self._prefix):
            return None
        return url[len(self._prefix) :].partition("?")[0]

    def _created_kind(self, request: httpx.Request) -> Optional[str]:
        path = self._path(request)
        if request.method != "POST" or path is None or not _CREATES.fullmatch(path):
            return None
        return "snapshot" if path.endswith("/snapshots") else _KINDS[path]

    def _paused(self, path: str) -> Optional[str]:
        match = _PAUSE.fullmatch(path)
        return match["id"] if match and match["id"] in self.sandboxes else None

    def _own_resource(self, path: str) -> Optional[tuple[str, str]]:
        match = _THING.fullmatch(path)
        if match is None or match["id"] not in self._of(_KINDS[match["kind"]]):
            return None
        return _KINDS[match["kind"]], match["id"]

    # --- the end

    def destroy(self, client: Caged) -> list[str]:
        """Destroy everything that still exists. Returns one line for each resource that may still exist."""
        problems: list[str] = []
        self.wait_for_searches(list(self._searches), LOOK)

        def attempt(kind: str, call: Callable[[str], Any], id: str) -> None:
            try:
                call(id)
                self.destroyed.append((kind, id))
            except CagedNotFoundError:
                pass  # the test destroyed it itself
            except CagedError as error:
                problems.append(f"{_NAMES[kind]} {id} could not be destroyed: {error}")
                return
            self._note_removed(kind, id)

        for id in self.sandboxes:
            problems += self._find_snapshots(client, id)
        for id in reversed(self.snapshots):
            attempt("snapshot", client.snapshots.delete, id)
        for id in reversed(self.sandboxes):
            attempt("sandbox", client.sandboxes.destroy, id)
        for id in reversed(self.keys):
            attempt("key", client.account.revoke_key, id)
        return problems

    def _find_snapshots(self, client: Caged, sandbox: str) -> list[str]:
        """Note the snapshots of a sandbox, which outlive it, also those it got by pausing when idle.

        Returns:
            A line about those that cannot be listed, if so.
        """
        try:
            for snapshot in client.snapshots.list(sandbox):
                self._note_found(snapshot.id)
        except CagedNotFoundError:
            pass
        except CagedError as error:
            found = f"snapshots of sandbox {sandbox} could not be listed, so those of a pause may still exist"
            return [f"{found}: {error}"]
        return []


_NAMES = {"sandbox": "sandbox", "snapshot": "snapshot", "key": "API key"}


def _note(ids: list[str], thing: Any) -> None:
    id = id_of(thing)
    if id and id not in ids:
        ids.append(id)
