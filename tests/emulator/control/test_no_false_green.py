"""No control and no query may silently be without effect: wrong names, scopes, orders, types and options, each refused
or effective. Faults whose effect does not happen are in test_faults_triggered.py, callbacks in test_callback_errors.py.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest

from caged import CagedServerError
from caged.emulator import EmulatorError, Output, RemoteEmulator, Reply

# --- wrong names

NAMES = [
    ("requests, operation", lambda e: e.journal.requests(operation="sandboxes.exce"), "did you mean 'sandboxes.exec'"),
    ("requests, operation glob", lambda e: e.journal.requests(operation="sandbox.*"), "not an operation of the API"),
    ("requests, method", lambda e: e.journal.requests("PSOT"), "'PSOT' is not an HTTP method; did you mean 'POST'"),
    ("requests, no route", lambda e: e.journal.requests(path="/v1/nothing/*"), "path: '/v1/nothing/*' does not match"),
    ("requests, misspelt path", lambda e: e.journal.requests(path="/v1/sandbox/*"), "did you mean 'sandboxes'"),
    ("requests, a URL", lambda e: e.journal.requests(path="http://x/v1/sandboxes"), "is a URL; give its path"),
    ("requests, no slash", lambda e: e.journal.requests(path="v1/sandboxes"), "a path begins with a slash"),
    ("requests, status", lambda e: e.journal.requests(status=2000), "status: 2000 is not an HTTP status"),
    ("requests, negative status", lambda e: e.journal.requests(status=-1), "status: -1 is not an HTTP status"),
    ("requests, last", lambda e: e.journal.requests(last=0), "last: must be at least 1"),
    ("requests, sandbox", lambda e: e.journal.requests(sandbox="cage_nope"), "sandbox: 'cage_nope' has never existed"),
    (
        "requests, method of another operation",
        lambda e: e.journal.requests("GET", operation="sandboxes.exec"),
        "method: 'GET' is not the method of sandboxes.exec (POST /v1/sandboxes/{id}/exec)",
    ),
    (
        "requests, path of another operation",
        lambda e: e.journal.requests(path="/v1/snapshots/*", operation="sandboxes.exec"),
        "path: '/v1/snapshots/*' does not match the path of sandboxes.exec",
    ),
    (
        "assert_requested, never",
        lambda e: e.journal.assert_requested(operation="sandboxes.exce", times=0),
        "did you mean 'sandboxes.exec'",
    ),
    # A wildcard reaches over slashes, and a parameter takes any name, but not what is nearly a segment of the API.
    *(
        (
            f"assert_requested, {path}",
            lambda e, path=path: e.journal.assert_requested(path=path, times=0),
            f"did you mean '{meant}'",
        )
        for path, meant in [
            ("*/exce", "exec"),
            ("/v1/sandboxes/*/exce", "exec"),
            ("/v1/sandboxes/cage_1/exce", "exec"),
            ("/v1/sandboxes/*/lgos", "logs"),
            ("/v1/snapshots/*/downlaod", "download"),
            ("/v1/alerts/*/resolv", "resolve"),
            ("/v1/sandboxes/*/files/contnet", "content"),
        ]
    ),
    (
        "assert_requested, a segment too many",
        lambda e: e.journal.assert_requested("DELETE", "/v1/sandboxes/*/x", times=0),
        "does not match the path of any",
    ),
    ("fault, misspelt path", lambda e: e.faults.add(path="*/exce", status=500), "did you mean 'exec'"),
    (
        "assert_requested, sandbox never",
        lambda e: e.journal.assert_requested(sandbox="cage_nope", times=0),
        "has never existed",
    ),
    (
        "assert_not_ran, sandbox",
        lambda e: e.journal.assert_not_ran("rm *", sandbox="cage_nope"),
        "has never existed",
    ),
    ("assert_ran never", lambda e: e.journal.assert_ran("x", sandbox="cage_nope", times=0), "has never existed"),
    ("assert_ran, times", lambda e: e.journal.assert_ran("x", times=-1), "times: must be at least 0"),
    ("execs, source", lambda e: e.journal.commands(source="exce"), "'exce' is not a source of commands; did you"),
    ("execs, sandbox", lambda e: e.journal.commands("cage_nope"), "has never existed"),
    ("events, type", lambda e: e.journal.events(type="comand"), "is not a type of events; did you mean 'command'"),
    ("events, sandbox", lambda e: e.journal.events("cage_nope"), "has never existed"),
    ("prompts, agent", lambda e: e.journal.prompts(agent="claudee"), "'claudee' is not an agent; did you mean"),
    ("prompts, sandbox", lambda e: e.journal.prompts("cage_nope"), "has never existed"),
    ("assert_prompted, agent", lambda e: e.journal.assert_prompted("x", agent="claudee", times=0), "mean"),
    ("agent", lambda e: e.agent("claudee"), "agent 'claudee' does not exist; did you mean 'claude'"),
    ("agent, None", lambda e: e.agent(None), "agent None does not exist; known are"),
    ("log_tail, negative", lambda e: e.log_tail(-1), "last: must be at least 1"),
    ("agent, empty", lambda e: e.agent(""), "agent '' does not exist"),
    ("fault, operation", lambda e: e.faults.add("sandboxes.exce", status=500), "did you mean 'sandboxes.exec'"),
    ("fault, method", lambda e: e.faults.add(method="GTE", status=500), "method: 'GTE' is not an HTTP method"),
    ("fault, path", lambda e: e.faults.add(path="/v1/nothing/*", status=500), "does not match the path of any"),
    (
        "fault, combination",
        lambda e: e.faults.add("sandboxes.exec", method="GET", status=500),
        "method: 'GET' is not the method of sandboxes.exec",
    ),
    ("fault, combined name", lambda e: e.faults.add("PSOT /v1/sandboxes", status=500), "'PSOT' is not an HTTP method"),
    ("fault, sandbox", lambda e: e.faults.add(sandbox="cage_nope", status=500), "has never existed"),
    ("fault, drop", lambda e: e.faults.add(drop="befor"), "drop"),
    ("fault, outcome", lambda e: e.faults.add(outcome="die"), "outcome"),
    ("stub, sandbox", lambda e: e.commands.stub("x", sandbox="cage_nope"), "has never existed"),
    ("program, sandbox", lambda e: e.commands.program("x", sandbox="cage_nope"), "has never existed"),
    ("program, name", lambda e: e.commands.program("bin/x"), "is not the name of a program"),
]


@pytest.mark.parametrize(("act", "text"), [(act, text) for _, act, text in NAMES], ids=[name for name, *_ in NAMES])
def test_name_that_does_not_exist_is_refused(either, act, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is looked at below
        act(either)
    assert text in str(caught.value)
    assert not either.faults.list()
    assert not either.commands.list()


@pytest.mark.parametrize("unknown", ["acct_nope", ""])
@pytest.mark.parametrize(
    "act",
    [
        lambda e, account: e.faults.list(account=account),
        lambda e, account: e.faults.add(status=500, account=account),
        lambda e, account: e.commands.stub("x", account=account),
        lambda e, account: e.agent("claude").reply("x", account=account),
        lambda e, account: e.journal.requests(account=account),
        lambda e, account: e.clock.freeze(account=account),
        lambda e, account: e.callback_errors(account=account),
    ],
)
def test_account_that_does_not_exist_is_refused(either, act, unknown):
    with pytest.raises(EmulatorError, match="account not found"):
        act(either, unknown)


def test_query_parameter_that_does_not_exist_is_refused(admin):
    refused = admin.get("/_emulator/journal/requests", params={"operatoin": "sandboxes.exec"})
    assert refused.status_code == 400
    assert "operatoin: is not a query parameter of this call; known are account, method" in refused.json()["detail"]


def test_names_that_exist_are_accepted_in_every_form(either, client, box):
    client.sandboxes.exec(box, "true")
    journal = either.journal
    for query in (
        {"operation": "sandboxes.exec"},
        {"operation": "*.exec"},
        {"operation": "sandboxes.exec", "method": "post"},
        {"path": f"/v1/sandboxes/{box}/exec"},
        {"path": "/v1/sandboxes/*/exec"},
        {"path": "/v1/*"},
        {"path": "/v1/sandboxes/[c]age*/exe?"},
        {"sandbox": box, "status": 200, "operation": "sandboxes.exec"},
        {"sandbox": "cage_*", "operation": "sandboxes.exec"},
    ):
        assert len(journal.requests(**query)) >= 1, query
    for none in (
        {"operation": "sandboxes.pause"},
        {"operation": "sandboxes.pa*"},
        {"status": 0},
        {"status": 418},
        {"method": "DELETE"},
        {"path": "/v1/pipelines/*/runs/1/state/a/b"},
        {"operation": "preview", "path": "/index.html"},
        {"operation": "sandboxes.terminal"},
    ):
        assert journal.requests(**none) == [], none
    assert journal.commands(source="mcp") == journal.events(type="other") == []


def test_a_sandbox_that_existed_can_be_queried_also_after_the_journal_was_cleared(either, client, box):
    client.sandboxes.destroy(box)
    either.journal.clear()
    assert either.journal.commands(box) == []
    either.journal.assert_requested(sandbox=box, times=0)
    either.faults.add(sandbox=box, status=500)


def test_a_sandbox_that_the_code_under_test_misspelt_can_be_queried(either, api):
    assert api.get("/v1/sandboxes/cage_typo").status_code == 404
    assert len(either.journal.requests(sandbox="cage_typo")) == 1


def test_a_sandbox_of_another_account_has_never_existed(either, emulator, other):
    with emulator.client(other.api_key) as elsewhere:
        theirs = elsewhere.sandboxes.create(template="minimal").id
        with pytest.raises(ValueError, match="has never existed in account"):
            either.journal.commands(theirs)
        assert either.journal.commands(theirs, account="*") == []
        with pytest.raises(ValueError, match="has never existed in account"):
            either.faults.add(sandbox=theirs, status=500)


ALIASES = [
    (names, program)
    for names, program in {
        ("claude-code", "claude"): "claude",
        ("codex",): "codex",
        ("continue", "cn"): "cn",
        ("aider",): "aider",
    }.items()
]


@pytest.mark.parametrize(("names", "program"), ALIASES, ids=[program for _, program in ALIASES])
def test_every_name_of_an_agent_means_the_agent(either, client, names, program):
    box = client.sandboxes.create(template="minimal", agents=[names[0]]).id
    for name in names:
        either.agents.clear()
        reply = either.agent(name).reply(f"by {name}")
        ask = {"aider": "aider --message hi"}.get(program, f"{program} hi")
        assert client.sandboxes.exec(box, ask).output == f"by {name}\n"
        assert reply.used == 1
    for name in names:
        assert len(either.agent(name).prompts) == len(names)
        assert len(either.agent(name).list()) == 1
        assert len(either.journal.prompts(agent=name)) == len(names)
        assert len(either.journal.prompts(agent=f"{name[:2]}*")) == len(names)
        assert len(either.journal.assert_prompted("hi", agent=name, sandbox=box, times=len(names))) == len(names)
    assert either.journal.prompts(agent="goose") == []


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
    ("advance, back", lambda e: e.clock.advance(timedelta(hours=-1)), "time goes forward only"),
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


@pytest.mark.parametrize(("act", "text"), [(act, text) for _, act, text in TYPES], ids=[name for name, *_ in TYPES])
def test_wrong_type_is_refused_with_a_sentence(either, act, text):
    with pytest.raises((TypeError, ValueError)) as caught:
        act(either)
    assert text in str(caught.value)
    assert not either.faults.list()
    assert not either.commands.list()
    assert not either.agents.list()


@pytest.mark.parametrize(
    ("path", "body"),
    [
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

POINTLESS = [
    ({"delay": 1, "detail": "x"}, "detail: needs status"),
    ({"drop": "before", "detail": "x"}, "detail: needs status"),
    ({"outcome": "dies", "detail": "x"}, "detail: is not used with outcome='dies'"),
    ({"status": 500, "body": "x", "reason": "y"}, "body: replaces the whole answer"),
    ({"status": 500, "body": "x", "detail": "y"}, "body: replaces the whole answer"),
    ({"close_socket": 4000, "method": "POST"}, "method: a WebSocket is opened with GET"),
    ({"close_socket": 4000, "operation": "files.*"}, "close_socket: files.* is not a WebSocket"),
]


@pytest.mark.parametrize(("options", "text"), POINTLESS, ids=[str(options) for options, _ in POINTLESS])
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


# --- whose they are, and in which order


@pytest.fixture
def everyone(own_emulator):
    """An emulator of the test's own, because its controls of every account would reach other tests."""
    emulator = own_emulator()
    return emulator, emulator.create_account(), emulator.create_account()


