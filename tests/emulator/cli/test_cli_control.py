"""The commands that control a running emulator. They are called in this process, against one that runs in another."""

from __future__ import annotations

import json
import os
import sys

import cli_testing
import httpx
import pytest
from cli_testing import Served, run

from caged import Caged, CagedServerError


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    place = tmp_path_factory.mktemp("control")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    locators = str(place / "locators")
    one = Served(place / "tmp", "--port", "0", env={**bare, "CAGED_EMULATOR_LOCATOR_DIR": locators})
    one.locators = locators
    one.exports()
    yield one
    one.process.terminate()
    assert one.end() == 0


@pytest.fixture
def call(served, monkeypatch):
    """Calls a command about an account of this test alone; its output, stripped. It must succeed."""
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", served.locators)
    account, key = cli_testing.call("accounts", "create", "mine").stdout.split()

    def called(*arguments, code=0, account=account):
        done = cli_testing.call(*arguments, *(["--account", account] if account else []))
        assert done.returncode == code, done.stderr
        return (done.stdout if code == 0 else done.stderr).strip()

    called.account, called.key = account, key
    yield called
    assert cli_testing.call("accounts", "remove", account).returncode == 0


@pytest.fixture
def client(served, call):
    with Caged(call.key, served.exports()["CAGED_BASE_URL"], max_retries=0) as caged:
        yield caged


def test_the_clock(call, client):
    box = client.sandboxes.create(timeout=60).id
    assert call("clock", "freeze", "2030-01-01T00:00:00Z") == "2030-01-01T00:00:00+00:00 (frozen)"
    assert call("clock", "tick") == "2030-01-01T00:00:01+00:00 (frozen)"
    assert call("clock", "advance", "--minutes", "2") == "2030-01-01T00:02:01+00:00 (frozen)"
    assert client.sandboxes.get(box).status == "paused"
    assert "frozen" not in call("clock", "unfreeze")
    assert call("clock", "reset") > "2020"
    assert call("clock", "now") > "2020"
    assert "must be an RFC 3339 time" in call("clock", "freeze", "yesterday", code=1)


def test_faults(call, client):
    box = client.sandboxes.create().id
    fault = call("faults", "add", "sandboxes.exec", "--status", "503", "--times", "1", "--detail", "busy")
    with pytest.raises(CagedServerError, match="busy"):
        client.sandboxes.exec(box, "true")
    (listed,) = map(json.loads, call("faults", "list", "--json").splitlines())
    assert (listed["id"], listed["seen"], listed["triggered"], listed["options"]["status"]) == (fault, 1, 1, 503)
    header, row = call("faults", "list").splitlines()
    assert header.split() == ["ID", "ACCOUNT", "SEEN", "TRIGGERED", "OPTIONS"]
    assert row.split()[:4] == [fault, call.account, "1", "1"]
    assert "operation='sandboxes.exec', status=503" in row
    call("faults", "remove", fault)
    assert call("faults", "list") == ""
    assert "fault not found" in call("faults", "remove", fault, code=1)
    call("faults", "add", "--hang", "--path", "/v1/account", "--optional")
    assert call("faults", "clear") == "removed 1"
    assert call("faults", "clear") == "removed 0"
    assert call("faults", "list") == ""
    assert "is not an HTTP error" in call("faults", "add", "--status", "200", code=1)


def test_all_accounts_lists_and_clears_what_each_account_has(call):
    first = cli_testing.call("faults", "add", "sandboxes.exec", "--status", "503").stdout.strip()
    mine = call("faults", "add", "sandboxes.exec", "--status", "503")
    shared = call("faults", "add", "alerts.list", "--status", "503", account="*")
    rows = [line.split()[:2] for line in call("faults", "list", account="*").splitlines()[1:]]
    assert [row[0] for row in rows] == [first, mine, shared]
    assert [row[1] for row in rows[1:]] == [call.account, "*"]
    assert call("faults", "clear", account="*") == "removed 3"
    assert call("faults", "list", account="*") == ""
    assert call("faults", "clear", account="*") == "removed 0"


def test_stubs_and_programs(call, client):
    box = client.sandboxes.create().id
    stub = call("commands", "stub", "npm install", "--output", "added", "--exit-code", "3")
    call("commands", "program", "npm", "--args", "run *", "--output", "built")
    assert client.sandboxes.exec(box, "npm install").exit_code == 3
    assert client.sandboxes.exec(box, "true && npm run x").output == "built"
    assert [json.loads(line)["used"] for line in call("commands", "list", "--json").splitlines()] == [1, 1]
    assert call("commands", "list", "--unused") == ""
    assert len(call("commands", "list", "--last", "1").splitlines()) == 2, "a header and one stub"
    call("commands", "remove", stub)
    assert call("commands", "clear") == "removed 1"
    assert call("commands", "list") == ""


