"""Creating a sandbox: defaults, ranges, names, and what is refused."""

import asyncio
import re

import pytest
from cases import each
from emulator_testing import assert_problem
from internals import call_on_loop, platform_of

TEMPLATES = ["minimal", "node-20", "node-22", "python-311", "python-312", "go-122", "desktop"]


def create(api, **fields):
    return api.post("/sandboxes", json={"template": "minimal", **fields})


def test_a_new_sandbox_runs_and_has_the_defaults(api):
    response = api.post("/sandboxes", json={"template": "minimal"})
    assert response.status_code == 201
    made = response.json()
    assert re.fullmatch(r"cage_[a-z0-9]{8}", made["id"])
    assert made["status"] == "running"
    assert (made["cpus"], made["memory_mb"], made["disk_gb"], made["timeout"]) == (2, 512, 5, 900)
    assert (made["network_mode"], made["template"]) == ("full", "minimal")
    assert (made["cost"], made["llm_cost"], made["total_cost"]) == (0, 0, 0)
    assert made["created_at"] <= made["started_at"]
    assert not {"repo_url", "budget", "init_script", "stopped_at", "config"} & set(made)


def test_every_field_is_kept(api):
    fields = {
        "cpus": 8,
        "memory_mb": 8192,
        "disk_gb": 50,
        "network_mode": "allowlist",
        "allowlist": ["*.github.com"],
        "budget": 2.5,
        "init_script": "true",
        "timeout": 60,
        "persona_id": "p",
        "harness_id": "h",
    }
    made = create(api, **fields).json()
    for name in ("cpus", "memory_mb", "disk_gb", "network_mode", "budget", "init_script", "timeout"):
        assert made[name] == fields[name]
    assert api.get(f"/sandboxes/{made['id']}").json()["budget"] == 2.5


def test_zero_and_null_mean_the_default(api):
    names = ("cpus", "memory_mb", "disk_gb", "timeout", "budget")
    usual = create(api).json()
    for value in (0, None):
        made = create(api, **dict.fromkeys(names, value)).json()
        assert {name: made.get(name) for name in names} == {name: usual.get(name) for name in names}, value


def test_null_means_unset_for_every_field(api):
    names = (
        "network_mode allowlist env repo repo_token repo_branch repo_commit repo_subdir init_script secrets packages"
    )
    assert create(api, **dict.fromkeys([*names.split(), "agents"])).json()["status"] == "running"


def test_the_ends_of_a_range_are_accepted(api):
    for ends in ({"cpus": 1, "memory_mb": 128, "disk_gb": 1}, {"cpus": 8, "memory_mb": 8192, "disk_gb": 50}):
        made = create(api, **ends).json()
        assert {name: made[name] for name in ends} == ends


@each(
    ("name", "value"),
    [
        ("cpus", 9),
        ("cpus", -1),
        ("cpus", 10**30),
        ("cpus", -(2**63) - 1),
        ("memory_mb", 127),
        ("memory_mb", 8193),
        ("memory_mb", -512),
        ("disk_gb", 51),
        ("disk_gb", -1),
        ("network_mode", "half"),
        ("network_mode", "FULL"),
        ("budget", -0.01),
        ("timeout", -1),
        ("repo_branch", "--upload-pack=touch /tmp/x"),
        ("repo_commit", "-x"),
        ("repo", "--upload-pack=x"),
        ("repo", "ext::sh -c id"),
        ("repo", "http://[::1"),
        ("repo", "https://["),
        ("repo", "http://h\u2100st/"),
        ("repo", "/a\0b"),
        ("repo_subdir", "../up"),
        ("repo_subdir", "a/../../b"),
        ("init_script", "echo \0"),
        ("packages", ["--index-url=http://evil.example"]),
        ("packages", [""]),
        ("packages", [" "]),
        ("packages", ["a\0b"]),
        ("agents", ["hal"]),
        ("agents", [""]),
        ("agents", ["Claude"]),
    ],
)
def test_a_value_out_of_range_is_a_400_naming_the_field(api, name, value):
    fields = {"repo": "/x"} if name.startswith("repo_") else {}
    assert_problem(create(api, **{**fields, name: value}), 400, name.split("_")[0])
    assert api.get("/sandboxes").json() == []


