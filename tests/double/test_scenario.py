"""Scenarios: what a file says is there afterwards, and what cannot be is named by its place."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from caged import CagedServerError
from caged.emulator import ConfigError, Emulator, EmulatorError, ScenarioError
from caged.emulator.scenario import read
from caged.emulator.scenario.reading import from_document
from caged.emulator.scenario.starter import STARTER

FULL = """
[clock]
freeze = "2030-01-01T00:00:00Z"

[[keys]]
name = "reader"
scope = "read_only"

[[stubs]]
match = "npm install"
output = "added 42 packages\\n"

[[stubs]]
match = { regex = "^make " }
exit_code = 2

[[programs]]
program = "npm"
args = "run build*"
output = "built\\n"

[agents.claude]
replies = ["first", { text = "second", files = { "/workspace/fix.py" = "fixed" }, cost_usd = 0.5 }]

[[agents.claude.reply_to]]
prompt = "*tests*"
text = "they pass"

[[sandboxes]]
name = "web"
template = "node-20"
agents = ["claude"]
budget = 4.0
env = { CI = "1" }
commands = ["echo $CI > ci.txt"]

[sandboxes.files]
"/workspace/app.js" = "console.log(1)"
"/workspace/data.txt" = { from = "data.txt" }

[[sandboxes]]
template = "minimal"
state = "paused"

[[faults]]
operation = "files.read"
sandbox = "web"
status = 503
times = 1
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "data.txt").write_text("from a file")
    path = tmp_path / "scenario.toml"
    path.write_text(FULL)
    return path


def test_everything_that_it_says_is_there(either, client, file):
    loaded = either.load(file)
    assert set(loaded.sandboxes) == {"web", "sandbox-2"}
    web = client.sandboxes.get(loaded.sandboxes["web"])
    assert (web.template, web.budget, web.status) == ("node-20", 4.0, "running")
    assert web.created_at == "2030-01-01T00:00:00.000Z"
    assert client.sandboxes.get(loaded.sandboxes["sandbox-2"]).status == "paused"
    with pytest.raises(CagedServerError):
        client.files.read(web.id, "data.txt")
    assert client.files.read(web.id, "data.txt") == "from a file"
    assert client.files.read(web.id, "ci.txt") == "1\n"
    assert client.sandboxes.exec(web.id, "npm install").output == "added 42 packages\n"
    assert client.sandboxes.exec(web.id, "make all").exit_code == 2
    assert client.sandboxes.exec(web.id, "set -e; npm run build --fast").output == "built\n"
    said = [client.sandboxes.exec(web.id, f"claude -p {prompt}").output.strip() for prompt in ("a", "tests?", "b")]
    assert said == ["first", "they pass", "second"]
    assert client.files.read(web.id, "fix.py") == "fixed"
    assert client.sandboxes.get(web.id).llm_cost == 0.5
    with either.client(loaded.keys["reader"]) as reader:
        assert len(reader.sandboxes.list()) == 2
    assert loaded.variables() == {
        "CAGED_SANDBOX_WEB": web.id,
        "CAGED_SANDBOX_SANDBOX_2": loaded.sandboxes["sandbox-2"],
        "CAGED_KEY_READER": loaded.keys["reader"],
    }


def test_the_starter_loads(double, client, tmp_path):
    path = tmp_path / "starter.toml"
    path.write_text(STARTER)
    loaded = double.load(path)
    assert client.sandboxes.exec(loaded.sandboxes["web"], "python3 app.py || python app.py").output == "hello\n"


def test_every_commented_line_of_the_starter_loads_too(double, tmp_path):
    (tmp_path / "data.json").write_text("{}")
    lines = STARTER.splitlines()
    begin = lines.index("# Time stands until a test moves it.")
    keys = ("# [", "# freeze", "# state", '# "/', "# operation", "# sandbox =", "# status", "# times")
    opened = [line[2:] if line.startswith(keys) else line for line in lines[begin:]]
    path = tmp_path / "starter.toml"
    path.write_text("\n".join(opened))
    scenario = read(path)
    assert scenario.clock
    assert scenario.faults
    loaded = double.load(path)
    assert set(loaded.sandboxes) == {"web"}
    assert double.clock.frozen
    double.faults.clear()


def test_json_and_yaml_say_the_same(double, tmp_path, monkeypatch):
    document = {"sandboxes": [{"name": "a", "template": "minimal"}]}
    (tmp_path / "s.json").write_text(json.dumps(document))
    assert read(tmp_path / "s.json").sandboxes == ({"name": "a", "template": "minimal"},)
    (tmp_path / "s.yaml").write_text("sandboxes:\n  - name: a\n    template: minimal\n")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ScenarioError, match="pip install pyyaml"):
        read(tmp_path / "s.yaml")


