"""What goes over the wire for every call."""

import json

import httpx
import pytest
from cases import each
from sdk_driver import KEY, js

import caged
from caged import CagedError, Sandbox, __version__

S, N = "/v1/sandboxes/cage_1", "/v1/snapshots/snap_1"

CALLS = [
    ("create", lambda c: c.sandboxes.create(), "POST", "/v1/sandboxes", b'{"template":"minimal"}', {}),
    ("list", lambda c: c.sandboxes.list(), "GET", "/v1/sandboxes", b"", []),
    ("get", lambda c: c.sandboxes.get("cage_1"), "GET", S, b"", {}),
    ("pause", lambda c: c.sandboxes.pause("cage_1"), "POST", S + "/pause", b"", None),
    ("resume", lambda c: c.sandboxes.resume("cage_1"), "POST", S + "/resume", b"", None),
    ("destroy", lambda c: c.sandboxes.destroy("cage_1"), "DELETE", S, b"", None),
    ("exec", lambda c: c.sandboxes.exec("cage_1", "ls"), "POST", S + "/exec", b'{"command":"ls"}', {}),
    ("exec empty", lambda c: c.sandboxes.exec("cage_1", ""), "POST", S + "/exec", b'{"command":""}', {}),
    ("logs", lambda c: c.sandboxes.logs("cage_1"), "GET", S + "/logs", b"", []),
    ("logs tail", lambda c: c.sandboxes.logs("cage_1", tail=0), "GET", S + "/logs?tail=0", b"", []),
    ("files", lambda c: c.files.list("cage_1"), "GET", S + "/files?path=%2Fworkspace", b"", []),
    ("files none", lambda c: c.files.list("cage_1", None), "GET", S + "/files", b"", []),
    ("read", lambda c: c.files.read("cage_1", "/a b"), "GET", S + "/files/content?path=%2Fa+b", b"", ""),
    ("bytes", lambda c: c.files.read_bytes("cage_1", ""), "GET", S + "/files/content?path=", b"", ""),
    (
        "write",
        lambda c: c.files.write("cage_1", "/a&b", "é\n"),
        "PUT",
        S + "/files/content?path=%2Fa%26b",
        '{"content":"é\\n"}'.encode(),
        None,
    ),
    ("diff", lambda c: c.files.git_diff("cage_1"), "GET", S + "/git/diff", b"", {}),
    ("diff at", lambda c: c.files.git_diff("cage_1", "/w"), "GET", S + "/git/diff?path=%2Fw", b"", {}),
    ("snapshots", lambda c: c.snapshots.list("cage_1"), "GET", S + "/snapshots", b"", []),
    ("snapshot", lambda c: c.snapshots.create("cage_1"), "POST", S + "/snapshots", b"{}", {}),
    (
        "snapshot named",
        lambda c: c.snapshots.create("cage_1", name="n", description=""),
        "POST",
        S + "/snapshots",
        b'{"name":"n"}',
        {},
    ),
    ("snapshot get", lambda c: c.snapshots.get("snap_1"), "GET", N, b"", {}),
    ("snapshot delete", lambda c: c.snapshots.delete("snap_1"), "DELETE", N, b"", None),
    ("download", lambda c: c.snapshots.download("snap_1"), "GET", N + "/download", b"", {}),
    (
        "restore",
        lambda c: c.snapshots.restore("snap_1", "cage_2"),
        "POST",
        N + "/restore",
        b'{"target_sandbox_id":"cage_2"}',
        None,
    ),
    ("account", lambda c: c.account.get(), "GET", "/v1/account", b"", {}),
    ("keys", lambda c: c.account.list_keys(), "GET", "/v1/account/keys", b"", []),
    (
        "create key",
        lambda c: c.account.create_key("ci"),
        "POST",
        "/v1/account/keys",
        b'{"name":"ci","scope":"full"}',
        {},
    ),
    ("revoke", lambda c: c.account.revoke_key("key_1"), "DELETE", "/v1/account/keys/key_1", b"", None),
    ("logins", lambda c: c.account.list_sessions(), "GET", "/v1/account/sessions", b"", []),
    ("logout", lambda c: c.account.revoke_session("a/b"), "DELETE", "/v1/account/sessions/a%2Fb", b"", None),
    ("ports", lambda c: c.sandboxes.ports("cage_1"), "GET", S + "/ports", b"", []),
    ("trust", lambda c: c.sandboxes.trust_scores("cage_1"), "GET", "/v1/trust/sandboxes/cage_1", b"", []),
    ("ticket", lambda c: c.socket_ticket(), "POST", "/v1/auth/socket-ticket", b"", {}),
    ("box sessions", lambda c: c.sessions.list_by_sandbox("cage_1"), "GET", S + "/sessions", b"", []),
    ("sessions", lambda c: c.sessions.list(), "GET", "/v1/sessions?page=1", b"", {}),
    ("sessions page", lambda c: c.sessions.list(2, per_page=0), "GET", "/v1/sessions?page=2&per_page=0", b"", {}),
    ("sessions none", lambda c: c.sessions.list(page=None), "GET", "/v1/sessions", b"", {}),
    ("session", lambda c: c.sessions.get("ses_1"), "GET", "/v1/sessions/ses_1", b"", {}),
    ("replay", lambda c: c.sessions.replay("ses_1"), "GET", "/v1/sessions/ses_1/replay", b"", {}),
    (
        "replay from",
        lambda c: c.sessions.replay("ses_1", after_seq=0, limit=0, type=""),
        "GET",
        "/v1/sessions/ses_1/replay?after_seq=0&limit=0&type=",
        b"",
        {},
    ),
    ("summary", lambda c: c.sessions.replay_summary("ses_1"), "GET", "/v1/sessions/ses_1/replay/summary", b"", {}),
    ("no events", lambda c: c.events.ingest([]), "POST", "/v1/events/ingest", b'{"events":[]}', {}),
    ("alerts", lambda c: c.alerts.list(), "GET", "/v1/alerts", b"", {}),
    ("alerts some", lambda c: c.alerts.list(5, 0), "GET", "/v1/alerts?limit=5&offset=0", b"", {}),
    ("alert", lambda c: c.alerts.get("alrt_1"), "GET", "/v1/alerts/alrt_1", b"", {}),
    ("resolve", lambda c: c.alerts.resolve("alrt_1"), "POST", "/v1/alerts/alrt_1/resolve", b"", None),
    ("rules", lambda c: c.alerts.list_rules(), "GET", "/v1/alerts/rules", b"", []),
    (
        "rule off",
        lambda c: c.alerts.update_rule("rule_1", enabled=False),
        "PUT",
        "/v1/alerts/rules/rule_1",
        b'{"enabled":false}',
        {},
    ),
    (
        "rule config",
        lambda c: c.alerts.update_rule("rule_1", True, caged.RuleConfig(error_count_threshold=5)),
        "PUT",
        "/v1/alerts/rules/rule_1",
        b'{"enabled":true,"config":{"error_count_threshold":5}}',
        {},
    ),
    (
        "rule reset",
        lambda c: c.alerts.update_rule("rule_1", config=caged.RuleConfig()),
        "PUT",
        "/v1/alerts/rules/rule_1",
        b'{"config":{}}',
        {},
    ),
    ("notifications", lambda c: c.notifications.list(), "GET", "/v1/notifications", b"", {}),
    (
        "notifications some",
        lambda c: c.notifications.list(unread_only=True, limit=5),
        "GET",
        "/v1/notifications?limit=5&unread=true",
        b"",
        {},
    ),
    ("unread", lambda c: c.notifications.list_unread(), "GET", "/v1/notifications?unread=true", b"", {}),
    (
        "count",
        lambda c: c.notifications.unread_count(),
        "GET",
        "/v1/notifications/unread-count",
        b"",
        {"unread_count": 0},
    ),
    ("read", lambda c: c.notifications.mark_read("ntf_1"), "POST", "/v1/notifications/ntf_1/read", b"", None),
    ("read all", lambda c: c.notifications.mark_all_read(), "POST", "/v1/notifications/read-all", b"", None),
    ("config", lambda c: c.notifications.get_config(), "GET", "/v1/notifications/config", b"", {}),
    (
        "no change",
        lambda c: c.notifications.update_config(caged.NotificationConfigUpdate()),
        "PUT",
        "/v1/notifications/config",
        b"{}",
        {},
    ),
    (
        "changes",
        lambda c: c.notifications.update_config(
            caged.NotificationConfigUpdate([], "", None, caged.CLEAR_CREDENTIAL, "https://d")
        ),
        "PUT",
        "/v1/notifications/config",
        b'{"enabled_channels":[],"slack_channel_id":"","slack_webhook_url":"__clear__",'
        b'"discord_webhook_url":"https://d"}',
        {},
    ),
    ("subscription", lambda c: c.billing.get_subscription(), "GET", "/v1/billing/subscription", b"", {}),
    ("usage", lambda c: c.billing.get_usage(), "GET", "/v1/billing/usage", b"", {}),
    (
        "checkout",
        lambda c: c.billing.create_checkout("pro"),
        "POST",
        "/v1/billing/checkout",
        b'{"plan_id":"pro"}',
        {"url": "https://c"},
    ),
    ("portal", lambda c: c.billing.create_portal(), "POST", "/v1/billing/portal", b"{}", {"url": ""}),
    ("cancel", lambda c: c.billing.cancel(), "POST", "/v1/billing/cancel", b"", None),
]


