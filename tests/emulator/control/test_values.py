"""A control or a query with a value of a wrong type, or with an option that would have no effect, is refused.

Wrong names are in test_names.py, faults whose effect does not happen in test_faults_triggered.py, callbacks in
test_callbacks.py.
"""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta, timezone

import pytest
from cases import each

from caged.emulator import Output, Reply

# --- wrong types

TYPES = [
    ("assert_ran", lambda e: e.journal.assert_ran(None), "command: must be a str"),
    ("assert_ran, bytes", lambda e: e.journal.assert_ran(b"x"), "command: must be a str"),
    ("assert_ran, bytes pattern", lambda e: e.journal.assert_ran(re.compile(b"x")), "compiled from a str"),
    ("assert_ran, times", lambda e: e.journal.assert_ran("x", times="2"), "times: must be an int"),
    ("assert_ran, times bool", lambda e: e.journal.assert_ran("x", times=True), "times: must be an int"),
    ("assert_not_ran", lambda e: e.journal.assert_not_ran(None), "command: must be a str"),
    ("assert_prompted", lambda e: e.journal.assert_prompted(3), "text: must be a str"),
    ("assert_requested", lambda e: e.journal.assert_requested(status="200"), "status: must be an int"),
    ("requests", lambda e: e.journal.requests(3), "method: must be a str"),
    ("requests, last", lambda e: e.journal.requests(last="3"), "last: must be an int"),
    ("execs", lambda e: e.journal.commands(source=3), "source: must be a str"),
    ("events", lambda e: e.journal.events(type=3), "type: must be a str"),
    ("prompts", lambda e: e.journal.prompts(agent=3), "agent: must be a str"),
    ("stub", lambda e: e.commands.stub(5), "match: must be a str"),
    ("stub, None", lambda e: e.commands.stub(None), "match: must be a str"),
    ("stub, output", lambda e: e.commands.stub("x", 5), "output: must be a str or a list of str or a function, not 5"),
    ("stub, output bytes", lambda e: e.commands.stub("x", b"5"), "output: must be a str"),
    ("stub, output pieces", lambda e: e.commands.stub("x", ["a", 5]), "it contains 5"),
    ("stub, exit code", lambda e: e.commands.stub("x", exit_code="1"), "exit_code: must be an int"),
    ("stub, delay", lambda e: e.commands.stub("x", delay="1"), "delay: must be a number"),
    ("stub, delay nan", lambda e: e.commands.stub("x", delay=float("nan")), "delay: must be a finite number"),
    ("stub, times", lambda e: e.commands.stub("x", times=1.5), "times: must be an int"),
    ("stub, error", lambda e: e.commands.stub("x", error=3), "error: must be a str"),
    ("program", lambda e: e.commands.program(5), "program: must be a str"),
    ("program, args", lambda e: e.commands.program("x", args=5), "args: must be a str"),
    ("program, stdin", lambda e: e.commands.program("x", stdin=b"y"), "stdin: must be a str"),
    ("agent", lambda e: e.agent(3), "agent 3 does not exist"),
    ("reply", lambda e: e.agent("claude").reply(3), "must be a str or a list of str, a Reply or a function, not 3"),
    ("reply, None", lambda e: e.agent("claude").reply(None), "text: must be a str"),
    ("reply, files", lambda e: e.agent("claude").reply("x", files={"a": 3}), "files['a']: must be a str or bytes"),
    ("reply, file list", lambda e: e.agent("claude").reply("x", files=["a"]), "files: must be a mapping"),
    ("reply, file outside", lambda e: e.agent("claude").reply("x", files={"/etc/x": ""}), "'/etc/x' is not below"),
    ("reply, file up", lambda e: e.agent("claude").reply("x", files={"../etc/x": ""}), "'../etc/x' is not below"),
    ("reply, cost", lambda e: e.agent("claude").reply("x", cost_usd="1"), "cost_usd: must be a number"),
    ("reply, cost inf", lambda e: e.agent("claude").reply("x", cost_usd=float("inf")), "cost_usd: must be a finite"),
    ("reply, tokens", lambda e: e.agent("claude").reply("x", tokens_in=1.5), "tokens_in: must be an int"),
    ("reply, model", lambda e: e.agent("claude").reply("x", model=3), "model: must be a str"),
    ("reply, Reply", lambda e: e.agent("claude").reply(Reply(3)), "text: must be a str or a list of str"),
    ("reply, exit code", lambda e: e.agent("claude").reply(Reply("x", exit_code=300)), "exit_code: must be from 0"),
    ("reply_to", lambda e: e.agent("claude").reply_to(3, "x"), "prompt: must be a str"),
    ("reply_to, text", lambda e: e.agent("claude").reply_to("x", 3), "text: must be a str"),
    ("reply_to, mapping", lambda e: e.agent("claude").reply_to({"x": 3}), "reply to 'x': must be a str"),
    ("reply_to, empty", lambda e: e.agent("claude").reply_to({}), "prompt: the mapping is empty"),
    ("reply_to, both", lambda e: e.agent("claude").reply_to({"x": "y"}, "z"), "text: the replies to a mapping"),
    ("replies", lambda e: e.agent("claude").replies("x"), "replies: must be a list"),
    ("replies, empty", lambda e: e.agent("claude").replies([]), "replies: is empty"),
    ("replies, one wrong", lambda e: e.agent("claude").replies(["x", 3]), "replies[1]: must be a str"),
    ("advance", lambda e: e.clock.advance("1"), "seconds: must be a number of seconds or a timedelta, not '1'"),
    ("advance, nothing", lambda e: e.clock.advance(), "advance: say how far"),
    ("advance, nan", lambda e: e.clock.advance(float("nan")), "seconds: must be a finite number"),
    ("advance, inf", lambda e: e.clock.advance(hours=float("inf")), "hours: must be a finite number"),
    ("advance, back", lambda e: e.clock.advance(timedelta(hours=-1)), "years, not by -3600 seconds"),
    ("advance, hours", lambda e: e.clock.advance(hours="1"), "hours: must be a number"),
    ("tick", lambda e: e.clock.tick(None), "seconds: must be a number of seconds or a timedelta"),
    ("freeze", lambda e: e.clock.freeze(timedelta(1)), "to move the time by a timedelta use advance()"),
    ("freeze, list", lambda e: e.clock.freeze([1]), "at: must be a datetime with a time zone"),
    ("freeze, naive", lambda e: e.clock.freeze(datetime(2030, 1, 1)), "needs its time zone"),
    ("freeze, nan", lambda e: e.clock.freeze(float("nan")), "at: must be a finite number"),
    ("freeze, text", lambda e: e.clock.freeze("tomorrow"), "at: must be an RFC 3339 time"),
    ("spend", lambda e: e.spend("cage_x", "3"), "usd: must be a number, not '3'"),
    ("spend, nan", lambda e: e.spend("cage_x", float("nan")), "usd: must be a finite number"),
    ("fault, status", lambda e: e.faults.add(status="500"), "status: must be an int"),
    ("fault, delay", lambda e: e.faults.add(delay="1"), "delay: must be a number"),
    ("fault, delay nan", lambda e: e.faults.add(delay=float("nan")), "delay: must be a finite number"),
    ("fault, probability", lambda e: e.faults.add(status=500, probability="1"), "probability: must be a number"),
    ("fault, operation", lambda e: e.faults.add(5, status=500), "operation: must be a str"),
    ("fault, rate limit", lambda e: e.faults.add(rate_limit={"after": 3}), "rate_limit: must be seconds or"),
    ("fault, body", lambda e: e.faults.add(status=500, body={"a": 1}), "body: must be a str"),
]


