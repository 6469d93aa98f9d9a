"""Arguments of the wrong type are refused by a sentence that names them, before anything is sent."""

import asyncio
import inspect
import pathlib
from datetime import timedelta

import httpx
import pytest
from cases import each
from sdk_driver import KEY, js

from caged import (
    AsyncCaged,
    Caged,
    CagedError,
    EventPayload,
    NotificationConfigUpdate,
    RuleConfig,
    Sandbox,
    SandboxCreateParams,
)

GROUPS = (
    "account", "alerts", "billing", "events", "files", "notifications", "sandboxes", "sessions", "snapshots",
)  # fmt: skip
GOOD = {
    "after_seq": 1, "agents": ["claude"], "alert_id": "a", "allowlist": ["a.b"], "budget": 1.5, "cols": 80,
    "command": "true", "config": RuleConfig(idle_minutes=1), "content": "", "cpus": 1, "description": "d",
    "disk_gb": 1, "enabled": True, "env": {"A": "b"}, "events": [EventPayload("error")], "harness_id": "h",
    "init_script": "true", "keep": True, "key_id": "k", "limit": 1, "memory_mb": 512, "name": "n",
    "network_mode": "full", "notification_id": "n", "offset": 1, "packages": ["p"], "page": 1, "path": "p",
    "per_page": 1, "persona_id": "p", "plan": "pro", "repo": "r", "repo_branch": "b", "repo_commit": "c",
    "repo_subdir": "s", "repo_token": "t", "rows": 24, "rule_id": "r", "sandbox_id": "s", "scope": "full",
    "secrets": ["S"], "session_id": "s", "snapshot_id": "s", "tail": 1, "target_sandbox_id": "s", "template": "minimal",
    "timeout": 5, "type": "error", "unread_only": True, "update": NotificationConfigUpdate(),
}  # fmt: skip


def parameters():
    client = Caged(KEY, "http://h", transport=httpx.MockTransport(js([])))
    for group in GROUPS:
        for name, method in inspect.getmembers(getattr(client, group), inspect.ismethod):
            if not name.startswith("_"):
                for parameter in inspect.signature(method).parameters:
                    yield pytest.param(group, name, parameter, id=f"{group}.{name}-{parameter}")


def finish(result):
    """Whatever a call gave, to its end: a value, an iterator, or something to await."""
    if inspect.isgenerator(result):
        return list(result)

    async def main():
        if hasattr(result, "__aiter__"):
            return [item async for item in result]
        return await result

    if inspect.isawaitable(result) or hasattr(result, "__aiter__"):
        return asyncio.run(main())
    return list(result) if hasattr(result, "__next__") else result


@each("client_class", [Caged, AsyncCaged])
@each(("group", "method", "parameter"), list(parameters()))
def test_argument_of_a_wrong_type_is_refused_before_any_request(client_class, group, method, parameter):
    def refuse(request):
        raise AssertionError(f"{request.method} {request.url} was sent")

    client = client_class(KEY, "http://h", transport=httpx.MockTransport(refuse))
    call = getattr(getattr(client, group), method)
    required = [
        name for name, one in inspect.signature(call).parameters.items() if one.default is inspect.Parameter.empty
    ]
    for wrong in (object(), {1, 2}):
        arguments = {name: GOOD[name] for name in {*required, parameter}}
        if method == "restore":
            arguments["target_sandbox_id"] = "s"  # without one, the snapshot is looked up first
        arguments[parameter] = wrong
        with pytest.raises(CagedError, match=rf"^{parameter} must be .*, not {type(wrong).__name__}"):
            finish(call(**arguments))


@each(
    ("use", "sentence"),
    [
        (lambda c: c.sandboxes.get(None), "sandbox_id must be a str, not NoneType; pass the id that the API gave"),
        (lambda c: c.sandboxes.get(Sandbox(id="s")), "sandbox_id must be a str, not Sandbox; pass its .id"),
        (lambda c: c.sandboxes.exec("s", ["ls", "-l"]), "command must be a str, not list; pass shlex.join(command)"),
        (lambda c: c.sandboxes.exec("s", "ls", timeout=timedelta(minutes=1)),
         "timeout must be a number, not timedelta; pass timeout.total_seconds()"),
        (lambda c: c.files.read("s", pathlib.PurePosixPath("/a")),
         "path must be a str, not PurePosixPath; pass str(path)"),
        (lambda c: c.files.write("s", "a", b"\x00"),
         "content must be a str, not bytes; the API takes text only, decode it first"),
        (lambda c: c.sandboxes.create(packages="git"), "packages must be a list of str, not str; pass [packages]"),
        (lambda c: c.sandboxes.create(env={"A": 1}), "env['A'] must be a str, not int"),
        (lambda c: c.sandboxes.create(env=["A=1"]), "env must be a dict of str to str, not list"),
        (lambda c: c.sandboxes.create(5), "template must be a str, not int"),
        (lambda c: c.alerts.update_rule("r", config={"idle_minutes": 1}), "config must be a RuleConfig, not dict"),
    ],
)  # fmt: skip
def test_sentence_says_what_to_pass_instead(driver, use, sentence):
    with pytest.raises(CagedError) as caught:
        driver.run(js([]), use)
    assert str(caught.value) == sentence
    assert driver.requests == []


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [
        ("templat", "; did you mean 'template'?"), ("Template", "; did you mean 'template'?"),
        ("memory", "; did you mean 'memory_mb'?"), ("networkmode", "; did you mean 'network_mode'?"),
        ("agent", "; did you mean 'agents'?"), ("xyz", ""),
    ],
)  # fmt: skip
def test_unknown_keyword_of_create_is_refused_with_the_nearest(driver, keyword, hint):
    with pytest.raises(CagedError) as caught:
        driver.run(js({}), lambda c: c.sandboxes.create(**{keyword: "x"}))
    assert str(caught.value) == f"sandboxes.create has no argument {keyword!r}{hint}"
    assert driver.requests == []