WRONG = {
    "template": [1, True, [], {}, 1.5],
    "cpus": ["2", 1.0, 2.5, True, [], {}],
    "memory_mb": ["512", 512.0, False],
    "disk_gb": ["5", {}],
    "network_mode": [1, []],
    "allowlist": ["host", {"a": 1}, [1], [None]],
    "env": ["A=1", [], {"A": 1}, {"A": None}, {"A": ["x"]}, {"A": True}],
    "repo": [1, []],
    "repo_token": [1],
    "repo_branch": [1],
    "repo_commit": [0],
    "repo_subdir": [[]],
    "budget": ["1", True, [], {}],
    "init_script": [1, ["true"]],
    "secrets": ["A", {"A": "x"}, [1]],
    "timeout": ["900", 1.5, True],
    "packages": ["httpx", [1], {"a": "b"}],
    "agents": ["claude", [1], [["claude"]]],
    "persona_id": [1],
    "harness_id": [{}],
}


@each(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_type_is_a_400_naming_the_field(api, name, value):
    response = create(api, **{name: value})
    assert_problem(response, 400)
    assert response.json()["detail"].startswith(name)
    assert api.get("/sandboxes").json() == []


@pytest.mark.parametrize("budget", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 500])
def test_a_budget_must_be_finite(api, budget):
    response = api.post("/sandboxes", content=b'{"template": "minimal", "budget": ' + budget + b"}")
    assert_problem(response, 400, "budget")


def test_the_text_for_a_negative_timeout_is_the_platforms(api):
    assert create(api, timeout=-1).json()["detail"] == "timeout cannot be negative"


def test_a_longer_timeout_than_allowed_is_cut(api):
    assert create(api, timeout=10**30).json()["timeout"] == 24 * 3600


@pytest.mark.parametrize("allowlist", [None, []])
def test_allowlist_mode_needs_hosts(api, allowlist):
    assert_problem(create(api, network_mode="allowlist", allowlist=allowlist), 400, "allowlist")


@pytest.mark.parametrize("mode", ["full", "none"])
def test_other_network_modes_need_none(api, mode):
    assert create(api, network_mode=mode).json()["network_mode"] == mode


@pytest.mark.parametrize("name", ["", "A=B", "A B", "A\tB", "A\nB", " ", "=", "\0", "A\0"])
def test_an_env_key_that_no_shell_takes_is_a_400(api, name):
    assert_problem(create(api, env={name: "x"}), 400, "env")


def test_an_env_value_with_a_nul_is_a_400_that_does_not_show_it(api):
    response = create(api, env={"KEY": "hush\0hush"})
    assert_problem(response, 400, "KEY")
    assert "hush" not in response.text


@pytest.mark.parametrize("template", [None, "", "ubuntu", "Minimal", "python-3.12", "../minimal"])
def test_an_unknown_template_is_a_400_that_lists_the_valid_ones(api, template):
    response = api.post("/sandboxes", json={"template": template})
    assert_problem(response, 400, "template")
    for name in [*TEMPLATES, "node", "python", "gui", "computer"]:
        assert name in response.json()["detail"]


def test_an_unknown_agent_is_a_400_that_lists_the_valid_ones(api):
    detail = create(api, agents=["aider", "hal"]).json()["detail"]
    for name in ["claude-code", "claude", "aider", "codex", "grok", "cline", "continue", "goose"]:
        assert name in detail


@pytest.mark.parametrize(("requested", "given"), [(None, 1024), (512, 1024), (1023, 1024), (2048, 2048)])
def test_agents_raise_the_memory(api, requested, given):
    assert create(api, agents=["claude"], memory_mb=requested).json()["memory_mb"] == given