@each(("act", "text"), [(act, text) for _, act, text in TYPES])
def test_wrong_type_is_refused_with_a_sentence(either, act, text):
    with pytest.raises((TypeError, ValueError)) as caught:
        act(either)
    assert text in str(caught.value)
    assert not either.faults.list()
    assert not either.commands.list()
    assert not either.agents.list()


HALVES = [
    ("output", lambda e: e.commands.stub("x", "\ud800"), "output"),
    ("a piece", lambda e: e.commands.stub("x", ["a", "\ud800"]), "output"),
    ("match", lambda e: e.commands.stub("\ud800", "x"), "match"),
    ("regular expression", lambda e: e.commands.stub(re.compile("\ud800"), "x"), "match"),
    ("error", lambda e: e.commands.stub("x", error="\ud800"), "error"),
    ("args", lambda e: e.commands.program("x", args="\ud800"), "args"),
    ("reply", lambda e: e.agent("claude").reply("\ud800"), "text"),
    ("file", lambda e: e.agent("claude").reply("x", files={"a": "\ud800"}), "files"),
    ("path", lambda e: e.agent("claude").reply("x", files={"\ud800": "a"}), "files"),
    ("prompt", lambda e: e.agent("claude").reply_to("\ud800", "x"), "prompt"),
    ("body", lambda e: e.faults.add(status=500, body="\ud800"), "body"),
]


