"""Scenarios: what a file says is there afterwards, and what cannot be is named by its place."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from cases import each

from caged import CagedServerError
from caged.emulator import ConfigError, Emulator, EmulatorError, RemoteEmulator, ScenarioError
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
    loaded = either.load_scenario(file)
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
    loaded = double.load_scenario(path)
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
    loaded = double.load_scenario(path)
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


TWICE = [
    ("s.json", '{"faults": [{"operation": "sandboxes.exec", "status": 500}], "faults": []}', "'faults' is there twice"),
    ("s.json", '{"faults": [{"path": "/v1/sandboxes", "status": 500, "status": 501}]}', "'status' is there twice"),
    ("s.toml", "[clock]\nadvance = 1\n[clock]\nadvance = 2\n", "not well-formed"),
    ("s.yaml", "faults:\n- {operation: sandboxes.exec, status: 500}\nfaults: []\n", "'faults' is there twice"),
]


@pytest.mark.parametrize(("name", "text", "why"), TWICE)
def test_key_that_is_there_twice_is_refused(tmp_path, name, text, why):
    if name.endswith(".yaml"):
        pytest.importorskip("yaml", reason="PyYAML is not installed here, and the emulator does not ask for it")
    (tmp_path / name).write_text(text)
    with pytest.raises(ScenarioError, match=why):
        read(tmp_path / name)


def test_yaml_is_read_by_pyyaml(tmp_path):
    pytest.importorskip("yaml", reason="PyYAML is not installed here, and the emulator does not ask for it")
    (tmp_path / "s.yml").write_text("sandboxes:\n  - name: a\n    template: minimal\n")
    assert read(tmp_path / "s.yml").sandboxes == ({"name": "a", "template": "minimal"},)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"sandbox": []}, "sandbox: unknown; did you mean 'sandboxes'"),
        ({"sandboxes": {}}, "sandboxes: must be a list of tables"),
        ({"clock": []}, "clock: must be a table"),
        ([], "a scenario is a table"),
        ({"sandboxes": [{"name": "a"}, {"name": "a"}]}, "the name 'a' must be a text, and only one"),
    ],
)
def test_what_is_not_a_scenario_is_refused_before_anything_is_made(document, said):
    with pytest.raises(ScenarioError, match=said):
        from_document(document)


@each(
    ("text", "said"),
    [
        ('[[sandboxes]]\ntemplate = "nope"', r"sandboxes\[0\]: template: 'nope' is unknown; valid templates"),
        ("[[sandboxes]]\ntmplate = 'node'", r"sandboxes\[0\]: .*tmplate"),
        ("[[sandboxes]]\ncommands = ['exit 4']", r"sandboxes\[0\]: 'exit 4' failed with 4"),
        ("[[sandboxes]]\nstate = 'gone'", r"sandboxes\[0\]: state: 'gone' is unknown; use running or paused"),
        ("[[sandboxes]]\n[sandboxes.files]\n'a' = { from = 'no' }", r"sandboxes\[0\]: cannot read .*no"),
        ("[[sandboxes]]\ninit_script = 'exit 3'", r"sandboxes\[0\]: the sandbox came up as error: .*exit code 3"),
        ("[[faults]]\nstatus = 200", r"faults\[0\]: status: 200 is not an HTTP error"),
        ("[[faults]]\nstatu = 500", r"faults\[0\]: statu: unknown; did you mean 'status'"),
        ("[[stubs]]\noutput = 'x'", r"stubs\[0\]: match is missing"),
        ("[[stubs]]\nmatch = { regex = '(' }", r"stubs\[0\]: "),
        ("[[stubs]]\nmatch = { regx = 'a' }", r"stubs\[0\]: match: must be a text or \{ regex = "),
        ("[[programs]]\nprogram = 'npm'\nargs = { regex = '(' }", r"programs\[0\]: "),
        ("[[faults]]\noperation = 'sandboxes.exek'\nstatus = 500", r"faults\[0\]: .*did you mean 'sandboxes.exec'"),
        ("[[faults]]\nsandbox = 'wbe'\nstatus = 500", r"faults\[0\]: sandbox: there is no sandbox 'wbe'"),
        ("[agents.claudee]\nreplies = ['x']", r"agents.claudee: agent 'claudee' does not exist; did you mean 'claude'"),
        ("[[keys]]\nscope = 'full'", r"keys\[0\]: .*name"),
        ("[agents.claude]\nreplys = []", r"agents.claude: replys: unknown; did you mean 'replies'"),
        ("[agents.unknown]\nreplies = ['x']", r"agents.unknown: agent 'unknown' does not exist; known are aider"),
        ("[clock]\nat = 3", r"clock: at: unknown; "),
        ("x = ", "not well-formed"),
    ],
)
def test_an_entry_that_cannot_be_made_is_named(double, tmp_path, text, said):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=said):
        double.load_scenario(path)


MISSPELT = [
    ({"sandboxs": []}, "sandboxs: unknown; .*did you mean 'sandboxes'"),
    ({"clock": {"freez": "2030-01-01T00:00:00Z"}}, "clock: freez: unknown; did you mean 'freeze'"),
    ({"keys": [{"nam": "reader"}]}, r"keys\[0\]: nam: unknown; did you mean 'name'"),
    ({"stubs": [{"match": "ls", "outptu": "x"}]}, r"stubs\[0\]: outptu: unknown; did you mean 'output'"),
    ({"stubs": [{"mach": "ls"}]}, r"stubs\[0\]: mach: unknown; did you mean 'match'"),
    ({"stubs": [{"match": {"regx": "ls"}}]}, r"stubs\[0\]: match: must be a text or { regex = "),
    ({"stubs": [{"match": "ls", "regex": "ls"}]}, r"stubs\[0\]: regex: unknown; known are "),
    ({"stubs": [{"match": "ls", "sandbox": "wbe"}]}, r"stubs\[0\]: sandbox: .*'wbe'.*did you mean 'web'"),
    ({"programs": [{"progam": "npm"}]}, r"programs\[0\]: progam: unknown; did you mean 'program'"),
    ({"programs": [{"program": "npm", "sandbox": "wbe"}]}, r"programs\[0\]: sandbox: .*did you mean 'web'"),
    ({"agents": {"claudee": {}}}, "agents.claudee: agent 'claudee' does not exist; did you mean 'claude'"),
    ({"agents": {"claude": {"reply": []}}}, "agents.claude: reply: unknown; .*did you mean"),
    ({"agents": {"claude": {"replies": [{"txt": "x"}]}}}, r"agents.claude.replies\[0\]: txt: unknown; did you mean"),
    ({"agents": {"claude": {"reply_to": [{"promt": "x"}]}}}, r"agents.claude.reply_to\[0\]: promt: unknown; did you"),
    ({"agents": {"claude": {"replies": "x"}}}, "agents.claude: replies: must be a list"),
    ({"sandboxes": [{"templat": "node-20"}]}, r"sandboxes\[1\]: templat: unknown; did you mean 'template'"),
    ({"sandboxes": [{"command": ["ls"]}]}, r"sandboxes\[1\]: command: unknown; did you mean 'commands'"),
    ({"sandboxes": [{"commands": "ls"}]}, r"sandboxes\[1\]: commands: must be a list of texts"),
    ({"sandboxes": [{"files": {"a": {"form": "b"}}}]}, r"sandboxes\[1\]: files: 'a' must be a text, or { from"),
    ({"faults": [{"operation": "sandboxes.exce", "status": 500}]}, r"faults\[0\]: .*did you mean 'sandboxes.exec'"),
    ({"faults": [{"operation": "files.*", "sandbox": "wbe", "status": 500}]}, r"faults\[0\]: .*did you mean 'web'"),
]


@each(("document", "said"), MISSPELT)
def test_misspelt_name_is_refused_with_a_suggestion_and_nothing_is_made(either, client, tmp_path, document, said):
    document = {**document, "sandboxes": [{"name": "web"}, *document.get("sandboxes", [])]}
    (tmp_path / "s.json").write_text(json.dumps(document))
    with pytest.raises(ScenarioError, match=said):
        either.load_scenario(tmp_path / "s.json")
    assert client.sandboxes.list() == []


WRONG_TYPES = [
    {"clock": {"freeze": []}},
    {"clock": {"freeze": True}},
    {"clock": {"freeze": "yesterday"}},
    {"keys": [{"name": 5}]},
    {"keys": [{"name": "a"}, {"name": "a"}]},
    {"keys": [{"name": "a", "scope": "nope"}]},
    {"stubs": [{"match": 5}]},
    {"stubs": [{"match": {"regex": 5}}]},
    {"stubs": [{"match": "a", "output": 5}]},
    {"stubs": [{"match": "a", "times": "often"}]},
    {"programs": [{"program": 5}]},
    {"programs": [{"program": "a", "args": 5}]},
    {"programs": [{"program": "a", "sandbox": ["web"]}]},
    {"agents": {"claude": []}},
    {"agents": {"claude": {"replies": [5]}}},
    {"agents": {"claude": {"replies": [{"files": 5}]}}},
    {"agents": {"claude": {"replies": [{"files": {"a": 5}}]}}},
    {"agents": {"claude": {"replies": [{"cost_usd": "much"}]}}},
    {"agents": {"claude": {"reply_to": [{"prompt": 5}]}}},
    {"agents": {"claude": {"passthrough": "yes"}}},
    {"sandboxes": [{"name": 5}]},
    {"sandboxes": [{"name": []}]},
    {"sandboxes": [{"files": []}]},
    {"sandboxes": [{"files": {"a": 5}}]},
    {"sandboxes": [{"commands": [5]}]},
    {"sandboxes": [{"state": 5}]},
    {"sandboxes": [{"template": 5}]},
    {"sandboxes": [{"cpus": "two"}]},
    {"sandboxes": [{"env": ["CI"]}]},
    {"sandboxes": [{"budget": "much"}]},
    {"faults": [{"status": "503"}]},
    {"faults": [{"status": 503, "delay": "long"}]},
    {"faults": [{"status": 503, "times": 0}]},
    {"faults": [{"rate_limit": {"retry": 7}}]},
    {"faults": [{"status": 503, "account": "acct_nope"}]},
]


@each("document", WRONG_TYPES)
def test_value_of_a_wrong_type_is_refused_by_its_place_and_nothing_is_made(double, admin, client, document):
    before = everything(double, client)
    refused = admin.post("/_emulator/scenario", json={"scenario": document})
    assert refused.status_code == 400, refused.text
    (kind,) = document
    assert refused.json()["detail"].startswith(kind)
    assert everything(double, client) == before


def test_moment_of_toml_is_a_time(double, tmp_path):
    (tmp_path / "s.toml").write_text("[clock]\nfreeze = 2030-01-01T00:00:00Z")
    double.load_scenario(tmp_path / "s.toml")
    assert double.clock.now().isoformat() == "2030-01-01T00:00:00+00:00"
    (tmp_path / "s.toml").write_text("[clock]\nfreeze = 2030-01-01T00:00:00")
    with pytest.raises(ScenarioError, match=r"clock\.freeze: 2030-01-01T00:00:00 needs its time zone"):
        double.load_scenario(tmp_path / "s.toml")


def everything(double, client):
    """What an account has that a scenario could have made."""
    return {
        "sandboxes": [box.id for box in client.sandboxes.list()],
        "snapshots": [one.id for one in double.inventory.snapshots()],
        "keys": [key.id for key in client.account.list_keys()],
        "faults": [fault.id for fault in double.faults.list()],
        "stubs": [stub.id for stub in double.commands.list()],
        "replies": [reply.id for reply in double.agents.list()],
        "frozen": double.clock.frozen,
    }


BAD = [
    '[[sandboxes]]\ntemplate = "nope"',
    '[[sandboxes]]\ninit_script = "exit 3"',
    '[[sandboxes]]\ncommands = ["exit 4"]',
    '[[sandboxes]]\n[sandboxes.files]\n"/proc/x" = "refused"',
    "[[faults]]\nstatus = 200",
]


# What fails, fails in the emulator: by URL one is enough.
@pytest.mark.parametrize(("either", "bad"), [*(("local", bad) for bad in BAD), ("remote", BAD[2])], indirect=["either"])
def test_failed_load_leaves_nothing(either, client, file, bad):
    kept = client.sandboxes.create()
    either.faults.add("files.list", status=503, optional=True)
    before = everything(either, client)
    file.write_text(f"{FULL}\n{bad}")
    with pytest.raises(ScenarioError, match=r"^(sandboxes\[2\]|faults\[1\]): "):
        either.load_scenario(file)
    assert everything(either, client) == before
    assert "make" in client.sandboxes.exec(kept.id, "make all").output  # the file's stub prints nothing


def test_failed_load_puts_a_clock_back_that_was_frozen_before(double, file):
    double.clock.freeze("2029-06-01T00:00:00Z")
    file.write_text(f'{FULL}\n[[sandboxes]]\ntemplate = "nope"')
    with pytest.raises(ScenarioError):
        double.load_scenario(file)
    assert double.clock.now().isoformat() == "2029-06-01T00:00:00+00:00"
    assert double.clock.frozen


def test_no_fault_applies_to_a_load_and_the_journal_shows_no_request_of_it(either, client, file):
    fault = either.faults.add(status=503, times=1)
    either.journal.clear()
    loaded = either.load_scenario(file)
    assert fault.triggered == 0
    assert list(either.journal.requests()) == []
    with pytest.raises(CagedServerError):
        client.sandboxes.get(loaded.sandboxes["web"])


def test_load_needs_none_of_the_requests_of_a_tier(own_emulator, tmp_path):
    emulator = own_emulator(tier="free")
    files = {str(number): "x" for number in range(200)}
    (tmp_path / "s.json").write_text(json.dumps({"sandboxes": [{"files": files}]}))
    emulator.load_scenario(tmp_path / "s.json")
    with emulator.client(max_retries=0) as caged:
        assert len(caged.sandboxes.list()) == 1


def test_stub_of_one_sandbox_of_the_scenario_answers_there_alone(either, client, tmp_path):
    document = {
        "sandboxes": [{"name": "a", "commands": ["hello > said"]}, {"name": "b"}],
        "stubs": [{"match": "hello*", "sandbox": "a", "output": "stubbed"}],
        "programs": [{"program": "hullo", "sandbox": "b", "output": "stubbed too"}],
    }
    (tmp_path / "s.json").write_text(json.dumps(document))
    boxes = either.load_scenario(tmp_path / "s.json").sandboxes
    said = [client.sandboxes.exec(boxes[name], "hello").output for name in "ab"]
    assert said[0] == "stubbed"
    assert "not found" in said[1]
    said = [client.sandboxes.exec(boxes[name], "sh -c hullo").output for name in "ab"]
    assert "not found" in said[0]
    assert said[1] == "stubbed too"


CONTROLS = """
[clock]
freeze = "2030-01-01T00:00:00Z"