def test_yaml_is_read_by_pyyaml(tmp_path):
    pytest.importorskip("yaml", reason="PyYAML is not installed here, and the emulator does not ask for it")
    (tmp_path / "s.yml").write_text("sandboxes:\n  - name: a\n    template: minimal\n")
    assert read(tmp_path / "s.yml").sandboxes == ({"name": "a", "template": "minimal"},)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"sandbox": []}, "sandbox: unknown; a scenario has clock"),
        ({"sandboxes": {}}, "sandboxes: must be a list of tables"),
        ({"clock": []}, "clock: must be a table"),
        ([], "a scenario is a table"),
        ({"sandboxes": [{"name": "a"}, {"name": "a"}]}, "the name 'a' must be a text, and only one"),
    ],
)
def test_what_is_no_scenario_is_refused_before_anything_is_made(document, said):
    with pytest.raises(ScenarioError, match=said):
        from_document(document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[sandboxes]]\ntemplate = "nope"', r"sandboxes\[0\]: template: 'nope' is unknown; valid templates"),
        ("[[sandboxes]]\ntmplate = 'node'", r"sandboxes\[0\]: .*tmplate"),
        ("[[sandboxes]]\ncommands = ['exit 4']", r"sandboxes\[0\]: 'exit 4' failed with 4"),
        ("[[sandboxes]]\nstate = 'gone'", r"sandboxes\[0\]: state: 'gone' is unknown; use paused or running"),
        ("[[sandboxes]]\n[sandboxes.files]\n'a' = { from = 'no' }", r"sandboxes\[0\]: cannot read .*no"),
        ("[[sandboxes]]\ninit_script = 'exit 3'", r"sandboxes\[0\]: the sandbox came up as error: .*exit code 3"),
        ("[[faults]]\nstatus = 200", r"faults\[0\]: status: 200 is not an HTTP error"),
        ("[[faults]]\nstatu = 500", r"faults\[0\]: .*'statu'"),
        ("[[stubs]]\noutput = 'x'", r"stubs\[0\]: .*match"),
        ("[[stubs]]\nmatch = { regex = '(' }", r"stubs\[0\]: "),
        ("[[stubs]]\nmatch = { regx = 'a' }", r"stubs\[0\]: match: must be a text or \{ regex = "),
        ("[[programs]]\nprogram = 'npm'\nargs = { regex = '(' }", r"programs\[0\]: "),
        ("[[faults]]\noperation = 'sandboxes.exek'\nstatus = 500", r"faults\[0\]: .*did you mean 'sandboxes.exec'"),
        ("[[faults]]\nsandbox = 'wbe'\nstatus = 500", r"faults\[0\]: sandbox: 'wbe' has never existed"),
        ("[agents.claudee]\nreplies = ['x']", r"agents.claudee: agent 'claudee' does not exist; did you mean 'claude'"),
        ("[[keys]]\nscope = 'full'", r"keys\[0\]: .*name"),
        ("[agents.claude]\nreplys = []", r"agents.claude: replys: unknown; an agent has replies"),
        ("[agents.nobody]\nreplies = ['x']", r"agents.nobody: "),
        ("[clock]\nat = 3", r"clock: freeze is missing"),
        ("x = ", "not well-formed"),
    ],
)
def test_an_entry_that_cannot_be_made_is_named(double, tmp_path, text, said):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=said):
        double.load(path)


def test_over_http_too(admin, client):
    made = admin.post("/_emulator/scenario", json={"scenario": {"sandboxes": [{"name": "one"}]}})
    assert made.status_code == 201
    assert [box.id for box in client.sandboxes.list()] == [made.json()["sandboxes"]["one"]]
    refused = admin.post("/_emulator/scenario", json={"scenario": {"sandboxes": [{"cpus": 99}]}})
    assert refused.status_code == 400
    assert "sandboxes[0]: cpus" in refused.json()["detail"]


def test_an_emulator_starts_with_one(file):
    with Emulator(scenario=file) as emulator:
        with emulator.client() as caged:
            assert {box.id for box in caged.sandboxes.list()} == set(emulator.loaded.sandboxes.values())
        assert emulator.loaded.keys["reader"].startswith("caged_sk_")


def test_an_emulator_with_one_that_cannot_be_made_does_not_start_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    path = tmp_path / "s.toml"
    path.write_text("[[sandboxes]]\n[[sandboxes]]\ncpus = 99")
    with pytest.raises(EmulatorError, match=r"sandboxes\[1\]: cpus"):
        Emulator(scenario=path).start()
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.toml"]


def test_a_file_that_is_not_there_is_a_setting_that_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the scenario"):
        Emulator(scenario=tmp_path / "no.toml").start()


def test_a_state_directory_that_holds_something_has_its_own(tmp_path, file):
    state: Path = tmp_path / "state"
    with Emulator(state_dir=state, scenario=file) as emulator:
        first = set(emulator.loaded.sandboxes.values())
    with Emulator(state_dir=state, scenario=file) as emulator, emulator.client() as caged:
        assert {box.id for box in caged.sandboxes.list()} == first
        assert emulator.loaded.sandboxes == {}