@each(("use", "method", "target", "body", "answer"), [row[1:] for row in CALLS])
def test_every_call_sends_its_documented_request(driver, use, method, target, body, answer):
    reply = httpx.Response(204) if answer is None else js(answer)
    if answer == "":
        reply = httpx.Response(200, text="")
    driver.run(reply, use)
    sent = driver.request
    assert (sent.method, sent.url.raw_path.decode(), sent.content) == (method, target, body)
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["accept"] == "application/json"
    assert sent.headers["user-agent"] == f"caged-python/{__version__}"
    assert sent.headers.get("content-type") == ("application/json" if body else None)
    if method == "POST" and not body:
        assert sent.headers["content-length"] == "0"


@each(
    ("use", "content"),
    [
        (lambda c: c.sandboxes.get("cage_1"), None),
        (lambda c: c.sandboxes.pause("cage_1"), None),
        (lambda c: c.sandboxes.destroy("cage_1"), None),
        (lambda c: c.sandboxes.exec("cage_1", "é"), '{"command":"é"}'.encode()),
        (lambda c: c.files.write("cage_1", "/a", ""), b'{"content":""}'),
    ],
)
def test_request_is_the_one_that_httpx_builds(driver, use, content):
    driver.run(js({}), use, timeout=7)
    sent = driver.request
    own = {name: sent.headers[name] for name in ("accept", "authorization", "user-agent")}
    with httpx.Client(headers=own, timeout=7) as client:
        given = {} if content is None else {"content-type": "application/json"}
        built = client.build_request(sent.method, sent.url, headers=given, content=content)
    assert sorted(sent.headers.multi_items()) == sorted(built.headers.multi_items())
    assert (sent.content, type(sent.stream)) == (built.content, type(built.stream))
    assert sent.extensions["timeout"].keys() == built.extensions["timeout"].keys()
    assert set(sent.extensions["timeout"].values()) == {300.0 if sent.url.path.endswith("/exec") else 7.0}


