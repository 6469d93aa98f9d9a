"""Options without effect: the answer is the platform's, and journal and log say what did not happen."""

from __future__ import annotations

import json

import pytest
from cases import each
from emulator_testing import Api

MINIMAL = {"template": "minimal"}


def warnings_of(api: Api) -> list[str]:
    """Return the warnings of the account's newest request."""
    return list(api.emulator.for_account(api.account_id).journal.requests()[-1].warnings)


def create(api: Api, **fields: object) -> tuple[str, list[str]]:
    made = api.post("/sandboxes", json={**MINIMAL, **fields})
    assert made.status_code == 201, made.text
    return made.json()["id"], warnings_of(api)


@each(
    ("fields", "warning"),
    [
        ({"allowlist": ["pypi.org"]}, "allowlist has no effect: network_mode is full, so every host can be reached"),
        ({"allowlist": ["pypi.org"], "network_mode": ""}, "allowlist has no effect: network_mode is full"),
        ({"allowlist": ["pypi.org"], "network_mode": "full"}, "allowlist has no effect: network_mode is full"),
        ({"repo_branch": "main"}, "repo_branch has no effect: there is no repo to clone"),
        ({"repo_commit": "abc"}, "repo_commit has no effect: there is no repo to clone"),
        ({"repo_subdir": "docs"}, "repo_subdir has no effect: there is no repo to clone"),
        ({"repo_token": "t0ken", "repo": ""}, "repo_token has no effect: there is no repo to clone"),
        ({"secrets": ["TOKEN"]}, "secrets: 'TOKEN' has no effect: env sets no such variable"),
        ({"secrets": ["TOKEN"], "env": {"token": "x"}}, "secrets: 'TOKEN' has no effect: env sets no such variable"),
        ({"secrets": ["TOKEN"], "env": {"TOKEN": ""}}, "secrets: 'TOKEN' has no effect: its value in env is empty"),
        ({"persona_id": "p"}, "persona_id has no effect"),
        ({"harness_id": "h"}, "harness_id has no effect"),
        ({"timeout": 10**6}, "timeout is cut to the plan's most, 86400 s"),
        ({"timeout": 0}, "timeout 0 means the default, 900"),
        ({"budget": 0}, "budget 0 means that there is no budget"),
        ({"cpus": 0}, "cpus 0 means the default, 2"),
        ({"memory_mb": 0}, "memory_mb 0 means the default, 512"),
        ({"disk_gb": 0}, "disk_gb 0 means the default, 5"),
        ({"memory_mb": 512, "agents": ["claude"]}, "memory_mb is raised to 1024, which agents need"),
    ],
)
def test_option_without_effect_is_accepted_and_noted(api, fields, warning):
    box, warnings = create(api, **fields)
    assert len(warnings) == 1, warnings
    assert warnings[0].startswith(warning)
    assert [line["message"] for line in api.logs(box) if line["type"] == "warning"] == warnings


@pytest.mark.parametrize("mode", ["none", "allowlist"])
def test_network_options_without_effect_are_noted(api, mode):
    if api.emulator.isolation == "process":
        pytest.skip("the process level cannot enforce a network mode")
    hosts = ["https://pypi.org/simple", "pypi.org", "*", "api.*.com", "*.pypi.org", "a.b:8443", "127.0.0.1:80", "[::1]"]
    box, warnings = create(api, allowlist=hosts, network_mode=mode)
    if mode == "none":
        assert warnings == [
            "allowlist has no effect: network_mode is none, so no host can be reached; set network_mode to allowlist"
        ]
    else:
        assert [text.split("'")[1] for text in warnings] == ["https://pypi.org/simple", "*", "api.*.com"]
    assert [line["message"] for line in api.logs(box) if line["type"] == "warning"] == warnings


def test_network_mode_that_is_not_enforced_is_noted(own_emulator, new_api):
    api = new_api(own_emulator(isolation="process", allow_unenforced=True))
    box, warnings = create(api, network_mode="none")
    assert warnings == ["network_mode none is not enforced: the network is open"]
    assert "network_mode none is not enforced" in api.log_text(box)


def test_limits_that_are_not_enforced_are_noted(own_emulator, new_api):
    api = new_api(own_emulator(limits=False))
    _box, warnings = create(api, cpus=1, memory_mb=128)
    assert warnings == ["cpus, memory_mb: not enforced, because the emulator runs without limits"]
    assert create(api)[1] == []