@each(("act", "name"), [(act, name) for _, act, name in HALVES])
def test_half_of_a_surrogate_pair_is_refused(either, act, name):
    with pytest.raises(ValueError, match=rf"^{name}: holds '\\ud800', half of a surrogate pair") as caught:
        act(either)
    assert type(caught.value) is ValueError
    assert not either.faults.list()
    assert not either.commands.list()
    assert not either.agents.list()


@each(
    ("path", "body"),
    [
        ("/commands", r'{"match": "x", "output": "\ud800"}'),
        ("/agents/claude/replies", r'{"text": "\ud800"}'),
        ("/faults", '{"status": 500, "probability": NaN}'),
        ("/faults", '{"delay": Infinity}'),
        ("/clock/advance", '{"seconds": NaN}'),
        ("/clock/freeze", '{"at": Infinity}'),
        ("/commands", '{"match": "x", "delay": NaN}'),
        ("/commands", '{"match": {"regex": "("}}'),
        ("/commands", '{"match": {"regx": "a"}}'),
        ("/commands", '{"match": "a", "regex": true}'),
        ("/commands", '{"match": "a", "allow_errors": true}'),
        ("/agents/claude/replies", '{"text": "x", "cost_usd": Infinity}'),
        ("/agents/claude/replies", '{"text": "x", "files": {"a": {"base64": "%"}}}'),
        ("/agents/claude/replies", '{"text": "x", "files": {"/etc/a": "b"}}'),
        ("/agents/claude/replies", '{"text": "x", "regex": true}'),
        ("/agents/claude/replies", '{"text": "x", "allow_errors": true}'),
    ],
)
def test_wrong_value_is_refused_over_http(admin, path, body):
    refused = admin.post(f"/_emulator{path}", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 400, refused.text


WRONG_TYPES = [
    ("/clock/advance", '{"seconds": "abc"}', "seconds: must be a number, not 'abc'"),
    ("/clock/advance", '{"seconds": NaN}', "seconds: must be a finite number, not nan"),
    ("/clock/tick", '{"seconds": null}', "seconds: must be a number, not null"),
    ("/clock/freeze", '{"at": true}', "at: must be a number or a string, not true"),
    ("/faults", '{"status": 503.5}', "status: must be a whole number, not 503.5"),
    ("/faults", '{"status": 503, "optional": 1}', "optional: must be true or false, not 1"),
    ("/faults", '{"rate_limit": "x"}', """rate_limit: must be a whole number or {"retry_after": a whole number}"""),
    ("/faults", '{"drop": "never"}', "drop: must be one of 'before', 'after', 'mid-body', not 'never'"),
    ("/faults", "[1]", "body: must be an object, not [1]"),
    ("/journal/file-changes", "{}", "enabled: is missing; it must be true or false"),
    ("/commands", '{"match": 3}', 'match: must be a string or {"regex": a string}, not 3'),
    ("/commands", '{"match": {"regx": "a"}}', """{"regex": a string}, not {'regx': 'a'}"""),
    ("/commands", '{"match": "x", "output": ["a", 5]}', "output: must be a string or a list of strings, not ['a', 5]"),
    ("/agents/claude/replies", '{"text": "x", "files": "a"}', "files: must be an object, not 'a'"),
    (
        "/agents/claude/replies",
        '{"text": "x", "files": {"a": 3}}',
        'files.a: must be a string or {"base64": a string}, not 3',
    ),
    ("/agents/claude/replies", '{"text": "x", "tokens_in": "1"}', "tokens_in: must be a whole number, not '1'"),
    ("/repos", '{"url": 1, "source": {}}', "url: must be a string, not 1"),
    ("/journal/file-changes", '{"enabled": "yes"}', "enabled: must be true or false, not 'yes'"),
    ("/accounts", '{"name": ["x"]}', "name: must be a string, not ['x']"),
]


def test_wrong_type_over_http_is_refused_with_what_is_allowed_and_what_was_given(admin):
    for path, body, text in WRONG_TYPES:
        refused = admin.post(f"/_emulator{path}", content=body, headers={"Content-Type": "application/json"})
        if refused.status_code == 405:
            refused = admin.put(f"/_emulator{path}", content=body, headers={"Content-Type": "application/json"})
        assert refused.status_code == 400, (path, body, refused.text)
        assert text in refused.json()["detail"], (path, body)


def test_long_value_in_an_error_is_cut(admin):
    detail = admin.post("/_emulator/faults", json={"status": "x" * 10_000}).json()["detail"]
    assert detail.startswith("status: must be a whole number, not 'xxx")
    assert len(detail) < 200


def test_a_timedelta_moves_the_clock(either):
    start = either.clock.freeze("2030-01-01T00:00:00Z")
    assert either.clock.advance(timedelta(hours=1)) - start == timedelta(hours=1)
    assert either.clock.advance(timedelta(minutes=1), hours=1) - start == timedelta(hours=2, minutes=1)
    assert either.clock.tick(timedelta(seconds=2)) - start == timedelta(hours=2, minutes=1, seconds=2)
    assert either.clock.advance(0) == either.clock.now()
    assert either.clock.freeze(datetime(2031, 1, 1, tzinfo=timezone.utc)).year == 2031


def test_files_of_a_reply_may_be_bytes(either, client):
    box = client.sandboxes.create(template="minimal", agents=["claude"]).id
    content = bytes(range(256))
    either.agent("claude").replies([Reply("one", files={"a.bin": content}), Reply("two", files={"b.txt": b"text"})])
    for _ in range(2):
        client.sandboxes.exec(box, "claude -p x")
    assert client.sandboxes.exec(box, "od -An -v -tx1 a.bin | tr -d ' \\n'").output == content.hex()
    assert client.files.read(box, "b.txt") == "text"
    assert either.agent("claude").list()[1].options["files"] == {"b.txt": {"base64": "dGV4dA=="}}


# --- options without effect

MISSPELT = [
    (lambda e: e.faults.add(stats=500), "faults.add", "stats"),
    (lambda e: e.commands.stub("x", exit=1), "commands.stub", "exit"),
    (lambda e: e.commands.program("x", exit=1), "commands.program", "exit"),
    (lambda e: e.agent("claude").reply("x", cost=1), "agent.reply", "cost"),
    (lambda e: e.agent("claude").reply_to("x", "y", cost=1), "agent.reply_to", "cost"),
    (lambda e: e.agent("claude").passthrough(times=1), "agent.passthrough", "times"),
    (lambda e: e.repos.add("https://github.com/acme/x", {}, name=1), "repos.add", "name"),
    (lambda e: e.prepare("x", image="y"), "prepare", "image"),
]


@each(("add", "method", "name"), MISSPELT)
def test_unknown_argument_is_refused_by_the_name_of_the_public_method(either, add, method, name):
    shown = method if sys.version_info >= (3, 10) else method.rpartition(".")[2]  # 3.9 leaves the class out
    with pytest.raises(TypeError, match=rf"^{re.escape(shown)}\(\) got an unexpected keyword argument '{name}'"):
        add(either)


POINTLESS = [
    ({"delay": 1, "detail": "x"}, "detail: needs status"),
    ({"drop": "before", "detail": "x"}, "detail: needs status"),
    ({"outcome": "dies", "detail": "x"}, "detail: is not used with outcome='dies'"),
    ({"status": 500, "body": "x", "reason": "y"}, "body: replaces the whole answer"),
    ({"status": 500, "body": "x", "detail": "y"}, "body: replaces the whole answer"),
    ({"close_socket": 4000, "method": "POST"}, "method: a WebSocket is opened with GET"),
    ({"close_socket": 4000, "operation": "files.*"}, "close_socket: files.* is not a WebSocket"),
    ({"close_socket": 1000, "path": "/v1/account"}, "path: '/v1/account' is not the path of a WebSocket"),
    ({"close_socket": 1000, "operation": "GET /v1/sandboxes"}, "path: '/v1/sandboxes' is not the path of a WebSocket"),
    (
        {"close_socket": 1000, "operation": "sandboxes.*", "path": "/v1/sandboxes/*/exec"},
        "path: '/v1/sandboxes/*/exec' is not the path of a WebSocket, and close_socket applies to no other request;"
        " use that of sandboxes.terminal (GET /v1/sandboxes/{id}/terminal) or sandboxes.mcp",
    ),
    ({"truncate": 3, "method": "HEAD"}, "truncate: an answer to HEAD has no body to cut"),
    ({"close_socket": 4000, "method": "P*"}, "method: a WebSocket is opened with GET, not P*"),
]


@each(("options", "text"), POINTLESS)
def test_an_option_without_effect_is_refused(either, options, text):
    with pytest.raises(ValueError, match="^" + re.escape(text)):
        either.faults.add(**options)


@pytest.mark.parametrize(
    "act",
    [
        lambda e: e.commands.stub("x", allow_errors=True),
        lambda e: e.commands.program("x", allow_errors=True),
        lambda e: e.agent("claude").reply("x", allow_errors=True),
    ],
)
def test_allow_errors_without_a_function_is_refused(either, act):
    with pytest.raises(ValueError, match="allow_errors: applies to functions"):
        act(either)


# --- one error text


def test_the_error_of_a_stub_reads_the_same_through_exec_and_mcp(double, client, emulator, account, box):
    import asyncio

    from caged import AsyncCaged

    double.commands.stub("broken", error="fork/exec /bin/sh: no such file")

    async def by_mcp():
        async with AsyncCaged(account.api_key, emulator.base_url) as caged:
            async with await caged.sandboxes.mcp(box) as mcp:
                return await mcp.call_tool("terminal_exec", {"command": "broken"})

    assert client.sandboxes.exec(box, "broken").error == "fork/exec /bin/sh: no such file"
    result = asyncio.run(by_mcp())
    assert result["isError"]
    assert result["content"][0]["text"] == "fork/exec /bin/sh: no such file"
    with client.sandboxes.stream(box, "broken") as output:
        assert output.text() == "fork/exec /bin/sh: no such file\n"
    assert output.exit_code == 126


def test_output_of_a_function_is_checked(double, client, box):
    for wrong in (Output("x", exit_code=300), Output(3), Output("x", delay=-1), 12, b"x", ["x"]):
        with double.commands.stub("x", lambda _command, wrong=wrong: wrong, allow_errors=True):
            result = client.sandboxes.exec(box, "x")
            assert result.exit_code == 1
            assert "the function of stub" in result.output
    assert len(double.callback_errors()) == 6


# --- options and queries beside which something else answers


def of_create(e, **options):
    box = e.client().sandboxes.create(template="minimal")
    return e.journal.assert_requested(operation="sandboxes.create", sandbox=box, times=0, **options)


IGNORED = [
    ("stub, error with output", lambda e: e.commands.stub("x", "out", error="e"), "output: cannot be combined"),
    ("stub, error with code", lambda e: e.commands.stub("x", exit_code=3, error="e"), "exit_code: cannot be combined"),
    ("program, error with output", lambda e: e.commands.program("x", "out", error="e"), "output: cannot be combined"),
    ("reply, Reply and cost", lambda e: e.agent("claude").reply(Reply("x"), cost_usd=1), "cost_usd: has no effect"),
    ("reply, Reply and files", lambda e: e.agent("claude").reply(Reply("x"), files={"a": "b"}), "files: has no effect"),
    ("replies, mapping", lambda e: e.agent("claude").reply_to({"x": Reply("x")}, model="m"), "model: has no effect"),
    ("execs, sandbox empty", lambda e: e.journal.commands(""), "sandbox: is empty"),
    ("assert_not_ran, sandbox empty", lambda e: e.journal.assert_not_ran("x", sandbox=""), "sandbox: is empty"),
    ("fault, sandbox empty", lambda e: e.faults.add("sandboxes.exec", status=500, sandbox=""), "sandbox: is empty"),
    (
        "requests, a query",
        lambda e: e.journal.assert_requested(path="/v1/sandboxes?status=running", times=0),
        "has a query; give the path alone",
    ),
    (
        "requests, a path of no sandbox",
        lambda e: e.journal.assert_requested("POST", "/v1/sandboxes/cage_nope/exec", times=0),
        "path: names a sandbox; sandbox: 'cage_nope' has never existed",
    ),
    ("requests, an operation without sandbox", of_create, "sandbox: the path names none in sandboxes.create"),
]


@each(("act", "text"), [(act, text) for _, act, text in IGNORED])
def test_option_without_effect_is_refused(either, act, text):
    with pytest.raises(ValueError, match=r"^\w+: ") as caught:
        act(either)
    assert text in str(caught.value)
    assert not either.faults.list()
    assert not either.commands.list()
    assert not either.agents.list()


@pytest.mark.parametrize("option", [{"files": {"a": "b"}}, {"cost_usd": 1}, {"exit_code": 3}, {"delay": 0.1}])
def test_option_beside_a_function_of_an_agent_is_refused(double, option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}: has no effect beside a function; let the function"):
        double.agent("claude").reply(lambda prompt, sandbox: "x", **option)


def test_fault_of_a_sandbox_in_an_operation_without_one_is_refused(either, box):
    for operation in ("sandboxes.create", "account.get", "snapshots.restore"):
        with pytest.raises(ValueError, match=f"sandbox: the path names none in {operation}"):
            either.faults.add(operation, status=500, sandbox=box)
    for operation in ("snapshots.*", "files.write", "sandboxes.trust_scores", None):
        either.faults.add(operation, status=500, sandbox=box, optional=True)


@pytest.mark.parametrize(
    ("method", "path", "options", "text"),
    [
        ("POST", "/reset", {"json": {"account": "acct_nope"}}, "the call takes no body"),
        ("POST", "/reset-controls", {"content": b"x"}, "the call takes no body"),
        ("POST", "/clock/unfreeze", {"json": {"account": "*"}}, "the call takes no body"),
        ("DELETE", "/faults", {"json": {"id": "fault_x"}}, "the call takes no body"),
        ("GET", "/journal/requests", {"json": {"method": "GET"}}, "the call takes no body"),
        ("GET", "/journal/requests", {"params": {"status": ["200", "404"]}}, "status: is given more than once"),
        ("DELETE", "/faults", {"params": {"account": ["acct_a", "*"]}}, "account: is given more than once"),
        ("POST", "/clock/advance", {"json": {}}, "say how far: give one of seconds, minutes, hours, days"),
        ("POST", "/clock/advance", {}, "say how far"),
        ("POST", "/agents/claude/replies", {"json": {"passthrough": True, "text": "x"}}, "text: has no effect with"),
        ("POST", "/agents/cn/replies", {"json": {"passthrough": True, "cost_usd": 1}}, "cost_usd: has no effect with"),
        ("POST", "/commands", {"json": {"match": "x", "output": "y", "error": "z"}}, "output: cannot be combined"),
    ],
)
def test_part_of_an_admin_request_without_effect_is_refused(admin, method, path, options, text):
    refused = admin.request(method, f"/_emulator{path}", **options)
    assert refused.status_code == 400, refused.text
    assert text in refused.json()["detail"]


def test_an_empty_object_is_not_a_body(admin, account):
    assert admin.post("/_emulator/clock/unfreeze", json={}, params={"account": account.id}).status_code == 200
