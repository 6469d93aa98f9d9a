"""Commands that only look change nothing: no fault, no limit, no clock, no journal."""

from __future__ import annotations

import http.server
import os
import threading

import cli_testing
import httpx
import pytest
from cli_testing import Served, run

from caged.emulator import RemoteEmulator

LOOKS = [
    ("accounts", "list"),
    ("agents", "list"),
    ("callback-errors", "list"),
    ("clock", "now"),
    ("commands", "list"),
    ("env",),
    ("env", "--json"),
    ("faults", "list"),
    ("inventory", "sandboxes"),
    ("inventory", "snapshots"),
    ("inventory", "sockets"),
    ("journal", "commands"),
    ("journal", "events"),
    ("journal", "prompts"),
    ("journal", "requests"),
    ("journal", "steps"),
    ("logs",),
    ("status",),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """With a plan's rate limit."""
    place = tmp_path_factory.mktemp("looking")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    one = Served(
        place / "tmp",
        *("--port", "0", "--tier", "free"),
        env={**bare, "CAGED_EMULATOR_LOCATOR_DIR": str(place / "locators"), "CAGED_ISOLATION": "process"},
    )
    one.locators = str(place / "locators")
    one.exports()
    yield one
    one.process.terminate()
    assert one.end() == 0


@pytest.fixture
def remote(served, monkeypatch):
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", served.locators)
    exports = served.exports()
    with RemoteEmulator(exports["CAGED_EMULATOR_URL"], exports["CAGED_EMULATOR_ADMIN_KEY"]) as emulator:
        emulator.reset(account="*")
        yield emulator
        emulator.reset(account="*")


@pytest.fixture
def armed(remote):
    """A fault for the next request of anybody, a frozen clock, an empty journal."""
    remote.clock.freeze("2030-01-01T00:00:00Z")
    for account in ("*", None):
        remote.faults.add(status=503, times=1, account=account)
    remote.journal.clear()
    return remote


def state(emulator):
    faults = [(fault.id, fault.seen, fault.triggered) for fault in emulator.faults.list(account="*")]
    return faults, list(emulator.journal.requests(account="*")), emulator.clock.now(), emulator.clock.frozen


@pytest.mark.parametrize("words", [*LOOKS, ("shell", "cage_nope"), ("spend", "cage_nope", "1")], ids=" ".join)
def test_looking_command_changes_nothing(armed, words):
    before = state(armed)
    assert before[0]
    assert cli_testing.call(*words).returncode == (1 if "cage_nope" in words else 0)
    assert state(armed) == before


@pytest.mark.parametrize("words", [*LOOKS, ("shell", "cage_nope")], ids=" ".join)
def test_looking_command_counts_for_no_rate_limit(remote, words):
    remote.clock.freeze("2030-01-01T00:00:00Z")
    remaining = _remaining(remote)
    done = cli_testing.call(*words)
    assert done.returncode == (1 if words[0] == "shell" else 0)
    if words[0] == "shell":
        assert "there is no sandbox cage_nope" in done.stderr
    assert _remaining(remote) == remaining - 1  # of the second question itself


def _remaining(emulator):
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    answer = httpx.get(f"{emulator.base_url}/v1/account", headers=headers, trust_env=False, verify=False, timeout=60)
    return int(answer.headers["x-ratelimit-remaining"])


def test_looking_through_the_controls_changes_nothing(armed):
    before = state(armed)
    inventory = armed.inventory
    assert inventory.sandboxes(account="*") == []
    assert inventory.snapshots() == []
    assert inventory.sockets() == []
    assert armed.unused() != []
    assert armed.isolation
    assert armed.log_tail() is not None
    assert armed.accounts()
    assert state(armed) == before


def test_doctor_needs_no_emulator_and_asks_none(armed, env):
    before = state(armed)
    assert run("doctor", env={**env, "PATH": "/nonexistent"}).returncode == 0  # no program of a template has to start
    assert state(armed) == before


def test_status_counts_the_sandboxes_of_all_accounts(remote):
    account = remote.create_account()
    with remote.client(account.api_key) as caged:
        caged.sandboxes.create()
    assert cli_testing.call("status").stdout.strip().endswith("  1 sandbox")


class Answering(http.server.BaseHTTPRequestHandler):
    status, body = 503, b'{"detail": "starting"}'

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_arguments):
        pass


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, b'{"detail": "starting"}', "answers with HTTP 503: starting"),
        (401, b'{"detail": "not the admin key"}', "answers with HTTP 401: not the admin key"),
        (200, b"<html>", "is not an emulator"),
        (200, b"[]", "what answers is not an emulator"),
        (301, b"", "redirects to nowhere; the admin key is not sent there"),
    ],
)
def test_status_says_what_it_was_answered(status, body, said, monkeypatch, tmp_path):
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", str(tmp_path))
    handler = type("Answers", (Answering,), {"status": status, "body": body})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            done = cli_testing.call("status", "--url", url, "--admin-key", "x")
            controlled = cli_testing.call("faults", "list", "--url", url, "--admin-key", "x")
        finally:
            server.shutdown()
            thread.join(60)
    assert done.returncode == 1
    assert said in done.stdout
    assert "no answer within" not in done.stdout
    if body == b"[]":
        return  # which is a list of no faults
    assert controlled.returncode == 1
    assert controlled.stderr.startswith("Error: ")


def test_status_says_that_nothing_listens(monkeypatch, tmp_path):
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", str(tmp_path))
    done = cli_testing.call("status", "--url", "http://127.0.0.1:1", "--admin-key", "x")
    assert done.returncode == 1
    assert "refused" in done.stdout