def test_agents(call, client):
    box = client.sandboxes.create(agents=["claude"]).id
    call("agents", "reply", "claude", "done", "--cost-usd", "0.25", "--file", "/workspace/a=b")
    reply = call("agents", "reply", "claude", "to tests", "--prompt", "*tests*")
    assert client.sandboxes.exec(box, "claude -p hello; cat a; claude -p 'the tests'").output == "done\nbto tests\n"
    newest = call("journal", "prompts", "--agent", "claude", "--last", "1", "--sandbox", box, "--json")
    assert json.loads(newest)["cost_usd"] == 0.0
    assert len(call("agents", "list").splitlines()) == 3
    call("agents", "remove", reply)
    assert "reply not found" in call("agents", "remove", reply, code=1)
    assert call("agents", "clear") == "removed 1"
    assert "called no model" in client.sandboxes.exec(box, "claude -p hello").output


def test_errors_of_callbacks(call, client):
    box = client.sandboxes.create(agents=["claude"]).id
    assert call("callback-errors", "list") == ""
    client.files.write(box, "taken", "a file")
    replies = [call("agents", "reply", "claude", "done", "--file", f"taken/{name}=x", "--times", "1") for name in "ab"]
    client.sandboxes.exec(box, "claude -p hello; claude -p hello")
    header, *rows = call("callback-errors", "list").splitlines()
    assert header.split() == ["AT", "SANDBOX", "CONTROL", "ALLOWED", "ERROR"]
    assert [row.split()[1:4] for row in rows] == [[box, reply, "no"] for reply in replies]
    (only,) = map(json.loads, call("callback-errors", "list", "--control", replies[1], "--json").splitlines())
    assert only["control"] == replies[1]
    assert json.loads(call("callback-errors", "list", "--last", "1", "--json"))["control"] == replies[1]
    assert "has never existed" in call("callback-errors", "list", "--sandbox", "cage_nope", code=1)
    assert call("callback-errors", "clear") == "removed 2"
    assert call("callback-errors", "clear") == "removed 0"
    assert call("callback-errors", "list") == ""


def test_reset_of_controls_leaves_what_the_account_has(call, client):
    box = client.sandboxes.create().id
    call("faults", "add", "sandboxes.exec", "--status", "503")
    call("clock", "freeze", "2031-01-01T00:00:00Z")
    other = call("faults", "add", "sandboxes.exec", "--status", "503", "--optional", account=None)
    assert call("reset-controls") == ""
    assert call("faults", "list") == call("journal", "requests") == ""
    assert not call("clock", "now").startswith("2031")
    assert client.sandboxes.get(box).status == "running"
    assert other in call("faults", "list", account=None)
    call("faults", "remove", other, account=None)


def test_log_of_a_sandbox(call, client):
    box = client.sandboxes.create().id
    client.sandboxes.exec(box, "true")
    header, *rows = call("inventory", "logs", box).splitlines()
    assert header.split() == ["TIMESTAMP", "TYPE", "MESSAGE"]
    lines = [json.loads(line) for line in call("inventory", "logs", box, "--json").splitlines()]
    assert [(one.timestamp, one.type) for one in client.sandboxes.logs(box)] == [
        (line["timestamp"], line["type"]) for line in lines
    ]
    assert len(lines) == len(rows) > 1
    assert json.loads(call("inventory", "logs", box, "--last", "1", "--json")) == lines[-1]
    assert "sandbox not found" in call("inventory", "logs", "cage_nope", code=1)


def test_file_changes_are_recorded_until_switched_off(call, client):
    box = client.sandboxes.create().id
    for words, is_recorded in ([], True), (["--off"], False):
        assert call("journal", "record-file-changes", *words) == ""
        client.sandboxes.exec(box, f"echo {is_recorded} > a")
        (step,) = map(json.loads, call("journal", "steps", "--kind", "command", "--last", "1", "--json").splitlines())
        assert ("changes" in step["detail"]) is is_recorded


