"""A name that does not exist is refused by every control and every query."""

from __future__ import annotations

import pytest
from cases import each

from caged.emulator import EmulatorError

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


@each(("act", "text"), [(act, text) for _, act, text in NAMES])
def test_name_that_does_not_exist_is_refused(either, act, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is looked at below
        act(either)
    assert text in str(caught.value)
    assert not either.faults.list()
    assert not either.commands.list()


#: Calls that name an account.
ON_ACCOUNT = [
    lambda e, account: e.faults.list(account=account),
    lambda e, account: e.faults.add(status=500, account=account),
    lambda e, account: e.commands.stub("x", account=account),
    lambda e, account: e.agent("claude").reply("x", account=account),
    lambda e, account: e.journal.requests(account=account),
    lambda e, account: e.clock.freeze(account=account),
    lambda e, account: e.callback_errors(account=account),
]


@each("act", ON_ACCOUNT)
def test_account_that_does_not_exist_is_refused(either, act):
    with pytest.raises(EmulatorError, match="account not found: acct_nope"):
        act(either, "acct_nope")


@each("act", ON_ACCOUNT)
def test_empty_account_is_refused(either, act):
    with pytest.raises(ValueError, match=r"^account: is empty; give the id of an account or \*"):
        act(either, "")


def test_call_about_the_first_account_of_an_emulator_that_has_none_is_refused(own_emulator):
    emulator = own_emulator()
    for account in emulator.accounts():
        emulator.remove_account(account)
    with pytest.raises(EmulatorError, match=r"the emulator has no account; .*create_account"):
        emulator.faults.add(status=500)


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
