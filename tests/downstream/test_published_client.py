"""The published client, `caged-sdk` 0.2.0, against the emulator: it works where it works on the platform, and fails
where it fails there (wire-contract.md 12, platform-behaviour.md B 20). A server that answers more keys than the
platform hides that from its users.

The client comes from the package index, into an environment of its own; where there is no index the tests are skipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx
import pytest
from cases import each
from emulator_testing import api_of, eventually

from caged.emulator import Emulator

CLIENT = "caged-sdk==0.2.0"
DRIVER = Path(__file__).parents[1] / "tools" / "published_client.py"
INSTALL_SECONDS, DRIVE_SECONDS = 120, 120

#: Call -> (what comes of it, pattern of its text or result, why).
FAILS = {
    "sandboxes.get unknown": ("CagedAPIError", "API error: 404", "12: messages are looked up under `error` only"),
    "sandboxes.ports": ("TypeError", ".*unexpected keyword argument 'preview_url'", "B20.16: built strictly"),
    "sandboxes.trust_scores": ("TypeError", ".*missing .*sandbox_id.*", "B20.39: factors and sandbox_id"),
    "files.list": ("TypeError", ".*unexpected keyword argument 'mod_time'", "B20.27: modified is mod_time"),
    "files.read": ("JSONDecodeError", ".*", "12: parsed as JSON"),
    "files.write": ("CagedAPIError", "API error: 400", "12: the path is in the body"),
    "snapshots.create": ("TypeError", ".*missing .*'account_id'", "B17: no account_id"),
    "snapshots.list": ("TypeError", ".*missing .*'account_id'", "B17: no account_id"),
    "snapshots.get": ("TypeError", ".*missing .*'account_id'", "B17: no account_id"),
    "snapshots.restore": ("CagedAPIError", "API error: 400", "12: a POST without a body"),
    "account.list_keys": ("TypeError", ".*unexpected keyword argument 'scope'", "B18: built strictly"),
    "account.list_sessions": ("TypeError", ".*unexpected keyword argument 'ip'.*", "B18: ip_address is ip"),
    "sessions.replay": ("AttributeError", "'str' object has no attribute 'items'", "B20.33: a page, not an array"),
    "sessions.replay_summary": ("TypeError", ".*missing .*'total_events'.*", "B20.33: other contents"),
    "events.ingest": ("CagedAPIError", "API error: 400", "B20.38: the timestamp is mandatory"),
    "alerts.list": ("AttributeError", "'str' object has no attribute 'items'", "12: iterated as an array"),
    "alerts.get": ("TypeError", ".*missing .*'type' and 'resolved'", "B20.31: rule_type and state"),
    "notifications.list": ("AttributeError", "'str' object has no attribute 'items'", "12: iterated as an array"),
    "notifications.unread_count": ("KeyError", "'count'", "B20.32: unread_count"),
    "billing.get_subscription": ("TypeError", ".*missing .*'plan'", "B20.34: tier"),
    "billing.create_checkout": ("CagedAPIError", "API error: 400", "B20.35: plan_id"),
    # Nothing is raised, but what it waits for never comes.
    "sandboxes.exec_stream": ("ok", ".*output, does not end, exit_code None.*", "B20.40: no exit message"),
    "files.git_diff": ("ok", r"\{'files': .*", "B20.29: an object, not a string"),
}
WORKS = {
    "sandboxes.create": r"Sandbox\(id='cage_.*status='running'.*",
    "sandboxes.list": r"\[Sandbox\(.*",
    "sandboxes.get": r"Sandbox\(.*",
    "sandboxes.exec": r"ExecResult\(output='hello\\n', exit_code=3, error=None\)",
    "sandboxes.logs": r"\[LogEntry\(.*",
    "sandboxes.ports none": r"\[\]",
    "sandboxes.pause": "None",
    "sandboxes.resume": "None",
    "sandboxes.destroy": "None",
    "sandboxes.terminal": "'output 42, subprotocol None'",
    "sandboxes.mcp": "'True, hi, subprotocol mcp'",
    "snapshots.download_url": "'http.*'",
    "snapshots.delete": "None",
    "account.create_key": r"\{'key': 'caged_sk_.*'info': .*",
    "account.revoke_key": "None",
    "account.list_sessions none": r"\[\]",
    "account.revoke_session": "None",
    "sessions.list_by_sandbox": r"\[AgentSession\(.*",
    "sessions.get": r"AgentSession\(.*agent_type='claude-code'.*",
    "events.ingest timed": r"IngestResponse\(accepted=1, errors=0\)",
    "alerts.resolve": "None",
    "alerts.list_rules": r"\[AlertRule\(.*",
    "alerts.update_rule": r"AlertRule\(.*",
    "notifications.mark_read": "None",
    "notifications.mark_all_read": "None",
    "notifications.get_config": r"NotificationConfig\(.*",
    "notifications.update_config": r"NotificationConfig\(.*",
    "billing.create_portal": "'http.*'",
    "billing.cancel": "None",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with the published client; one for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    place = shared / "published-client"
    with open(shared / "published-client.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready, failed = place / "ready", shared / "published-client.failed"
        if not ready.exists() and not failed.exists():
            why = _install(place)
            (failed if why else ready).write_text(why, encoding="utf-8")
        if failed.exists():
            pytest.skip(f"{CLIENT} cannot be installed here: {failed.read_text(encoding='utf-8')}")
    return str(place / "bin" / "python")


def _pip_release() -> int:
    """The first number of the version of pip in the environment of the tests; 0 where there is none."""
    try:
        return int(version("pip").partition(".")[0])
    except PackageNotFoundError:
        return 0


def _install(place: Path) -> str:
    """Make the environment. Returns why that is not possible; an empty string when it was."""
    python = str(place / "bin" / "python")
    if _pip_release() >= 23:  # can install elsewhere: no pip of its own, which takes 3 s
        make = [sys.executable, "-m", "venv", "--without-pip", str(place)]
        pip = [sys.executable, "-m", "pip", "--python", python]
    else:
        make, pip = [sys.executable, "-m", "venv", str(place)], [python, "-m", "pip"]
    install = ["install", "-q", "--disable-pip-version-check", "--no-compile", "--retries", "1", "--timeout", "10"]
    for command in (make, [*pip, *install, CLIENT]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return f"it took longer than {INSTALL_SECONDS} s"
        if done.returncode != 0:
            return (done.stderr or done.stdout).strip().rpartition("\n")[2] or f"exit code {done.returncode}"
    return ""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(allow_unused=True) as running:
        yield running


@pytest.fixture(scope="module")
def outcomes(python: str, emulator: Emulator) -> dict[str, list[str]]:
    """What came of each call of the published client."""
    account = emulator.create_account()
    dashboard = ""
    try:
        with api_of(emulator, account) as api:
            box = api.sandbox(budget=1)
            emulator.spend(box, 0.85)
            alert = eventually(lambda: api.get("/alerts").json()["alerts"], "an alert")[0]["id"]
            notification = api.get("/notifications").json()["notifications"][0]["id"]
            body = {"email": f"{account.id}@published.example", "password": "correct horse"}
            signed_up = httpx.post(
                f"{emulator.base_url}/signup", json=body, trust_env=False, verify=False, timeout=60
            ).json()
            dashboard = signed_up["account"]["id"]
            env = {name: value for name, value in os.environ.items() if not name.startswith(("CAGED_", "PYTHON"))}
            arguments = [emulator.base_url, account.api_key, alert, notification, signed_up["token"]]
            done = subprocess.run(
                [python, str(DRIVER), *arguments],
                env={**env, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
                capture_output=True,
                text=True,
                timeout=DRIVE_SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            found: dict[str, list[str]] = json.loads(done.stdout)
            return found
    finally:
        for made in filter(None, (account.id, dashboard)):
            emulator.remove_account(made)


@each("call", FAILS)
def test_the_published_client_fails_where_it_fails_on_the_platform(outcomes, call):
    kind, pattern, _why = FAILS[call]
    assert outcomes[call][0] == kind, outcomes[call]
    assert re.fullmatch(pattern, outcomes[call][1], re.DOTALL), outcomes[call]


@pytest.mark.parametrize("call", WORKS)
def test_the_published_client_works_where_it_works_on_the_platform(outcomes, call):
    assert outcomes[call][0] == "ok", outcomes[call]
    assert re.fullmatch(WORKS[call], outcomes[call][1], re.DOTALL), outcomes[call]


def test_every_call_of_the_published_client_is_made(outcomes):
    assert set(outcomes) == {*FAILS, *WORKS}