def test_cookie_of_an_answer_is_sent_with_the_next_request(driver):
    busy = httpx.Response(503, headers={"Set-Cookie": "node=7; Path=/", "Retry-After": "0"})
    driver.run([busy, js([])], lambda c: c.sandboxes.list())
    assert [request.headers.get("cookie") for request in driver.requests] == [None, "node=7"]


def test_create_sends_what_was_given_and_nothing_else(driver):
    given = {
        "cpus": 2, "memory_mb": 1024, "disk_gb": 5, "network_mode": "allowlist", "allowlist": ["a.com"],
        "env": {"A": "ü"}, "repo": "r", "repo_token": "t", "repo_branch": "b", "repo_commit": "c",
        "repo_subdir": "d", "budget": 5.0, "init_script": "i", "secrets": ["A"], "timeout": 60,
        "packages": ["p"], "agents": ["claude"], "persona_id": "x", "harness_id": "y",
    }  # fmt: skip
    driver.run(js({}), lambda c: c.sandboxes.create("node", **given))
    assert json.loads(driver.request.content) == {"template": "node", **given}
    assert "ü".encode() in driver.request.content


def test_create_drops_none_and_empty_but_sends_zero_and_empty_text(driver):
    driver.run(
        js({}),
        lambda c: c.sandboxes.create(cpus=0, budget=0.0, repo="", env={}, agents=[], timeout=None),
    )
    assert driver.request.content == b'{"template":"minimal","cpus":0,"repo":"","budget":0.0}'


