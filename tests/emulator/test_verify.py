"""`caged-emulator verify`: every check passes on the emulator, and fails on a server with the matching mutant."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from fnmatch import fnmatchcase

import fork_server
import pytest
from emulator_testing import Api, api_of, eventually
from internals import platform_of
from mutants import (
    FOUND_BY_MOST,
    HONEST,
    OF_ANSWERS,
    OF_HELPERS,
    OF_MCP,
    OF_SOCKETS,
    TOGETHER,
    Mutant,
    combined,
    lying_emulator,
)

from caged.emulator.verify import CHECKS, Mismatch, VerificationError, verify
from caged.emulator.verify.shapes import ALERT, SANDBOX, find_mismatch
from caged.emulator.verify.time_budget import TimeBudget

#: Checks that are skipped here: not implemented, or the test's account lacks what they need.
NOT_CHECKED = ("third-party.", "keys.login")
IDS = [check.id for check in CHECKS]
COMMAND = [sys.executable, "-m", "caged.emulator", "verify"]


@pytest.fixture(scope="module")
def run(emulator):
    """(report, account before, account after) of a run of all checks: 3 s."""
    account, other = emulator.create_account(), emulator.create_account()
    with api_of(emulator, account) as api:
        _alert(api)
        before = _holdings(api)
        report = verify(emulator.base_url, account.api_key, second_api_key=other.api_key, agent="claude-code")
        yield report, before, _holdings(api)
    for made in (account, other):
        emulator.remove_account(made.id)


def _alert(api: Api) -> None:
    """Create an alert and its notification."""
    box = api.sandbox(budget=0.01)
    api.emulator.spend(box, 0.0085)
    eventually(lambda: api.get("/alerts").json()["alerts"], "an alert")
    api.post("/notifications/read-all")
    api.delete(f"/sandboxes/{box}")


def _holdings(api: Api) -> dict[str, object]:
    """Return the objects and settings of an account."""
    snapshots = platform_of(api.emulator).store.snapshots.values()
    return {
        "sandboxes": api.get("/sandboxes").json(),
        "snapshots": [snapshot.id for snapshot in snapshots if snapshot.account_id == api.account_id],
        "keys": [key["id"] for key in api.get("/account/keys").json()],
        "rules": api.get("/alerts/rules").json(),
        "channels": api.get("/notifications/config").json(),
        "subscription": api.get("/billing/subscription").json(),
    }


# --- on the emulator


def test_every_check_is_equal_on_emulator(run):
    problems = []
    for result in run[0].results:
        expected = "not checked" if result.id.startswith(NOT_CHECKED) else "equal"
        if result.outcome != expected:
            reason = f"expected {result.expected}, got {result.got}" if result.outcome == "different" else result.why
            problems.append(f"{result.id} is {result.outcome}: {result.check.claim} ({result.check.source}): {reason}")
    assert not problems, "\n".join(problems)
    assert [result.id for result in run[0].results] == IDS


def test_run_does_not_change_account(run):
    report, before, after = run
    assert report.left_behind == []
    assert after == before


def test_every_check_has_unique_id_claim_and_source():
    assert [name for name, count in Counter(IDS).items() if count > 1] == []
    for check in CHECKS:
        assert re.fullmatch(r"[a-z-]+\.[a-z0-9-]+", check.id)
        assert re.fullmatch(r"[^.]\S?.*\.", check.claim)
        known = r"(wire-contract \d+|wire-other-clients \d+|platform-behaviour B\d+|Part A, [A-Z])"
        assert re.match(known, check.source)
        # A check is a decision exactly if Part A is its only source.
        assert (check.level == "decision") == check.source.startswith("Part A")


def test_skipped_check_names_option_that_it_needs(emulator):
    account = emulator.create_account()
    report = verify(emulator.base_url, account.api_key, only=["errors.foreign-*", "sessions.get"])
    assert {result.outcome for result in report.results} == {"not checked"}
    assert "--second-api-key" in report.unchecked[0].why
    assert "--agent" in report.unchecked[-1].why
    assert report.exit_code == 0
    emulator.remove_account(account.id)


def test_level_restricts_the_checks_to_that_level(emulator):
    account = emulator.create_account()
    report = verify(emulator.base_url, account.api_key, level="contract", only=["tickets.*"])
    assert {result.check.level for result in report.results} == {"contract"}
    assert [result.id for result in report.results] == [
        check.id for check in CHECKS if check.id.startswith("tickets.") and check.level == "contract"
    ]
    emulator.remove_account(account.id)


# --- on a server with a mutant


@pytest.fixture(scope="module")
def mutated():
    with lying_emulator() as made:
        yield made


def verify_mutant(mutated, mutant, alert=False, **options):
    """Verify a new account of the emulator with the mutant. `alert`: create one first."""
    emulator, liar = mutated
    account, other = emulator.create_account(), emulator.create_account()
    if alert:
        with api_of(emulator, account) as api:
            _alert(api)
    liar.mutant = mutant
    try:
        return verify(emulator.base_url, account.api_key, second_api_key=other.api_key, agent="claude-code", **options)
    finally:
        liar.mutant = HONEST
        emulator.remove_account(account.id)
        emulator.remove_account(other.id)


def different_ids(report):
    return sorted(result.id for result in report.different)


def test_report_lists_exactly_injected_faults_and_altered_responses(mutated):
    """A run of the checks that look at what is altered, and of others."""

    def three(answer):
        if answer.status >= 400 and answer.data is not None:
            answer.data = {**answer.data, "type": "about:blank"}
        elif answer.path == "/v1/auth/socket-ticket":
            answer.data = {**answer.data, "expires_in": 3600}
        elif answer.path == "/v1/sandboxes" and answer.status == 201 and answer.data["memory_mb"] == 512:
            answer.data = {**answer.data, "memory_mb": 2048}

    faults = mutated[0].faults
    with faults.add(method="DELETE", path="/v1/account/keys/unknown", status=500, account="*"):
        with faults.add(path="/v1/trust/sandboxes/unknown", drop="before", account="*"):
            with faults.add("sessions.replay", path="*/unknown/*", status=403, reason="no", account="*"):
                report = verify_mutant(
                    mutated,
                    Mutant("three untruths", three),
                    only=["errors.*", "sandboxes.*", "tickets.*", "sessions.*"],
                )
    injected = ["errors.unknown-key-revoke", "errors.unknown-replay", "errors.unknown-trust"]
    altered = ["errors.problem-members", "sandboxes.create-defaults", "tickets.mint"]
    assert different_ids(report) == sorted(injected + altered)
    assert report.exit_code == 1
    assert "HTTP 500" in next(result.got for result in report.different if "revoke" in result.id)
    text = "\n".join(report.lines())
    assert "expected   expires_in 60" in text
    assert "got        3600" in text
    assert text.endswith(f"{len(report.equal)} equal, 6 different, {len(report.unchecked)} not checked")


@pytest.mark.timeout(400)  # 6 s on an idle machine
def test_every_check_fails_with_some_mutant(mutated):
    """Runs the mutants until each check has found a difference: 6 s."""
    mutants = {mutant.name: mutant for mutant in (*OF_ANSWERS, *OF_SOCKETS)}
    alive = [name for name in IDS if name not in OF_HELPERS]
    first = combined(*(mutants[name] for name in TOGETHER))
    for mutant in (first, *(mutants[name] for name in dict.fromkeys((*FOUND_BY_MOST, *mutants)))):
        if alive:
            killed = different_ids(verify_mutant(mutated, mutant, only=alive, timeout=0.5))
            alive = [check for check in alive if check not in killed]
    assert alive == []


@pytest.mark.parametrize("name", OF_MCP)
def test_mcp_check_fails_with_its_own_mutant(mutated, name):
    assert failed_with_more_time(mutated, OF_MCP[name], [name], [name]) == [name]


@pytest.mark.parametrize("half", [0, 1])
def test_mutants_of_mcp_checks_fail_no_other_check(mutated, half):
    names = sorted(list(OF_MCP)[half::2])
    mutant = combined(*(OF_MCP[name] for name in names))
    assert failed_with_more_time(mutated, mutant, ["mcp.*"], names) == names


def test_each_helper_check_has_a_mutant():
    assert sorted(OF_HELPERS) == sorted(name for name in IDS if name.startswith("helpers."))


@pytest.mark.parametrize("name", OF_HELPERS)
def test_helper_check_fails_with_its_own_mutant(mutated, name):
    assert failed_with_more_time(mutated, OF_HELPERS[name], [name], [name]) == [name]


@pytest.mark.parametrize("half", [0, 1])
def test_mutants_of_helper_checks_fail_no_other_check(mutated, half):
    names = sorted(list(OF_HELPERS)[half::2])
    mutant = combined(*(OF_HELPERS[name] for name in names))
    assert failed_with_more_time(mutated, mutant, ["helpers.*"], names) == names


def failed_with_more_time(mutated, mutant, only, expected):
    """The checks that fail with a mutant. On a busy machine more calls than those of the mutant may take longer than
    the first time limit; then there is another."""
    found = []
    for seconds in (5, 30):
        found = different_ids(verify_mutant(mutated, mutant, only=only, timeout=seconds))
        if found == expected:
            break
    return found


#: Checks, and the mutant that each of them must find.
OWN_MUTANTS = {
    "keys.*": "objects have one more key",
    "errors.problem-only": "refusals say more",
    "errors.problem-error": "refusals say more",
    "files.outside": "paths outside are 403",
    "files.missing-anywhere": "paths outside are 403",
    "events.chosen-session": "sessions must be known",
    "events.sandbox-cost": "models cost nothing",
    "alerts.budget": "alerts have older texts",
    "notifications.webhook-hint": "hints are others",
    "terminal.no-exit-message": "terminals report how they end",
    "terminal.subprotocol-own": "every subprotocol is agreed to",
}


def checks_like(*patterns):
    return [name for name in IDS if any(fnmatchcase(name, pattern) for pattern in patterns)]


def test_checks_with_own_mutant_are_equal_without_it(mutated):
    assert different_ids(verify_mutant(mutated, HONEST, alert=True, only=checks_like(*OWN_MUTANTS))) == []


@pytest.mark.parametrize("name", dict.fromkeys(OWN_MUTANTS.values()))
def test_check_finds_its_own_mutant(mutated, name):
    (mutant,) = [mutant for mutant in (*OF_ANSWERS, *OF_SOCKETS) if mutant.name == name]
    meant = checks_like(*(pattern for pattern, own in OWN_MUTANTS.items() if own == name))
    # it sees no object: its list is empty
    empty = {"keys.login"}
    # a check that waits for a missing message waits until its timeout
    assert different_ids(verify_mutant(mutated, mutant, alert=True, only=meant, timeout=2)) == sorted(
        set(meant) - empty
    )


def test_failed_precondition_leaves_check_unchecked(mutated):
    report = verify_mutant(
        mutated, Mutant("no", lambda answer: _fail(answer, "/v1/sandboxes")), only=["exec.*", "billing.*"]
    )
    assert different_ids(report) == []
    assert {result.id.partition(".")[0] for result in report.unchecked} == {"exec"}
    assert "creating a sandbox failed: HTTP 503" in report.unchecked[0].why


def _fail(answer, path):
    if answer.path == path and answer.method == "POST":
        answer.status = 503


def test_hanging_call_is_reported_as_difference(emulator, api):
    expected = ["billing.usage", "billing.usage-sum"]
    with emulator.faults.add("billing.get_usage", hang=True, account=api.account_id):
        for seconds in (0.2, 3, 15):  # on a busy machine other calls may take longer than the first
            report = verify(emulator.base_url, api.key, only=["billing.*"], timeout=seconds)
            if different_ids(report) == expected:
                break
    assert different_ids(report) == expected
    assert report.different[0].expected == f"an answer within {seconds} s"


def test_slow_response_ends_at_total_timeout():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)  # on a busy machine the timeout may end before there is a connection
        dripping = threading.Thread(target=_drip, args=(server,), daemon=True)
        dripping.start()
        with pytest.raises(VerificationError, match="does not answer"):
            verify(f"http://127.0.0.1:{server.getsockname()[1]}", "k", total=0.3)
        dripping.join(60)
        assert not dripping.is_alive()


def _drip(server):
    """Send a long body, a byte every few milliseconds, until the client disconnects."""
    try:
        connection, _ = server.accept()
    except socket.timeout:
        return
    with connection:
        connection.settimeout(5)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(1000):
            try:
                connection.sendall(b" ")
            except OSError:
                return
            time.sleep(0.01)


def test_rate_limited_call_is_repeated(emulator, api):
    with emulator.faults.add("billing.get_usage", rate_limit=0, times=1, account=api.account_id) as fault_:
        report = verify(emulator.base_url, api.key, only=["billing.usage"])
        assert fault_.triggered == 1
    assert (different_ids(report), len(report.equal)) == ([], 1)


def test_call_refused_by_plan_limit_leaves_check_unchecked(emulator, api):
    with emulator.faults.add("account.create_key", status=403, reason="plan_limit_reached", account=api.account_id):
        report = verify(emulator.base_url, api.key, only=["account.key-*", "account.revoke*"])
    assert {result.outcome for result in report.results} == {"not checked"}
    assert "revoke one" in report.unchecked[0].why


def test_time_of_a_run_is_bounded():
    budget = TimeBudget(limit=5, total=0)
    assert budget.exhausted
    with pytest.raises(Mismatch, match="an answer within 5 s"):
        budget.remaining()


def test_run_ends_when_server_stops(own_emulator):
    emulator = own_emulator()
    report = verify(
        emulator.base_url,
        emulator.api_key,
        only=["billing.*"],
        on_result=lambda result: emulator.stop() if result.id == "billing.tier" else None,
    )
    assert report.exit_code == 2
    assert [result.id for result in report.equal] == ["billing.subscription", "billing.tier"]
    assert "gone" in report.unchecked[-1].why
    assert report.left_behind  # what is left on a stopped server is unknown


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        ({"id": 7}, {"id": str}, "id: a str"),
        ({}, {"id": str}, "a key id"),
        ([], {"id": str}, "it: an object"),
        ({"id": None}, {"id": str}, "id: a str"),
        ({"a": [{"n": "1"}]}, {"a": [{"n": int}]}, "a[0].n: a int"),
        ({"n": True}, {"n": int}, "n: a int"),
        ({"s": "on"}, {"s": {"up", "down"}}, "s: down or up"),
        ({"meta": {"a": 1}}, {"meta": ALERT["meta?"]}, "meta: texts"),
        ({"at": "yesterday"}, {"at": SANDBOX["created_at"]}, "at: an RFC 3339 time"),
    ],
)
def test_first_mismatch_with_shape_is_named(value, shape, expected):
    assert find_mismatch(value, shape)[0] == expected


# --- cleanup


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing(emulator, api, number):
    with emulator.faults.add("sandboxes.logs", hang=True, account=api.account_id) as fault_:
        process = fork_server.Process(
            [*COMMAND, "--base-url", emulator.base_url, "--api-key", api.key, "--only", "sandboxes.logs"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        eventually(lambda: fault_.triggered, "the run to hang")
        assert len(api.get("/sandboxes").json()) == 1
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == 128 + number
    assert api.get("/sandboxes").json() == []


def test_sandbox_of_unanswered_create_is_removed(emulator, api):
    with emulator.faults.add("sandboxes.create", drop="after", times=1, account=api.account_id):
        report = verify(emulator.base_url, api.key, only=["exec.output", "exec.cwd"])
    assert len(report.unchecked) == 2
    assert report.left_behind == []
    assert api.get("/sandboxes").json() == []


def test_report_lists_what_cannot_be_removed(emulator, api):
    with emulator.faults.add("sandboxes.destroy", status=503, account=api.account_id):
        report = verify(emulator.base_url, api.key, only=["exec.output"])
    (box,) = api.get("/sandboxes").json()
    assert any(box["id"] in what and "503" in what for what in report.left_behind)
    assert "left behind" in "\n".join(report.lines())
    assert "caged-verify-" in box["init_script"]


# --- the command


def command(*options):
    env = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    return fork_server.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, env=env, check=False)


def test_command_reports_that_all_checks_are_equal(emulator, api, tmp_path):
    done = command(
        *("--base-url", emulator.base_url, "--api-key", api.key),
        *("--only", "billing.*", "--only", "tickets.mint", "--output", str(tmp_path / "report.json"), "-v"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "5 equal, 0 different, 0 not checked"
    assert "tickets.mint: A ticket has" in done.stdout
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (written["equal"], written["different"], len(written["results"])) == (5, 0, 5)
    assert written["results"][0]["claim"]


def test_command_prints_the_report_as_json(emulator, api, tmp_path):
    file = tmp_path / "report.json"
    server = ("--base-url", emulator.base_url, "--api-key", api.key, "--only", "tickets.mint")
    done = command(*server, "--json", "-o", str(file))
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert [one["id"] for one in printed["results"]] == ["tickets.mint"]
    assert json.loads(file.read_text(encoding="utf-8")) == printed


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--json", "--verbose"], "--verbose: has no effect with --json"),
        (["--list", "--json"], "--list: runs no check"),
        (["--list", "--output", "report.json"], "--list: runs no check"),
    ],
)
def test_command_refuses_options_without_effect(options, text):
    done = command(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr


def test_command_reports_differences(emulator, api):
    with emulator.faults.add("billing.get_usage", status=503, account=api.account_id):
        done = command("--base-url", emulator.base_url, "--api-key", api.key, "--only", "billing.*")
    assert done.returncode == 1, done.stderr
    assert "DIFFERENT    billing.usage  [contract, wire-contract 3.10]" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 equal, 2 different, 0 not checked"


def test_command_lists_checks():
    done = command("--list", "--level", "decision", "--only", "exec.*")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith("decision  exec.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--base-url", "http://127.0.0.1:1", "--api-key", "k"], "is it running"),
        (["--base-url", "nonsense", "--api-key", "k"], "is not a URL"),
        (["--api-key", "k"], "is not a URL"),
        (["--base-url", "http://127.0.0.1:1"], "give --api-key"),
        (["--base-url", "http://127.0.0.1:1", "--api-key", "k", "--only", "nothing"], "--list"),
    ],
)
def test_command_that_cannot_run_reports_reason(options, said):
    done = command(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("path", "key", "said"), [("", "wrong", "rejects the API key"), ("/v1", "", "without /v1")])
def test_wrong_key_or_address_is_reported(emulator, path, key, said):
    with pytest.raises(VerificationError, match=said):
        verify(emulator.base_url + path, key or emulator.api_key, only=["billing.*"])
