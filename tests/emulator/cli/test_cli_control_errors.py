"""Every command with a wrong name, a wrong scope, or nothing to do: an error that says what to do, not a traceback and
not a silent success."""

from __future__ import annotations

import os
import stat

import cli_testing
import pytest
from cases import each

from caged.emulator import Emulator
from caged.emulator.cli import COMMANDS


@pytest.fixture(scope="module")
def emulator():
    with Emulator(allow_unused=True) as running:
        yield running


@pytest.fixture(autouse=True)
def environment(emulator, monkeypatch, tmp_path):
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", str(tmp_path / "locators"))
    monkeypatch.setenv("CAGED_EMULATOR_URL", emulator.base_url)
    monkeypatch.setenv("CAGED_EMULATOR_ADMIN_KEY", emulator.admin_key)
    for name in ("CAGED_API_KEY", "CAGED_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("text")
    (tmp_path / "bad.toml").write_text("[[sandboxes]]\ntemplat = 'node-20'\n")
    (tmp_path / "good.toml").write_text("[[keys]]\nname = 'reader'\n")


#: Words, exit code (2: the command line; 1: what the emulator or the machine says), and what the error has to say.
WRONG = [
    ("stat", 2, "there is no command 'stat'; did you mean 'status'"),
    ("nonsense", 2, "there is no command 'nonsense'; known are accounts, agents,"),
    ("accounts remove acct_nope", 1, "account not found: acct_nope"),
    ("accounts remove *", 1, "account not found: *"),
    ("accounts remove", 2, "Missing argument 'ID'"),
    ("accounts list --account acct_x", 2, "No such option"),
    ("accounts create x --account acct_x", 2, "No such option"),
    ("agents reply claudee hello", 1, "agent 'claudee' does not exist; did you mean 'claude'"),
    ("agents reply claude hello --file nothing", 2, "--file takes PATH=CONTENT"),
    ("agents reply claude hello --file a=1 --file a=2", 2, "--file names the same PATH twice"),
    ("agents reply claude hello --times 0", 1, "times"),
    ("agents passthrough claudee", 1, "agent 'claudee' does not exist; did you mean 'claude'"),
    ("agents clear claudee", 2, "unexpected extra argument"),
    ("agents reply claude hello --account acct_nope", 1, "account not found: acct_nope"),
    ("cache nope", 2, "No such command 'nope'"),
    ("callback-errors list --account acct_nope", 1, "account not found: acct_nope"),
    ("callback-errors list --last 0", 1, "last: must be at least 1"),
    ("callback-errors remove", 2, "No such command 'remove'"),
    ("reset-controls --account acct_nope", 1, "account not found: acct_nope"),
    ("reset-controls now", 2, "unexpected extra argument"),
    ("inventory logs", 2, "Missing argument 'SANDBOX'"),
    ("inventory logs cage_nope", 1, "sandbox not found: cage_nope"),
    ("journal record-file-changes off", 2, "unexpected extra argument"),
    ("journal record-file-changes --account acct_nope", 1, "account not found: acct_nope"),
    ("logs --lines 1", 2, "No such option"),
    ("repos tags https://github.com/acme/x", 1, "there is no fake repository"),
    ("clock advance", 2, "nothing to advance by: give one or more of --seconds, --minutes, --hours, --days"),
    ("clock advance --seconds=-1", 1, "the clock advances by 0 seconds to a hundred years, not by -1 seconds"),
    ("clock advance --seconds soon", 2, "'soon' is not a valid float"),
    ("clock freeze yesterday", 1, "at: must be an RFC 3339 time"),
    ("clock now --account acct_nope", 1, "account not found: acct_nope"),
    ("commands remove stub_nope", 1, "stub not found: stub_nope"),
    ("commands stub ls --times 0", 1, "times"),
    ("commands stub ls --account acct_nope", 1, "account not found: acct_nope"),
    ("commands program", 2, "Missing argument 'PROGRAM'"),
    ("device-login allow --account acct_nope", 1, "account not found: acct_nope"),
    ("device-login allowed", 2, "No such command 'allowed'"),
    ("export missing/x.tar.gz", 1, "missing is not a directory; create it first"),
    ("export x.tar.gz --account acct_nope", 1, "account acct_nope is unknown"),
    ("export /proc/x.tar.gz", 1, "/proc"),
    ("faults add", 1, "the fault has no effect: give one of"),
    ("faults add sandboxes.exce --status 503", 1, "did you mean 'sandboxes.exec'"),
    ("faults add sandboxes.exec --status 200", 1, "is not an HTTP error"),
    ("faults add sandboxes.exec --outcome nope", 2, "is not one of"),
    ("faults add sandboxes.exec --status 503 --account acct_nope", 1, "account not found: acct_nope"),
    ("faults remove fault_nope", 1, "fault not found: fault_nope"),
    ("faults remove", 2, "Missing argument 'ID'"),
    ("import text", 1, "text: the archive cannot be read as an export of an emulator"),
    ("import nope.tar.gz", 2, "does not exist"),
    ("import text --account acct_x", 2, "No such option"),
    ("init bad.toml", 1, "bad.toml is there already"),
    ("init missing/x.toml", 1, "cannot write missing/x.toml"),
    ("inventory sandboxes --account acct_nope", 1, "account not found: acct_nope"),
    ("journal requests --account acct_nope", 1, "account not found: acct_nope"),
    ("load-scenario nope.toml", 2, "does not exist"),
    ("load-scenario bad.toml", 1, "sandboxes[0]: templat: unknown; did you mean 'template'"),
    ("load-scenario good.toml --account acct_nope", 1, "account not found: acct_nope"),
    ("load-scenario good.toml --account *", 1, "keys[0]: belongs to one account"),
    ("load-scenario text", 1, "a scenario is a .toml, .yaml or .json file"),
    ("logs -n -1", 2, "-1 is not in the range"),
    ("logs --port 1", 1, "no emulator of yours is running"),
    ("reset --account acct_nope", 1, "account not found: acct_nope"),
    ("serve --port 99999", 2, "port: must be from 0 to 65535, not 99999"),
    ("serve --port 0 --scenario nope.toml", 2, "cannot read the scenario nope.toml"),
    ("serve --port 0 --scenario bad.toml", 2, "sandboxes[0]: templat: unknown; did you mean 'template'"),
    ("prepared list --account acct_nope", 1, "account not found: acct_nope"),
    ("repos list --account acct_nope", 1, "account not found: acct_nope"),
    ("serve --port 0 --ready-file missing/ready", 2, "cannot write the ready file"),
    ("shell cage_nope", 1, "there is no sandbox cage_nope on this emulator"),
    ("shell cage_nope --from text --port 1", 2, "--from starts an emulator of its own"),
    ("shell cage_nope --from text", 1, "text: the archive cannot be read as an export"),
    ("spend cage_nope 1", 1, "sandbox not found: cage_nope"),
    ("spend cage_nope", 2, "say how much"),
    ("spend cage_nope 1 --usd 2", 2, "give the amount once"),
    ("spend cage_nope much", 2, "'much' is not a valid float"),
    ("stop --timeout=-1", 2, "is not in the range"),
    ("stop --all --port 1", 2, "remove the options that name one"),
    ("sweep", 2, "add --live"),
    ("sweep --live --destroy", 2, "--destroy needs --run ID"),
    ("trace show nope.jsonl", 1, "cannot read nope.jsonl: No such file"),
    ("trace record -o nope.txt -- true", 2, "ends in .jsonl"),
    ("ui --port 1", 1, "no emulator of yours is running"),
    ("verify --base-url nope --api-key x", 2, "nope"),
]


@each(("words", "code", "said"), WRONG)
def test_wrong_use_is_an_error_that_says_what_to_do(words, code, said):
    done = cli_testing.call(*words.split())
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Error: " in done.stderr


def test_every_command_has_a_wrong_use_above():
    harmless = {"demo", "doctor", "env", "status", "exec"}  # in test_cli_exec.py and test_cli_target.py
    assert {words.split()[0] for words, _code, _said in WRONG} >= set(COMMANDS) - harmless


@pytest.mark.parametrize("kind", ["faults", "commands"])
def test_removal_is_refused_in_the_scope_of_another_account(emulator, kind):
    mine, other = emulator.create_account(), emulator.create_account()
    if kind == "faults":
        added = emulator.faults.add(status=503, account=mine.id)
    else:
        added = emulator.commands.stub("ls", account=mine.id)
    done = cli_testing.call(kind, "remove", added.id, "--account", other.id)
    assert done.returncode == 1
    assert f"not found in account {other.id}: {added.id}" in done.stderr
    assert added.info.account == mine.id
    assert cli_testing.call(kind, "remove", added.id, "--account", mine.id).returncode == 0


def test_spending_is_refused_in_the_scope_of_another_account(emulator):
    mine, other = emulator.create_account(), emulator.create_account()
    with emulator.client(mine.api_key) as caged:
        box = caged.sandboxes.create().id
        done = cli_testing.call("spend", box, "1", "--account", other.id)
        assert f"sandbox not found in account {other.id}: {box}" in done.stderr
        assert caged.sandboxes.get(box).llm_cost == 0
        assert cli_testing.call("spend", box, "1").returncode == 0
        assert caged.sandboxes.get(box).llm_cost == 1


def test_account_that_is_nearly_right_is_suggested(emulator):
    account = emulator.create_account().id
    done = cli_testing.call("accounts", "remove", account[:-1])
    assert f"did you mean '{account}'" in done.stderr
    assert account in [one.id for one in emulator.accounts()]


def test_archive_of_an_export_is_its_owners_alone(tmp_path):
    (tmp_path / "old.tar.gz").write_text("before")
    (tmp_path / "old.tar.gz").chmod(0o644)
    for name in ("new.tar.gz", "old.tar.gz"):
        assert cli_testing.call("export", name).returncode == 0
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600


def test_plain_http_to_another_host_is_a_line_on_stderr(monkeypatch):
    monkeypatch.setattr("caged.emulator.cli.status.STATUS_SECONDS", 0.2)
    monkeypatch.setenv("CAGED_EMULATOR_URL", "http://192.0.2.7:4747")
    done = cli_testing.call("status")
    assert done.returncode == 1
    assert done.stderr.startswith("warning: http://192.0.2.7:4747 is not on this machine and not encrypted")
    assert "connection.py" not in done.stderr