@pytest.fixture(params=["local", "remote"])
def shared(request, everyone):
    emulator, mine, theirs = everyone
    if request.param == "local":
        yield emulator, mine, theirs
        return
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        yield remote, mine, theirs


KINDS = {
    "faults": (lambda e, text, account: e.faults.add(status=500, detail=text, account=account), lambda e: e.faults),
    "stubs": (lambda e, text, account: e.commands.stub("x", text, account=account), lambda e: e.commands),
    "replies": (lambda e, text, account: e.agent("cn").reply(text, account=account), lambda e: e.agent("continue")),
    "all replies": (lambda e, text, account: e.agent("cn").reply(text, account=account), lambda e: e.agents),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_shows_what_applies_own_account_first(shared, kind):
    emulator, mine, theirs = shared
    add, of = KINDS[kind]
    added = {
        text: add(emulator, text, account).id
        for text, account in (
            ("everyone 1", "*"),
            ("theirs", theirs.id),
            ("mine 1", mine.id),
            ("everyone 2", "*"),
            ("mine 2", mine.id),
        )
    }
    names = {id: text for text, id in added.items()}

    def listed(account):
        return [names[one.id] for one in of(emulator).list(account=account)]

    assert listed(mine.id) == ["mine 1", "mine 2", "everyone 1", "everyone 2"]
    assert listed(theirs.id) == ["theirs", "everyone 1", "everyone 2"]
    assert listed("*") == ["everyone 1", "everyone 2"]
    clear = of(emulator).clear
    clear(account=mine.id)
    assert listed(mine.id) == ["everyone 1", "everyone 2"], "clear removes what was added for the account"
    clear(account="*")
    assert listed(mine.id) == []
    assert listed(theirs.id) == ["theirs"]


def test_a_fault_of_the_own_account_comes_first(shared):
    emulator, mine, _theirs = shared
    everyone = emulator.faults.add("sandboxes.list", status=502, account="*")
    own = emulator.faults.add("sandboxes.list", status=500, times=1, account=mine.id)
    seen = []
    with emulator.client(mine.api_key, max_retries=0) as client:
        for _ in range(2):
            with pytest.raises(CagedServerError) as caught:
                client.sandboxes.list()
            seen.append(caught.value.status)
    assert seen == [500, 502]
    assert (own.triggered, everyone.triggered) == (1, 1)


def test_a_stub_of_the_own_account_comes_first(shared):
    emulator, mine, theirs = shared
    emulator.commands.stub("x", "everyone", account="*")
    emulator.commands.program("prog", "everyone", account="*")
    emulator.commands.stub("x", "mine", times=1, account=mine.id)
    emulator.commands.program("prog", "mine", times=1, account=mine.id)
    with emulator.client(mine.api_key) as client, emulator.client(theirs.api_key) as other:
        box, elsewhere = client.sandboxes.create(template="minimal").id, other.sandboxes.create(template="minimal").id
        assert [client.sandboxes.exec(box, "x").output for _ in range(2)] == ["mine", "everyone"]
        assert [client.sandboxes.exec(box, "true; prog").output for _ in range(2)] == ["mine", "everyone"]
        assert other.sandboxes.exec(elsewhere, "x").output == "everyone"


def test_a_reply_of_the_own_account_comes_first(shared):
    emulator, mine, _theirs = shared
    emulator.agent("claude").reply_to("hi", "everyone to hi", account="*")
    emulator.agent("claude").reply("mine", times=2, account=mine.id)
    emulator.agent("claude").reply_to("hi", "mine to hi", times=1, account=mine.id)
    with emulator.client(mine.api_key) as client:
        box = client.sandboxes.create(template="minimal", agents=["claude"]).id
        said = [client.sandboxes.exec(box, "claude -p hi").output.strip() for _ in range(4)]
    assert said == ["mine to hi", "mine", "mine", "everyone to hi"]


def test_nearest_misses_are_of_the_own_account(everyone):
    emulator, mine, theirs = everyone
    with emulator.client(mine.api_key) as client, emulator.client(theirs.api_key) as other:
        client.sandboxes.exec(client.sandboxes.create(template="minimal").id, "echo mine")
        other.sandboxes.exec(other.sandboxes.create(template="minimal").id, "echo theirs")
    for selected, account, shown in (
        (mine.id, None, "echo mine"),
        (theirs.id, mine.id, "echo mine"),
        (mine.id, "*", "echo mine"),
        ("*", mine.id, "echo mine"),
    ):
        with RemoteEmulator(emulator.base_url, emulator.admin_key, account=selected) as scoped:
            with pytest.raises(AssertionError) as caught, scoped.commands.stub("echo them", account=account):
                pass
        assert shown in str(caught.value)
        assert "echo theirs" not in str(caught.value)
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account="*") as scoped:
        with pytest.raises(AssertionError) as caught, scoped.commands.stub("echo them", account="*"):
            pass
    assert "echo theirs" not in str(caught.value)