def test_the_journal(call, client):
    box = client.sandboxes.create().id
    client.sandboxes.exec(box, "echo hello")
    header, row = call("journal", "requests", "--operation", "sandboxes.exec").splitlines()
    assert header.split()[:5] == ["AT", "METHOD", "PATH", "OPERATION", "STATUS"]
    assert row.split()[1:5] == ["POST", f"/v1/sandboxes/{box}/exec", "sandboxes.exec", "200"]
    command = json.loads(call("journal", "commands", "--json"))
    assert (command["command"], command["exit_code"], command["output"]) == ("echo hello", 0, "hello\n")
    assert "lifecycle" in call("journal", "events", "--sandbox", box)
    assert call("journal", "prompts") == ""
    entries = sum(len(call("journal", kind).splitlines()) - 1 for kind in ("requests", "commands", "events"))
    assert call("journal", "clear") == f"removed {entries}"
    assert call("journal", "clear") == "removed 0"
    assert call("journal", "requests") == ""


def test_spend_and_reset(call, client):
    box = client.sandboxes.create(budget=1.0).id
    assert float(call("spend", box, "1.5")) >= 1.5
    assert client.sandboxes.get(box).status == "paused"
    assert "sandbox not found" in call("spend", "cage_nothere1", "1", code=1)
    call("reset")
    assert client.sandboxes.list() == []


def test_device_login_is_allowed_and_denied_in_an_accounts_sandboxes(served, call, client):
    base = served.exports()["CAGED_BASE_URL"]
    box = client.sandboxes.create(network_mode="full").id
    begin = f"curl -sS --noproxy '*' -d '{{}}' {base}/v1/auth/device/code"

    def outcome():
        code = json.loads(client.sandboxes.exec(box, begin).output)["device_code"]
        body = json.dumps({"device_code": code})
        answer = client.sandboxes.exec(box, f"curl -sS --noproxy '*' -d '{body}' {base}/v1/auth/device/token").output
        return json.loads(answer)

    assert outcome()["error"] == "access_denied"
    call("device-login", "allow")
    assert outcome()["account_id"] == call.account
    call("device-login", "deny")
    assert outcome()["error"] == "access_denied"


def test_accounts(call):
    rows = [line.split() for line in cli_testing.call("accounts", "list").stdout.splitlines()]
    assert rows[0] == ["ID", "API", "KEY"]
    assert [call.account, call.key] in rows
    listed = [json.loads(line) for line in cli_testing.call("accounts", "list", "--json").stdout.splitlines()]
    assert {"id": call.account, "api_key": call.key} in listed
    newest = cli_testing.call("accounts", "list", "--json", "--last", "1").stdout
    assert json.loads(newest) == listed[-1]
    assert "last: must be at least 1" in cli_testing.call("accounts", "list", "--last", "0").stderr


def test_inventory_lists_what_the_account_has(call, client):
    first, second = (client.sandboxes.create().id for _ in range(2))
    snapshot = client.snapshots.create(first, "one").id
    header, *rows = call("inventory", "sandboxes").splitlines()
    assert header.split() == ["ID", "ACCOUNT", "STATUS", "TEMPLATE", "CREATED", "AT"]
    assert [row.split()[:3] for row in rows] == [[first, call.account, "running"], [second, call.account, "running"]]
    assert json.loads(call("inventory", "sandboxes", "--last", "1", "--json"))["id"] == second
    assert json.loads(call("inventory", "snapshots", "--sandbox", first, "--json"))["id"] == snapshot
    assert call("inventory", "snapshots", "--sandbox", second) == ""
    assert call("inventory", "sockets", "--wait", "0") == ""
    assert "has never existed" in call("inventory", "snapshots", "--sandbox", "cage_nope", code=1)


def test_steps_of_the_journal_are_a_table_or_json(call, client):
    box = client.sandboxes.create().id
    client.sandboxes.exec(box, "echo hello")
    header, row = call("journal", "steps", "--kind", "command").splitlines()
    assert header.split()[:2] == ["ID", "KIND"]
    assert row.split()[1] == "command"
    assert "echo hello" in row
    newest = json.loads(call("journal", "steps", "--last", "1", "--json"))
    assert newest["sandbox"] == box
    assert len(call("journal", "steps", "--json").splitlines()) > 1


