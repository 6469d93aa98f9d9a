"""An emulator with a state directory is killed repeatedly under load, and the state is compared with the responses
that clients got.

Each worker has its own sandboxes, snapshots and keys. It notes the responses, and its request without a response,
which must have been carried out completely or not at all.
"""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

import httpx
from levels import Served

WORKERS = 4
SANDBOXES, SNAPSHOTS, KEYS = 3, 6, 4


def content_of(tag: str, size: int) -> str:
    """Return a text from which `is_whole` can tell whether it is complete."""
    body = (tag * (size // len(tag) + 1))[:size]
    return f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def is_whole(text: str) -> bool:
    digest, _, body = text.partition("\n")
    return digest == hashlib.sha256(body.encode()).hexdigest()


@dataclass
class Box:
    """What is known of a sandbox.

    `files`: path -> its possible contents (two while a write is unanswered). `ran`: numbers of the commands that ran;
    `answered`: of those that were answered; `perhaps_ran`: of those that may have run.
    """

    id: str
    files: dict[str, list[str]] = field(default_factory=dict)
    ran: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    perhaps_ran: set[int] = field(default_factory=set)
    perhaps_gone: bool = False


@dataclass
class Ledger:
    """What one worker knows. `perhaps_made`: number of creates without a response."""

    boxes: dict[str, Box] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    snapshots: dict[str, bool] = field(default_factory=dict)  # id -> was seen completed
    no_snapshots: list[str] = field(default_factory=list)
    perhaps_no_snapshot: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)  # id -> secret
    no_keys: list[str] = field(default_factory=list)  # secrets
    perhaps_no_key: set[str] = field(default_factory=set)
    perhaps_made: int = 0
    answered: int = 0


class Worker(threading.Thread):
    """Sends random requests, one after the other, until the emulator is killed."""

    def __init__(self, base_url: str, api_key: str, ledger: Ledger, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.ledger = ledger
        self.problems: list[str] = []
        self._randomness = chance
        self._count = chance.randrange(10**9)
        self._http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {api_key}"}, timeout=30, trust_env=False, verify=False
        )

    def run(self) -> None:
        try:
            with self._http:
                while True:
                    self._step()
        except httpx.HTTPError:
            pass  # killed
        except Exception as error:
            self.problems.append(f"worker failed: {error!r}")

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self._http.request(method, path, **options)
        if response.status_code >= 400:
            raise AssertionError(f"{method} {path}: {response.status_code} {response.text}")
        self.ledger.answered += 1
        return response

    def _step(self) -> None:
        self._count += 1
        box = self._randomness.choice(list(self.ledger.boxes.values())) if self.ledger.boxes else None
        if box is None or (len(self.ledger.boxes) < SANDBOXES and self._randomness.random() < 0.2):
            self._create()
            return
        act: Callable[[Box], None] = self._randomness.choices(
            [self._write, self._run, self._snapshot, self._restore, self._pause, self._key, self._destroy],
            [30, 30, 8, 4, 3, 5, 3],
        )[0]
        act(box)

    def _create(self) -> None:
        self.ledger.perhaps_made += 1
        made = self._ask("POST", "/v1/sandboxes", json={"template": "minimal"}).json()
        self.ledger.perhaps_made -= 1
        assert made["status"] == "running", made
        self.ledger.boxes[made["id"]] = Box(made["id"])

    def _write(self, box: Box) -> None:
        path = f"/workspace/d{self._randomness.randrange(3)}/f{self._randomness.randrange(4)}"
        text = content_of(f"{self._count}-", self._randomness.choice([10, 5_000, 400_000]))
        box.files[path] = [*box.files.get(path, [""]), text]
        self._ask("PUT", f"/v1/sandboxes/{box.id}/files/content", params={"path": path}, json={"content": text})
        box.files[path] = [text]

    def _run(self, box: Box) -> None:
        number = self._count
        box.perhaps_ran.add(number)
        command = f"echo {number} >> /workspace/ran"
        result = self._ask("POST", f"/v1/sandboxes/{box.id}/exec", json={"command": command}).json()
        assert result["exit_code"] == 0, result
        box.perhaps_ran.discard(number)
        box.ran.append(number)
        box.answered.append(number)

    def _snapshot(self, box: Box) -> None:
        ledger = self.ledger
        if len(ledger.snapshots) >= SNAPSHOTS:
            found = self._randomness.choice(list(ledger.snapshots))
            ledger.perhaps_no_snapshot.add(found)
            self._ask("DELETE", f"/v1/snapshots/{found}")
            ledger.perhaps_no_snapshot.discard(found)
            del ledger.snapshots[found]
            ledger.no_snapshots.append(found)
            return
        made = self._ask("POST", f"/v1/sandboxes/{box.id}/snapshots", json={"name": f"s{self._count}"}).json()
        ledger.snapshots[made["id"]] = False
        if self._randomness.random() < 0.5:
            listed = self._ask("GET", f"/v1/sandboxes/{box.id}/snapshots").json()
            for snapshot in listed:
                if snapshot["status"] == "completed" and snapshot["id"] in ledger.snapshots:
                    ledger.snapshots[snapshot["id"]] = True

    def _restore(self, box: Box) -> None:
        """Restore a snapshot that is taken now, so the files are the same whether it is carried out or not."""
        if box.files and len(self.ledger.snapshots) < SNAPSHOTS:
            made = self._ask("POST", f"/v1/sandboxes/{box.id}/snapshots", json={"name": "r"}).json()
            self.ledger.snapshots[made["id"]] = False
            deadline = time.monotonic() + 20
            while self._ask("GET", f"/v1/snapshots/{made['id']}").json()["status"] == "pending":
                assert time.monotonic() < deadline, f"{made['id']} is pending still"
            body = {"target_sandbox_id": box.id}
            self._ask("POST", f"/v1/snapshots/{made['id']}/restore", json=body)

    def _pause(self, box: Box) -> None:
        self._ask("POST", f"/v1/sandboxes/{box.id}/pause")
        self._ask("POST", f"/v1/sandboxes/{box.id}/resume")

    def _key(self, _box: Box) -> None:
        ledger = self.ledger
        if len(ledger.keys) < KEYS:
            made = self._ask("POST", "/v1/account/keys", json={"name": f"k{self._count}"}).json()
            ledger.keys[made["info"]["id"]] = made["key"]
            return
        found = self._randomness.choice(list(ledger.keys))
        ledger.perhaps_no_key.add(found)
        self._ask("DELETE", f"/v1/account/keys/{found}")
        ledger.perhaps_no_key.discard(found)
        ledger.no_keys.append(ledger.keys.pop(found))

    def _destroy(self, box: Box) -> None:
        box.perhaps_gone = True
        self._ask("DELETE", f"/v1/sandboxes/{box.id}")
        del self.ledger.boxes[box.id]
        self.ledger.gone.append(box.id)


class Kills:
    """A state directory whose emulator is killed by each `round`. `problems`: differences from the responses."""

    def __init__(self, folder: Path, level: str, chance: random.Random) -> None:
        self.problems: list[str] = []
        self.answered = 0
        self.checked = 0
        self.start_seconds: list[float] = []
        self._folder = folder
        self._level = level
        self._randomness = chance
        self._state = folder / "state"
        self._ledgers = [Ledger() for _ in range(WORKERS)]
        if level.endswith("-user"):
            self._state.mkdir(mode=0o777)
            self._state.chmod(0o777)

    def _serve(self) -> Served:
        begun = time.monotonic()
        served = Served(self._folder, self._level, "--state-dir", str(self._state), run_base=self._state)
        self.start_seconds.append(time.monotonic() - begun)
        return served

    def round(self, calls: int = 0) -> None:
        """Start an emulator, send load, kill it at a random moment, start again and check everything.

        Args:
            calls: The least number of responses before the kill.
        """
        served = self._serve()
        try:
            with self._client(served.base_url, served.api_key) as http:
                for box in http.get("/v1/sandboxes").json():
                    if box["status"] == "stopped":
                        http.post(f"/v1/sandboxes/{box['id']}/resume").raise_for_status()
            workers = [
                Worker(served.base_url, served.api_key, ledger, random.Random(self._randomness.random()))
                for ledger in self._ledgers
            ]
            before = sum(ledger.answered for ledger in self._ledgers)
            for worker in workers:
                worker.start()
            deadline = time.monotonic() + 60
            while sum(ledger.answered for ledger in self._ledgers) - before < calls:
                assert time.monotonic() < deadline, f"fewer than {calls} calls were answered within a minute"
                time.sleep(0.02)
            time.sleep(self._randomness.uniform(0.05, 1.0 if not calls else 0.3))  # the moment of the kill is random
            served.process.kill()
            for worker in workers:
                worker.join(60)
                self.problems += worker.problems
                assert not worker.is_alive()
            self.answered += sum(ledger.answered for ledger in self._ledgers) - before
        finally:
            served.end()
        served = self._serve()
        try:
            with self._client(served.base_url, served.api_key) as http:
                _Check(self, http, served.base_url, self._state, self._ledgers).everything()
        finally:
            served.stop()

    def _client(self, base_url: str, api_key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {api_key}"}
        return httpx.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False, verify=False)


class _Check:
    def __init__(self, kills: Kills, http: httpx.Client, base_url: str, state: Path, ledgers: list[Ledger]) -> None:
        self._kills = kills
        self._http = http
        self._base_url = base_url
        self._state = state
        self._ledgers = ledgers

    def _must(self, holds: object, what: str) -> None:
        self._kills.checked += 1
        if not holds:
            self._kills.problems.append(what)

    def everything(self) -> None:
        listed = {box["id"]: box for box in self._http.get("/v1/sandboxes").raise_for_status().json()}
        on_disk = {path.name for path in (self._state / "sandboxes").iterdir()}
        self._must(on_disk == set(listed), f"directories {on_disk} for sandboxes {set(listed)}")
        known = {box for ledger in self._ledgers for box in ledger.boxes}
        extra = set(listed) - known
        self._must(
            len(extra) <= sum(ledger.perhaps_made for ledger in self._ledgers),
            f"made by no worker: {extra}",
        )
        for identifier in extra:
            self._must(listed[identifier]["status"] == "stopped", f"{identifier} is {listed[identifier]['status']}")
            self._http.delete(f"/v1/sandboxes/{identifier}").raise_for_status()
        for ledger in self._ledgers:
            ledger.perhaps_made = 0
            for box in list(ledger.boxes.values()):
                self._box(ledger, box, listed.get(box.id))
            for identifier in ledger.gone:
                self._must(identifier not in listed, f"{identifier} was destroyed and is back")
            self._snapshots(ledger)
            self._keys(ledger)
        files = {path.name for path in (self._state / "snapshots").iterdir()}
        self._must(not [name for name in files if not name.endswith(".tar")], f"left among the snapshots: {files}")

    def _box(self, ledger: Ledger, box: Box, shown: Optional[dict[str, Any]]) -> None:
        if shown is None:
            self._must(box.perhaps_gone, f"{box.id} is lost")
            del ledger.boxes[box.id]
            ledger.gone.append(box.id)
            return
        box.perhaps_gone = False
        self._must(shown["status"] == "stopped", f"{box.id} is {shown['status']}, not stopped")
        resumed = self._http.post(f"/v1/sandboxes/{box.id}/resume")
        self._must(resumed.status_code == 204, f"{box.id} cannot be resumed: {resumed.text}")
        self._files(box)
        self._commands(box)

    def _files(self, box: Box) -> None:
        for path, contents in box.files.items():
            found = self._http.get(f"/v1/sandboxes/{box.id}/files/content", params={"path": path})
            text = found.text if found.status_code == 200 else ""
            self._must(text in contents, f"{box.id} {path}: {len(text)} characters that no worker wrote last")
            self._must(not text or is_whole(text), f"{box.id} {path}: half a file")
            box.files[path] = [text]
        script = "find . ! -name ran ! -path './d[0-2]' ! -path './d[0-2]/f[0-3]' ! -path ."
        odd = self._http.post(f"/v1/sandboxes/{box.id}/exec", json={"command": script}).json()
        self._must(odd["output"] == "", f"{box.id}: what is {odd['output']!r}")

    def _commands(self, box: Box) -> None:
        found = self._http.post(f"/v1/sandboxes/{box.id}/exec", json={"command": "cat ran 2>/dev/null || true"}).json()
        numbers = [int(line) for line in found["output"].split()]
        perhaps = [number for number in numbers if number in box.perhaps_ran]
        self._must(
            [number for number in numbers if number not in box.perhaps_ran] == box.ran,
            f"{box.id}: commands {numbers}, known are {box.ran}",
        )
        logs = self._http.get(f"/v1/sandboxes/{box.id}/logs", params={"tail": 1000}).json()
        said = "\n".join(line["message"] for line in logs)
        for number in box.answered[-30:]:
            if len(logs) < 1000:
                self._must(f"echo {number} >>" in said, f"{box.id}: the log has forgotten command {number}")
        box.ran = [number for number in numbers if number in perhaps or number in box.ran]
        box.perhaps_ran.clear()

    def _snapshots(self, ledger: Ledger) -> None:
        for identifier, seen in list(ledger.snapshots.items()):
            answer = self._http.get(f"/v1/snapshots/{identifier}/download")
            if answer.status_code == 404:
                self._must(identifier in ledger.perhaps_no_snapshot, f"snapshot {identifier} is lost")
                del ledger.snapshots[identifier]
                ledger.no_snapshots.append(identifier)
            elif answer.status_code == 409:
                self._must(not seen and "is failed" in answer.text, f"snapshot {identifier}: {answer.text}")
                self._must(not (self._state / "snapshots" / f"{identifier}.tar").exists(), f"{identifier}: half a file")
            else:
                self._archive(identifier, self._http.get(answer.json()["url"]).raise_for_status().content)
                ledger.snapshots[identifier] = True
        ledger.perhaps_no_snapshot.clear()
        for identifier in ledger.no_snapshots:
            status = self._http.get(f"/v1/snapshots/{identifier}/download").status_code
            self._must(status == 404, f"snapshot {identifier} was deleted and answers {status}")

    def _archive(self, identifier: str, packed: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            for member in archive:
                is_ours = member.name.startswith("./workspace/") and member.name != "./workspace/ran"
                content = archive.extractfile(member) if member.isfile() and is_ours else None
                if content is not None:
                    self._must(is_whole(content.read().decode()), f"snapshot {identifier}: half of {member.name}")

    def _keys(self, ledger: Ledger) -> None:
        for identifier, secret in list(ledger.keys.items()):
            works = self._authenticates(secret)
            self._must(works or identifier in ledger.perhaps_no_key, f"key {identifier} is lost")
            if not works:
                ledger.no_keys.append(ledger.keys.pop(identifier))
        ledger.perhaps_no_key.clear()
        for secret in ledger.no_keys:
            self._must(not self._authenticates(secret), "a key that was revoked works again")

    def _authenticates(self, secret: str) -> bool:
        headers = {"Authorization": f"Bearer {secret}"}
        return self._http.get("/v1/sandboxes", headers=headers).status_code == 200