def test_unused_reports_the_own_ones_and_those_that_this_object_added_for_everyone(everyone):
    emulator, mine, theirs = everyone
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as other_object:
        other_object.faults.add(status=501, account="*")
        other_object.commands.stub("other object", account="*")
        view = emulator.for_account(mine)
        assert view.unused() == []
        view.faults.add(status=502, account="*")
        view.commands.stub("mine", account="*")
        view.agent("claude").reply("mine", account="*")
        view.faults.add(status=503, account=theirs.id)
        text = "\n".join(view.unused())
    assert "status=502" in text
    assert "'mine'" in text
    assert "reply" in text
    assert "status=501" not in text
    assert "other object" not in text
    assert "status=503" not in text


# --- patterns


def test_every_pattern_is_of_its_own_kind(either, client, box):
    either.commands.program("tool", "stubbed", args="install", stdin=re.compile("^y"))
    either.commands.program("tool", "regex", args=re.compile("^re"), stdin="n*")
    client.files.write(box, "/workspace/bin/tool", "#!/bin/sh\necho real $*\n")
    run = "chmod +x bin/tool; PATH=$PATH:/workspace/bin; printf {} | tool {}"

    def output(stdin, args):
        return client.sandboxes.exec(box, run.format(stdin, args)).output

    assert output("yes", "install") == "stubbed"
    assert output("yes", "reinstall") == "real reinstall\n", "a glob beside a regular expression stays a glob"
    assert output("no", "install") == "real install\n"
    assert output("no", "remove") == "regex"
    assert output("on", "remove") == "real remove\n", "and is not searched for"
    assert [one.options["args"] for one in either.commands.list()] == ["install", {"regex": "^re"}]