[[stubs]]
match = "hello"
output = "for all"

[agents.claude]
replies = ["said to all"]

[[faults]]
operation = "files.list"
status = 503
"""


@pytest.fixture(params=["local", "remote"])
def either_of_its_own(request, own_emulator):
    """An emulator of the test alone, and the same one held in this process or by URL."""
    emulator = own_emulator()
    if request.param == "local":
        yield emulator, emulator
        return
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        yield emulator, remote


def test_controls_can_be_for_every_account_but_sandboxes_and_keys_cannot(either_of_its_own, tmp_path):
    emulator, chosen = either_of_its_own
    file = tmp_path / "s.toml"
    file.write_text(CONTROLS)
    chosen.load_scenario(file, account="*")
    for account in (emulator.create_account(), emulator.create_account()):
        with emulator.client(account.api_key, max_retries=0) as caged:
            box = caged.sandboxes.create(agents=["claude"])
            assert box.created_at == "2030-01-01T00:00:00.000Z"
            assert caged.sandboxes.exec(box.id, "hello").output == "for all"
            assert caged.sandboxes.exec(box.id, "claude -p x").output == "said to all\n"
            with pytest.raises(CagedServerError):
                caged.files.list(box.id)
    before = emulator.clock.now()
    for entry, named in (("[[sandboxes]]", "sandboxes"), ("[[keys]]\nname = 'a'", "keys")):
        file.write_text(CONTROLS.replace("2030", "2031") + entry)
        with pytest.raises(ScenarioError, match=rf"{named}\[0\]: belongs to one account"):
            chosen.load_scenario(file, account="*")
    assert emulator.clock.now() == before


def test_load_for_an_account_that_does_not_exist_is_refused(either, file):
    with pytest.raises(EmulatorError, match="account not found: acct_nope"):
        either.load_scenario(file, account="acct_nope")


def test_load_for_another_account_goes_there(either, client, other, file):
    loaded = either.load_scenario(file, account=other.id)
    assert client.sandboxes.list() == []
    with either.client(other.api_key) as caged:
        assert {box.id for box in caged.sandboxes.list()} == set(loaded.sandboxes.values())


def test_forty_loads_at_a_time_succeed(emulator, new_account):
    document = {
        "sandboxes": [{"name": "web", "files": {"a": "1", "b": "2"}, "commands": ["cat a b > c"]}],
        "programs": [{"program": "npm", "output": "x"}],
    }
    accounts = [new_account() for _ in range(40)]

    def load(account):
        url = f"{emulator.base_url}/_emulator/scenario?account={account.id}"
        headers = {"Authorization": f"Bearer {emulator.admin_key}"}
        return httpx.post(
            url, json={"scenario": document}, headers=headers, trust_env=False, verify=False, timeout=90
        ).status_code

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(load, accounts)) == [201] * 40
    assert len(emulator.inventory.sandboxes(account="*")) >= 40


def test_forty_functions_of_agents_that_write_files_at_a_time_succeed(emulator, new_account):
    def answer(_prompt, workplace):
        workplace.write("a", "1")
        return workplace.read("a")

    def ask(account):
        with emulator.client(account.api_key) as caged:
            box = caged.sandboxes.create(agents=["claude"])
            return caged.sandboxes.exec(box.id, "claude -p x").output

    accounts = [new_account() for _ in range(40)]
    for account in accounts:
        emulator.agent("claude").reply(answer, account=account.id)
    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(ask, accounts)) == ["1\n"] * 40


@pytest.mark.parametrize("path", ["/etc/hostname", "data.txt", "../../../../../../etc/hostname"])
def test_from_is_refused_over_http(admin, client, path):
    scenario = {"sandboxes": [{"files": {"x": {"from": path}}}]}
    refused = admin.post("/_emulator/scenario", json={"scenario": scenario})
    assert refused.status_code == 400
    assert "only the program that reads a scenario file can resolve" in refused.json()["detail"]
    assert client.sandboxes.list() == []


def test_from_is_read_beside_the_scenario_file_and_not_where_the_emulator_runs(either, client, tmp_path, monkeypatch):
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir(), here.mkdir()
    (there / "data.txt").write_bytes(b"beside the scenario\r\n")
    (here / "data.txt").write_text("where the program runs")
    (there / "s.json").write_text(json.dumps({"sandboxes": [{"files": {"x": {"from": "data.txt"}}}]}))
    monkeypatch.chdir(here)
    box = either.load_scenario("../there/s.json").sandboxes["sandbox-1"]
    assert client.files.read_bytes(box, "x") == b"beside the scenario\r\n"


def test_scenario_with_more_files_than_another_request_may_hold_loads(double, client, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name * 7 * 1024**2)
    files = {name: {"from": name} for name in ("a", "b")}
    (tmp_path / "s.json").write_text(json.dumps({"sandboxes": [{"files": files}]}))
    box = double.load_scenario(tmp_path / "s.json").sandboxes["sandbox-1"]
    assert client.sandboxes.exec(box, "cat a b | wc -c").output.strip() == str(14 * 1024**2)


def test_over_http_too(admin, client):
    made = admin.post("/_emulator/scenario", json={"scenario": {"sandboxes": [{"name": "one"}]}})
    assert made.status_code == 201
    assert [box.id for box in client.sandboxes.list()] == [made.json()["sandboxes"]["one"]]
    refused = admin.post("/_emulator/scenario", json={"scenario": {"sandboxes": [{"cpus": 99}]}})
    assert refused.status_code == 400
    assert "sandboxes[0]: cpus" in refused.json()["detail"]


def test_an_emulator_starts_with_one(file):
    with Emulator(scenario=file, allow_unused=True) as emulator:
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
    with Emulator(state_dir=state, scenario=file, allow_unused=True) as emulator:
        first = set(emulator.loaded.sandboxes.values())
    with Emulator(state_dir=state, scenario=file, allow_unused=True) as emulator, emulator.client() as caged:
        assert {box.id for box in caged.sandboxes.list()} == first
        assert emulator.loaded.sandboxes == {}


@pytest.mark.parametrize("path", [{"sandboxes": []}, None, 5])
def test_load_of_what_is_not_a_path_says_what_is_needed(emulator, path):
    with pytest.raises(TypeError, match=r"path: must be the path of a scenario file \(a str or a Path\), not "):
        emulator.load_scenario(path)