def test_unknown_keys_are_ignored_and_noted_in_the_journal(api):
    response = create(api, colour="red", budget_usd=3, model_config=1, __class__=2)
    assert response.status_code == 201
    assert "budget" not in response.json()
    entry = api.emulator.journal.requests(account=api.account_id)[-1]
    assert (entry.operation, entry.status) == ("sandboxes.create", 201)
    for name in ("colour", "budget_usd", "model_config", "__class__"):
        assert any(repr(name) in warning for warning in entry.warnings)


def test_idle_timeout_beyond_the_plans_is_cut_and_noted_in_the_journal(api):
    response = create(api, timeout=10**7)
    assert response.json()["timeout"] == 86400
    (entry,) = api.emulator.journal.requests(account=api.account_id)
    assert entry.warnings == ["timeout is cut to the plan's most, 86400 s"]


def test_the_last_of_two_equal_keys_counts(api):
    response = api.post("/sandboxes", content=b'{"template": "nonsense", "template": "minimal"}')
    assert response.json()["template"] == "minimal"


def test_the_init_script_has_run_when_create_answers(api):
    box = api.sandbox(init_script="echo $X > made; false; true", env={"X": "1"})
    assert api.read(box, "made").text == "1\n"


def test_an_init_script_that_fails_leaves_a_sandbox_in_error_that_says_why(api):
    response = create(api, init_script="echo before; echo the reason >&2; exit 3")
    assert (response.status_code, response.json()["status"]) == (201, "error")
    assert "started_at" not in response.json()
    log = api.log_text(response.json()["id"])
    assert "init_script failed with exit code 3" in log
    assert "the reason" in log


def test_a_package_that_cannot_be_installed_leaves_a_sandbox_in_error(api):
    response = create(api, template="python", packages=["/nonexistent/package"])
    assert (response.status_code, response.json()["status"]) == (201, "error")
    assert "/nonexistent/package" in api.log_text(response.json()["id"])


def test_the_list_is_in_the_order_of_creation(api):
    made = [api.sandbox() for _ in range(3)]
    assert [found["id"] for found in api.get("/sandboxes").json()] == made


def test_a_listed_sandbox_has_all_that_a_single_one_has(api, box):
    (listed,) = api.get("/sandboxes").json()
    single = api.get(f"/sandboxes/{box}").json()
    assert set(listed) == set(single)


def test_a_seed_repeats_the_ids(own_emulator, new_api):
    runs = []
    for _ in range(2):
        api = new_api(own_emulator(seed=7))
        box = api.sandbox()
        runs.append((api.account_id, box, api.snapshot(box)))
    assert runs[0] == runs[1]


def test_without_a_seed_the_ids_differ(own_emulator, new_api):
    assert new_api(own_emulator()).sandbox() != new_api(own_emulator()).sandbox()


def test_the_next_directory_is_made_once_by_two_creates_at_the_same_time(own_emulator):
    emulator = own_emulator()
    site = platform_of(emulator).provisioner

    async def twice():
        await asyncio.gather(site.prepare(), site.prepare())

    call_on_loop(emulator, twice())
    assert site._has_spare


@pytest.mark.parametrize(("template", "warned"), [("go-122", True), ("minimal", False), ("python-311", False)])
def test_a_template_of_older_documentation_leaves_a_warning(api, template, warned):
    assert api.post("/sandboxes", json={"template": template}).status_code == 201
    (entry,) = api.emulator.journal.requests(operation="sandboxes.create", account=api.account_id)
    assert [text for text in entry.warnings if "older documentation" in text] == [
        f"template {template} is in older documentation only; the platform may refuse it"
    ] * warned


def test_follow_is_ignored_with_a_warning(api, box):
    assert api.get(f"/sandboxes/{box}/logs", params={"follow": "true"}).status_code == 200
    (entry,) = api.emulator.journal.requests(operation="sandboxes.logs", account=api.account_id)
    assert entry.warnings == ["follow has no effect, here and on the platform: ask again for newer lines"]