@pytest.mark.parametrize(
    ("pattern", "command", "matches"),
    [
        ("a.c", "abc", False),
        ("a.c", "a.c", True),
        ("a*c", "abbc", True),
        ("a*", "ba", False),
        ("[ab]", "[ab]", True),
        ("[ab]", "b", True),
        ("a?c", "abc", True),
        ("$(x)", "$(x)", True),
        (re.compile("b"), "abc", True),
        (re.compile("^b"), "abc", False),
        (re.compile("B", re.I), "abc", True),
        (re.compile("^b", re.M), "a\nb", True),
    ],
    ids=str,
)
def test_what_a_pattern_matches(either, client, box, pattern, command, matches):
    either.commands.stub(pattern, "stubbed")
    assert (client.sandboxes.exec(box, command).output == "stubbed") is matches


# --- handles and the journal as objects


def test_reply_to_works_in_a_with_statement(either, client):
    box = client.sandboxes.create(template="minimal", agents=["claude"]).id
    with either.agent("claude").reply_to("hi", "hello") as reply:
        assert client.sandboxes.exec(box, "claude -p hi").output == "hello\n"
        assert reply.used == 1
    assert either.agents.list() == []
    with pytest.raises(AssertionError, match="a reply was never used"), either.agent("claude").reply_to("hi", "hello"):
        pass
    with either.agent("claude").reply_to("hi", "hello", optional=True):
        pass
    assert either.agents.list() == []