def test_create_takes_what_its_parameters_hold(driver):
    driver.run(js({}), lambda c: c.sandboxes.create(**vars(SandboxCreateParams(cpus=3))))
    assert driver.request.content == b'{"template":"minimal","cpus":3}'


@pytest.mark.parametrize(
    "use",
    [
        lambda c: c.files.read("s", ""), lambda c: c.sandboxes.exec("s", ""), lambda c: c.alerts.list(limit=-5),
        lambda c: c.account.create_key("", scope="nonsense"), lambda c: c.sandboxes.create(network_mode="nonsense"),
        lambda c: c.sandboxes.create(cpus=1000, budget=-1), lambda c: c.billing.create_checkout("nonsense"),
    ],
)  # fmt: skip
def test_values_of_the_right_type_are_left_to_the_platform(driver, use):
    with pytest.raises(CagedError, match="refused by the platform"):
        driver.run(js({"detail": "refused by the platform"}, 400), use)
    assert len(driver.requests) == 1


@pytest.mark.parametrize("client_class", [Caged, AsyncCaged])
@pytest.mark.parametrize(
    "url", ["http://h/v1", "http://h/v1/", "http://h/v1///", "https://h:8443/prefix/v1", "http://h/V1"]
)
def test_base_url_that_ends_in_v1_is_refused(client_class, url, monkeypatch):
    sentence = r"must not end in /v1, which the client adds; leave it out$"
    with pytest.raises(CagedError, match=f"^base_url {sentence}"):
        client_class(KEY, url)
    monkeypatch.setenv("CAGED_BASE_URL", url)
    with pytest.raises(CagedError, match=rf"^base_url \(from CAGED_BASE_URL\) {sentence}"):
        client_class(KEY)


@pytest.mark.parametrize("prefix", ["/v1x", "/apiv1", "/v1/pre", "/v2", "/-v1"])
def test_other_prefixes_of_base_url_are_kept(driver, prefix):
    driver.run(js([]), lambda c: c.sandboxes.list(), base_url=f"http://h{prefix}/")
    assert driver.request.url.path == f"{prefix}/v1/sandboxes"


@pytest.mark.parametrize("client_class", [Caged, AsyncCaged])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"api_key": 5}, "api_key must be a str, not int"),
        ({"api_key": b"k"}, "api_key must be a str, not bytes; the API takes text only, decode it first"),
        ({"base_url": httpx.URL("http://h")}, "base_url must be a str, not URL"),
        ({"timeout": timedelta(seconds=5)}, "timeout must be a number, not timedelta; pass timeout.total_seconds()"),
        ({"timeout": httpx.Timeout(5)}, "timeout must be a number, not Timeout"),
        ({"timeout": "5"}, "timeout must be a number, not str"),
        ({"max_retries": 2.0}, "max_retries must be an int, not float"),
    ],
)
def test_client_cannot_be_made_with_a_wrong_type(client_class, arguments, sentence):
    with pytest.raises(CagedError) as caught:
        client_class(**{"api_key": KEY, "base_url": "http://h", **arguments})
    assert str(caught.value) == sentence


def test_deprecation_of_event_data_points_at_the_callers_line(driver):
    def ingest(client):
        return client.events.ingest([EventPayload("error", data={}), EventPayload("error", data={})])

    with pytest.warns(DeprecationWarning, match="use EventPayload.payload") as warned:
        driver.run(js({}), ingest if driver.kind == "sync" else awaiting)
    assert {warning.filename for warning in warned} == {__file__}


async def awaiting(client):
    return await client.events.ingest([EventPayload("error", data={}), EventPayload("error", data={})])