def test_repository_options_without_effect_are_noted(api, git, tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    git("init", "-q", "-b", "main", cwd=repo)
    (repo / "a").write_text("a")
    git("add", ".", cwd=repo)
    git("commit", "-q", "-m", "first", cwd=repo)
    commit = git("rev-parse", "HEAD", cwd=repo)
    box, warnings = create(api, repo=str(repo), repo_token="t0ken-value", repo_branch="main", repo_commit=commit)
    assert warnings == [
        "repo_token has no effect: it is sent to http and https repositories only",
        "repo_branch does not decide what is checked out: repo_commit does",
    ]
    assert "t0ken-value" not in api.log_text(box)
    assert create(api, repo=str(repo), repo_branch="main")[1] == []


def test_options_of_a_create_that_fails_are_noted_as_well(api):
    box, warnings = create(api, init_script="exit 3", budget=0)
    assert api.status(box) == "error"
    assert warnings == ["budget 0 means that there is no budget"]
    assert "budget 0" in api.log_text(box)


def test_options_with_effect_are_not_noted(api):
    used = {"env": {"A": "b"}, "secrets": ["A"], "budget": 1.5, "timeout": 60, "cpus": 1, "memory_mb": 1024}
    box, warnings = create(api, **used, agents=["claude"], disk_gb=1, init_script="true")
    assert warnings == []
    assert "warning" not in [line["type"] for line in api.logs(box)]


def test_answer_is_the_same_with_and_without_an_unused_option(api):
    without = api.post("/sandboxes", json=MINIMAL).json()
    with_it = api.post("/sandboxes", json={**MINIMAL, "allowlist": ["pypi.org"], "budget": 0}).json()
    assert set(without) == set(with_it)
    assert without["network_mode"] == with_it["network_mode"] == "full"


# --- any request


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("GET", "/sandboxes?status=running", "the call has none"),
        ("GET", "/sandboxes/{box}?status=running", "the call has none"),
        ("GET", "/sandboxes/{box}/logs?status=5&tail=3", "known: tail, follow"),
        ("GET", "/sandboxes/{box}/files?status=x&path=/tmp", "known: path"),
        ("GET", "/sessions?status=active", "known: page, per_page"),
        ("GET", "/alerts?status=open", "known: limit, offset"),
        ("GET", "/notifications?status=1", "known: limit, unread"),
        ("POST", "/sandboxes/{box}/pause?status=now", "the call has none"),
        ("DELETE", "/sandboxes/{box}?status=1", "the call has none"),
    ],
)
def test_unknown_query_parameter_is_ignored_and_noted(api, box, method, path, known):
    answer = api.request(method, path.format(box=box))
    assert answer.status_code in (200, 204)
    assert warnings_of(api) == [f"unknown query parameter 'status' is ignored ({known})"]


@pytest.mark.parametrize(
    ("path", "warning"),
    [
        ("/sandboxes/{box}/logs?follow=true", "follow has no effect"),
        ("/sandboxes/{box}/logs?tail=5000", "tail is cut to 1000"),
        ("/notifications?unread=1", "unread=1 has no effect: use unread=true"),
    ],
)
def test_known_query_parameter_without_effect_is_noted(api, box, path, warning):
    assert api.get(path.format(box=box)).status_code == 200
    (noted,) = warnings_of(api)
    assert noted.startswith(warning)


def test_query_parameters_with_effect_are_not_noted(api, box):
    for path in (f"/sandboxes/{box}/logs?tail=3&follow=false", "/notifications?unread=true", "/sessions?page=1"):
        assert api.get(path).status_code == 200
        assert warnings_of(api) == []


def test_body_of_a_call_that_takes_none_is_noted(api, box):
    assert api.post(f"/sandboxes/{box}/pause", json={"force": True}).status_code == 204
    assert warnings_of(api) == ["the body is ignored: the call takes none"]
    assert api.post(f"/sandboxes/{box}/resume", json={}).status_code == 204
    assert warnings_of(api) == []


def test_restore_into_two_sandboxes_notes_which_is_not_used(api, box):
    snapshot = api.snapshot(box)
    body = {"target_sandbox_id": box, "sandbox_id": "cage_other"}
    assert api.post(f"/snapshots/{snapshot}/restore", content=json.dumps(body)).status_code == 200
    assert warnings_of(api) == ["sandbox_id has no effect: target_sandbox_id is set"]