def test_several_replies_work_in_one_with_statement(either, client):
    box = client.sandboxes.create(template="minimal", agents=["claude"]).id
    with either.agent("claude").reply_to({"a": "1", "b": "2"}) as (first, second):
        client.sandboxes.exec(box, "claude -p a; claude -p b")
        assert (first.used, second.used) == (1, 1)
    with either.agent("claude").replies(["1", "2"]):
        client.sandboxes.exec(box, "claude -p a; claude -p b")
    claude = either.agent("claude")
    for add in (lambda: claude.reply_to({"a": "1", "b": "2"}), lambda: claude.replies(["1", "2"])):
        with pytest.raises(AssertionError, match="a reply was never used"), add():
            client.sandboxes.exec(box, "claude -p a")
        assert either.agents.list() == [], "all are removed"
    with pytest.raises(KeyError, match="mine"), either.agent("claude").replies(["1", "2"]):
        raise KeyError("mine")
    assert either.agents.list() == []


def test_an_empty_journal_is_true_and_its_length_costs_no_download(either, client, box, monkeypatch):
    either.journal.clear()
    assert bool(either.journal)
    assert len(either.journal) == 0
    client.sandboxes.list()
    client.sandboxes.get(box)
    monkeypatch.setattr(type(either.journal), "requests", lambda *_, **__: pytest.fail("was downloaded"))
    assert len(either.journal) == 2
    assert bool(either.journal)


def test_the_journal_is_a_sequence(either, client, box):
    either.journal.clear()
    client.sandboxes.list()
    client.sandboxes.get(box)
    names = ["sandboxes.list", "sandboxes.get"]
    journal = either.journal
    assert [one.operation for one in journal] == names
    assert [journal[index].operation for index in (0, 1, -1, -2)] == [*names, *reversed(names)]
    assert [one.operation for one in journal[-1:]] == names[-1:]
    for index in (2, -3):
        with pytest.raises(IndexError):
            journal[index]


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


@pytest.mark.parametrize(("act", "text"), [(act, text) for _, act, text in IGNORED], ids=[name for name, *_ in IGNORED])
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


def test_an_empty_object_is_no_body(admin, account):
    assert admin.post("/_emulator/clock/unfreeze", json={}, params={"account": account.id}).status_code == 200