@pytest.mark.parametrize(
    ("sandbox_id", "path"),
    [
        ("a/../b", "/v1/sandboxes/a%2F..%2Fb"),
        ("a b", "/v1/sandboxes/a%20b"),
        ("é?#%", "/v1/sandboxes/%C3%A9%3F%23%25"),
        ("~a-b_c.d", "/v1/sandboxes/~a-b_c.d"),
        ("...", "/v1/sandboxes/..."),
        ("%2e%2e", "/v1/sandboxes/%252e%252e"),
    ],
)
def test_an_id_is_always_one_path_segment(driver, sandbox_id, path):
    driver.run(js({}), lambda c: c.sandboxes.get(sandbox_id))
    assert driver.request.url.raw_path.decode() == path


@pytest.mark.parametrize("base_url", ["http://h/pre", "http://h/pre/", "http://h/pre///"])
def test_a_path_prefix_is_kept_and_trailing_slashes_are_not(driver, base_url):
    driver.run(js([]), lambda c: c.sandboxes.list(), base_url=base_url)
    assert str(driver.request.url) == "http://h/pre/v1/sandboxes"


LOOP: dict = {}
LOOP["again"] = LOOP

REFUSED = [
    (lambda c: c.sandboxes.create(""), "template is empty"),
    (lambda c: c.sandboxes.create(None), "template is empty"),
    (lambda c: c.sandboxes.create(5), "template must be a str"),
    (lambda c: c.sandboxes.create(cpu=1), "did you mean 'cpus'"),
    (lambda c: c.sandboxes.create(zzz=1), "no argument 'zzz'"),
    (lambda c: c.sandboxes.create(cpus="2"), "cpus must be an int"),
    (lambda c: c.sandboxes.create(cpus=True), "cpus must be an int"),
    (lambda c: c.sandboxes.create(cpus=10**5000), "cannot be written as JSON"),
    (lambda c: c.sandboxes.create(budget=float("nan")), "budget must be a finite number"),
    (lambda c: c.sandboxes.create(budget="5"), "budget must be a number"),
    (lambda c: c.sandboxes.create(agents="claude"), "agents must be a list of str"),
    (lambda c: c.sandboxes.create(agents=[1]), r"agents\[0\] must be a str"),
    (lambda c: c.sandboxes.create(env={"A": object()}), r"env\['A'\] must be a str, not object"),
    (lambda c: c.sandboxes.create(env={1: "a"}), "a key of env must be a str"),
    (lambda c: c.sandboxes.create(env=LOOP), "must be a str, not dict"),
    (lambda c: c.sandboxes.create(env=["A=1"]), "env must be a dict"),
    (lambda c: c.sandboxes.create(init_script="\ud800"), "lone surrogate"),
    (lambda c: c.sandboxes.get(""), "sandbox_id is empty"),
    (lambda c: c.sandboxes.get("."), "another path"),
    (lambda c: c.sandboxes.destroy(".."), "another path"),
    (lambda c: c.sandboxes.get(None), "sandbox_id must be a str, not NoneType"),
    (lambda c: c.sandboxes.get(Sandbox(id="cage_1")), "pass its .id"),
    (lambda c: c.sandboxes.exec("cage_1", ["ls"]), "command must be a str"),
    (lambda c: c.sandboxes.exec("cage_1", "ls", timeout=0), "timeout must be above 0"),
    (lambda c: c.sandboxes.exec("cage_1", "ls", timeout="5"), "timeout must be a number"),
    (lambda c: c.sandboxes.exec("cage_1", "ls", timeout=float("inf")), "finite"),
    (lambda c: c.sandboxes.exec("cage_1", "ls", timeout=1e12), r"timeout must be above 0 and at most \d+ seconds$"),
    (lambda c: c.sandboxes.logs("cage_1", tail="5"), "tail must be an int"),
    (lambda c: c.files.list("cage_1", 5), "path must be a str"),
    (lambda c: c.files.read("cage_1", None), "path must be a str"),
    (lambda c: c.files.read("cage_1", "x" * 70000), "URL too long"),
    (lambda c: c.files.write("cage_1", "/a", b"x"), "decode it first"),
    (lambda c: c.files.write("", "/a", "x"), "sandbox_id is empty"),
    (lambda c: c.snapshots.create("cage_1", name=5), "name must be a str"),
    (lambda c: c.snapshots.create("cage_1", name=""), "name is empty; leave it out"),
    (lambda c: c.sandboxes.bind("cage_1").snapshot(""), "name is empty; leave it out"),
    (lambda c: c.snapshots.get(""), "snapshot_id is empty"),
    (lambda c: c.snapshots.wait(""), "snapshot_id is empty"),
    (lambda c: c.snapshots.wait("snap_1", timeout=-1), "timeout must be above 0"),
    (lambda c: c.snapshots.restore("snap_1", ""), "target_sandbox_id is empty"),
    (lambda c: c.snapshots.restore("snap_1", 5), "target_sandbox_id must be a str"),
    (lambda c: c.account.create_key(None), "name must be a str"),
    (lambda c: c.account.revoke_key(""), "key_id is empty"),
    (lambda c: c.account.revoke_session(""), "session_id is empty"),
    (lambda c: c.sandboxes.ports(""), "sandbox_id is empty"),
    (lambda c: c.sandboxes.trust_scores(None), "sandbox_id must be a str"),
    (lambda c: c.sandboxes.stream("", "ls"), "sandbox_id is empty"),
    (lambda c: c.sandboxes.stream("cage_1", ["ls"]), "command must be a str"),
    (lambda c: c.sandboxes.stream("cage_1", "ls", timeout=0), "timeout must be above 0"),
    (lambda c: c.sessions.list(page="1"), "page must be an int"),
    (lambda c: c.sessions.get(""), "session_id is empty"),
    (lambda c: c.sessions.replay("ses_1", after_seq=1.5), "after_seq must be an int"),
    (lambda c: c.sessions.replay("ses_1", type=5), "type must be a str"),
    (lambda c: c.events.ingest("command"), "events must be a list of EventPayload, not str"),
    (lambda c: c.events.ingest([{"type": "command"}]), r"events\[0\] must be an EventPayload, not dict"),
    (lambda c: c.events.ingest([caged.EventPayload("a")] * 1001), "at most 1000 events, not 1001"),
    (lambda c: c.events.ingest([caged.EventPayload(None)]), r"events\[0\]\.type must be a str"),
    (lambda c: c.events.ingest([caged.EventPayload("a", meta={"a": 1})]), r"meta\['a'\] must be a str"),
    (lambda c: c.events.ingest([caged.EventPayload("a", payload=[1])]), "payload must be a dict"),
    (lambda c: c.events.ingest([caged.EventPayload("a", payload=LOOP)]), "cannot be written as JSON"),
    (lambda c: c.events.ingest([caged.EventPayload("a", duration_ns=1.5)]), "duration_ns must be an int"),
    (lambda c: c.alerts.get(""), "alert_id is empty"),
    (lambda c: c.alerts.list(limit="5"), "limit must be an int"),
    (lambda c: c.alerts.update_rule("rule_1"), "nothing to change"),
    (lambda c: c.alerts.update_rule("rule_1", enabled=1), "enabled must be True or False"),
    (lambda c: c.alerts.update_rule("rule_1", config={}), "config must be a RuleConfig"),
    (
        lambda c: c.alerts.update_rule("rule_1", config=caged.RuleConfig(idle_minutes="5")),
        r"config\.idle_minutes must be a number",
    ),
    (lambda c: c.notifications.list(unread_only="yes"), "unread_only must be True or False"),
    (lambda c: c.notifications.mark_read(""), "notification_id is empty"),
    (lambda c: c.notifications.update_config({}), "update must be a NotificationConfigUpdate"),
    (
        lambda c: c.notifications.update_config(caged.NotificationConfigUpdate("slack")),
        "enabled_channels must be a list",
    ),
    (lambda c: c.billing.create_checkout(""), "plan is empty"),
    (lambda c: c.billing.create_checkout(5), "plan must be a str"),
]


@each(("use", "message"), REFUSED)
def test_bad_arguments_are_refused_before_anything_is_sent(driver, use, message):
    with pytest.raises(CagedError, match=message) as caught:
        driver.run(js({}), use)
    assert type(caught.value) is CagedError
    assert driver.requests == []


def test_secret_values_are_not_quoted_in_refusals(driver):
    with pytest.raises(CagedError) as caught:
        driver.run(js({}), lambda c: c.sandboxes.create(repo_token=b"hunter2", env={"K": "v"}))
    assert "hunter2" not in str(caught.value)