def test_a_scenario_and_an_archive(call, client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli_testing.call("init").returncode == 0
    assert cli_testing.call("init").returncode == 1  # nothing is written over
    exports = call("load-scenario", "caged-scenario.toml").splitlines()
    loaded = dict(line[len("export ") :].split("=") for line in exports)
    assert [box.id for box in client.sandboxes.list()] == [loaded["CAGED_SANDBOX_WEB"]]
    call("export", "all.tar.gz")
    assert (tmp_path / "all.tar.gz").stat().st_size > 0
    call("import", "all.tar.gz", account=None)
    assert sorted(box.status for box in client.sandboxes.list()) == ["running", "stopped"]  # a copy, with another id
    call("reset")
    cli_testing.call("accounts", "remove", call.account)
    call("import", "all.tar.gz", account=None)
    assert client.sandboxes.list()[0].status == "stopped"
    client.sandboxes.resume(loaded["CAGED_SANDBOX_WEB"])
    assert client.files.read(loaded["CAGED_SANDBOX_WEB"], "app.py") == "print('hello')\n"


def test_exec_gives_its_command_what_the_scenario_made(env, tmp_path):
    (tmp_path / "s.toml").write_text('[[sandboxes]]\nname = "my box"\n')
    code = "from caged import Caged; import os; print(Caged().sandboxes.get(os.environ['CAGED_SANDBOX_MY_BOX']).status)"
    done = run("exec", "--scenario", str(tmp_path / "s.toml"), "--", sys.executable, "-c", code, env=env)
    assert (done.stdout, done.stderr) == ("running\n", "")


def test_a_scenario_that_cannot_be_made_ends_serve_and_exec(env, tmp_path):
    (tmp_path / "s.toml").write_text("[[sandboxes]]\ncpus = 99\n")
    for command in (("serve", "--port", "0"), ("exec",)):
        rest = () if command[0] == "serve" else ("--", "true")
        done = run(*command, "--scenario", str(tmp_path / "s.toml"), *rest, env=env)
        assert done.returncode == 2
        assert "sandboxes[0]: cpus: must be between" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_wrong_admin_key_says_so(served):
    answer = httpx.get(
        f"{served.exports()['CAGED_BASE_URL']}/_emulator/status", headers={"Authorization": "Bearer x"}, verify=False
    )
    assert answer.status_code == 401
    assert "not the admin key" in answer.json()["detail"]


def test_money_may_be_an_option_and_the_starter_is_toml(call, client, tmp_path):
    box = client.sandboxes.create(budget=9.0).id
    assert float(call("spend", box, "--usd", "1.5")) >= 1.5
    assert "say how much" in call("spend", box, code=2)
    done = cli_testing.call("init", str(tmp_path / "s.yaml"))
    assert (done.returncode, "s.toml" in done.stderr) == (1, True)
    assert cli_testing.call("init", str(tmp_path / "s.toml")).returncode == 0
    assert f"--scenario {tmp_path / 's.toml'}" in (tmp_path / "s.toml").read_text()


def test_patterns_are_of_their_own_kind(call, client):
    box = client.sandboxes.create(agents=["claude"]).id
    call("commands", "stub", "^np", "--regex", "--output", "regex")
    call("commands", "stub", "a.c", "--output", "exact")
    call("commands", "program", "tool", "--args-regex", "^b", "--stdin", "y*", "--output", "tool")
    call("agents", "reply", "claude", "to code", "--prompt-regex", "code$")
    assert client.sandboxes.exec(box, "npx").output == "regex"
    assert client.sandboxes.exec(box, "a.c").output == "exact"
    assert client.sandboxes.exec(box, "echo yes | tool build").output == "tool"
    assert client.sandboxes.exec(box, "echo my | tool build").exit_code == 127, "a glob beside an expression stays one"
    assert client.sandboxes.exec(box, "claude -p 'the code'").output == "to code\n"
    assert "is not a regular expression" in call("commands", "stub", "(", "--regex", code=2)
    both = call("commands", "program", "x", "--args", "a", "--args-regex", "b", code=2)
    assert "--args and --args-regex: give one of them" in both


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["journal", "requests", "--operation", "sandboxes.exce"], "did you mean 'sandboxes.exec'"),
        (["journal", "requests", "--path", "/v1/nothing/*"], "does not match the path"),
        (["journal", "commands", "--source", "exce"], "did you mean 'exec'"),
        (["journal", "commands", "--sandbox", "cage_nope"], "has never existed"),
        (["journal", "prompts", "--agent", "claudee"], "did you mean 'claude'"),
        (["journal", "events", "--type", "comand"], "did you mean 'command'"),
        (["agents", "passthrough", "claudee"], "did you mean 'claude'"),
        (["agents", "reply", "claudee", "x"], "did you mean 'claude'"),
        (["faults", "add", "sandboxes.exce", "--status", "500"], "did you mean 'sandboxes.exec'"),
        (["faults", "add", "--sandbox", "cage_nope", "--status", "500"], "has never existed"),
        (["commands", "stub", "x", "--sandbox", "cage_nope"], "has never existed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_exist_is_refused(call, command, text):
    assert text in call(*command, code=1)
