"""The removal of everything that a run has created, also of what was created without an answer."""

from __future__ import annotations

from typing import Any

import httpx

from .assertions import describe
from .errors import Mismatch
from .raw_client import RawClient, path_segment

CLEANUP_SECONDS = 60.0


class Cleanup:
    """The requests that restore the account. Everything of the run has `label` in a name or in its init script."""

    def __init__(self, client: RawClient, label: str) -> None:
        self._client = client
        self._label = label
        #: Method, path, body and description.
        self._requests: list[tuple[str, str, Any, str]] = []
        self._sandboxes: list[str] = []
        self._failures: list[str] = []

    def add(self, method: str, path: str, what: str, body: Any = None) -> None:
        """Add a request that is sent at the end, the last one first; `what` describes its object in the report."""
        self._requests.append((method, path, body, what))

    def add_sandbox(self, sandbox_id: str) -> None:
        """Destroy a sandbox at the end, and delete its snapshots."""
        if sandbox_id not in self._sandboxes:
            self._sandboxes.append(sandbox_id)
            self.add("DELETE", f"/sandboxes/{path_segment(sandbox_id)}", f"sandbox {sandbox_id}")

    def run(self) -> list[str]:
        """Send all requests, for CLEANUP_SECONDS at most.

        Returns:
            What could not be removed, as texts.
        """
        budget = self._client.time_budget
        budget.begin(CLEANUP_SECONDS)
        self._failures = []
        with budget.extra_time(CLEANUP_SECONDS):
            self._add_unanswered()
            for sandbox_id in self._sandboxes:  # a pause makes a snapshot, which outlives the sandbox
                for snapshot in self._list(f"/sandboxes/{path_segment(sandbox_id)}/snapshots"):
                    path = f"/snapshots/{path_segment(str(snapshot.get('id')))}"
                    self.add("DELETE", path, f"snapshot of {sandbox_id}")
            while self._requests:
                self._send(*self._requests.pop())
        return self._failures

    def _send(self, method: str, path: str, body: Any, what: str) -> None:
        options = {} if body is None else {"json": body}
        try:
            answer = self._client.request(method, path, **options)
        except (httpx.HTTPError, Mismatch) as error:
            self._failures.append(f"{what}: {error}")
            return
        if answer.status_code >= 300 and answer.status_code != 404:
            self._failures.append(f"{what}: {describe(answer)}")

    def _add_unanswered(self) -> None:
        """Find the sandboxes and keys of this run whose creation was not answered, or not in time."""
        for key in self._list("/account/keys"):
            if self._label in str(key.get("name")):
                self.add("DELETE", f"/account/keys/{path_segment(str(key.get('id')))}", f"key {key.get('name')}")
        for sandbox in self._list("/sandboxes"):
            if self._label in str(sandbox.get("init_script")):
                self.add_sandbox(str(sandbox.get("id")))

    def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            answer = self._client.request("GET", path)
            items = answer.json() if answer.status_code == 200 else []
        except (httpx.HTTPError, ValueError, Mismatch) as error:
            self._failures.append(f"what {path} lists: {error}")
            return []
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
