"""What the journal records of requests, commands, prompts and events, what it keeps to itself, and what it forgets."""

from __future__ import annotations

import asyncio
import base64
import json
import re

import httpx
import pytest
from internals import call_on_loop, platform_of
from leftovers import until
from sockets import Term

from caged import AsyncCaged, CagedAPIError, EventPayload
from caged.emulator.control import journal as limits
from caged.emulator.control.records import RequestRecord
from caged.emulator.platform.limits import HTTP_PORTS

# --- requests


def test_request_is_recorded_with_its_answer(either, client, account, box):
    client.files.write(box, "a.txt", "text")
    entry = either.journal.requests(operation="files.write")[0]
    assert (entry.method, entry.path, entry.query) == ("PUT", f"/v1/sandboxes/{box}/files/content", "path=a.txt")
    assert (entry.account, entry.sandbox, entry.fault, entry.warnings) == (account.id, box, "", [])
    assert entry.status in (200, 204)
    assert entry.json() == {"content": "text"}
    assert entry.duration_ms > 0
    created = either.journal.requests(operation="sandboxes.create")[0]
    assert created.json()["template"] == "minimal"
    assert created.response_json()["id"] == box
    assert re.fullmatch(r"\d{4}-.*Z PUT /v1/sandboxes/\S+\?path=a.txt -> 20[04]", str(entry))


def test_refusals_and_their_bodies_are_there_as_well(double, api, box):
    api.post(f"/v1/sandboxes/{box}/exec", content=b'{"command": 5}')
    api.post(f"/v1/sandboxes/{box}/exec", content=b"no json")
    api.post("/v1/sandboxes", json={"template": "minimal", "cpus": 1000, "colour": "red"})
    refused = double.journal.requests(status=400)
    assert [entry.request for entry in refused[:2]] == ['{"command": 5}', "no json"]
    assert refused[2].json() == {"template": "minimal", "cpus": 1000, "colour": "red"}
    assert refused[2].warnings == ["unknown key 'colour' in the body is ignored"]
    assert "cpus" in refused[2].response_json()["detail"]


def test_a_body_that_met_a_fault_is_there(double, client, box):
    with double.faults.add("files.write", status=400), pytest.raises(CagedAPIError):
        client.files.write(box, "a", "lost")
    assert double.journal[-1].json() == {"content": "lost"}


def test_requests_with_conditions_returns_only_those_that_match(either, client, api, box):
    client.files.write(box, "a", "x")
    client.files.read(box, "a")
    api.get("/v1/sandboxes/cage_other/files")
    journal = either.journal
    assert [entry.operation for entry in journal.requests("GET")] == ["files.read", "files.list"]
    assert len(journal.requests("get", "/v1/sandboxes/*/files/content")) == 1
    assert [entry.operation for entry in journal.requests(operation="files.*")] == [
        "files.write",
        "files.read",
        "files.list",
    ]
    assert len(journal.requests(sandbox=box)) == 2
    assert [entry.status for entry in journal.requests(status=404)] == [404]
    assert [entry.operation for entry in journal.requests(last=2)] == ["files.read", "files.list"]
    assert journal.requests("PATCH") == []
    with pytest.raises(ValueError, match="last: must be at least 1"):
        journal.requests(last=0)


def test_journal_is_a_sequence_of_requests(either, client):
    client.sandboxes.list()
    client.account.get()
    assert len(either.journal) == 2
    assert either.journal[-1].operation == "account.get"
    assert [entry.operation for entry in either.journal] == ["sandboxes.list", "account.get"]
    assert [entry.operation for entry in either.journal[:1]] == ["sandboxes.list"]


def test_long_bodies_are_cut(double, client, box):
    client.files.write(box, "a", "x" * 200_000)
    client.files.read(box, "a")
    write, read = double.journal.requests(operation="files.*")
    assert len(write.request) == len(read.response) == limits.BODY_BYTES == 65_536
    assert write.request.startswith('{"content":"xxx')


def test_bodies_that_are_not_text_do_not_hurt(double, api, box):
    api.post(f"/v1/sandboxes/{box}/exec", content=b"\xff\xfe\x00")
    assert double.journal[-1].request == "\ufffd\ufffd\x00"


def test_sockets_and_downloads_have_no_bodies(double, client, box):
    client.sandboxes.stream(box, "true").text()
    url = client.snapshots.download_url(client.snapshots.wait(client.snapshots.create(box).id).id)
    assert httpx.get(url, trust_env=False, verify=False, timeout=60).status_code == 200
    (socket,) = double.journal.requests(operation="sandboxes.terminal")
    assert (socket.status, socket.request, socket.response, socket.query) == (101, "", "", "")
    (content,) = double.journal.requests(operation="snapshots.content")
    assert (content.status, content.response) == (200, "")


#: Serves its directory on a port with a preview that is free, and writes its number into a file: other sandboxes may
#: share the network. It looks up no host name, unlike `python3 -m http.server`.
SERVER = """
import http.server, os, socketserver, sys
for port in map(int, sys.argv[1:]):
    try:
        server = socketserver.TCPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
    except OSError:
        continue
    with open("port.new", "w") as file:
        file.write(str(port))
    os.rename("port.new", "port")
    server.serve_forever()
"""


def test_request_of_preview_is_recorded_for_the_sandboxs_account(double, client, box):
    client.files.write(box, "index.html", "hello")
    client.files.write(box, "server.py", SERVER)
    client.sandboxes.exec(box, f"python3 server.py {' '.join(map(str, HTTP_PORTS))} >/dev/null 2>&1 &")
    until(lambda: client.sandboxes.exec(box, "test -e port").exit_code == 0)
    url = f"{double.base_url}/_preview/{box}/{client.files.read(box, 'port')}/index.html"
    until(lambda: httpx.get(url, trust_env=False, verify=False, timeout=60).status_code == 200)
    entry = double.journal.requests(operation="preview")[-1]
    assert (entry.method, entry.sandbox, entry.status, entry.response) == ("GET", box, 200, "")


# --- whose


def test_journal_is_that_of_one_account(either, emulator, client, other, box):
    with emulator.client(other.api_key) as elsewhere:
        theirs = elsewhere.sandboxes.create(template="minimal").id
        elsewhere.sandboxes.exec(theirs, "echo theirs")
    client.sandboxes.exec(box, "echo ours")
    journal = either.journal
    assert [ran.command for ran in journal.commands()] == ["echo ours"]
    assert {event.sandbox for event in journal.events()} == {box}
    assert [ran.command for ran in journal.commands(account=other.id)] == ["echo theirs"]
    everything = journal.commands(account="*")
    assert {"echo ours", "echo theirs"} <= {ran.command for ran in everything}
    assert {entry.sandbox for entry in journal.requests(account="*")} >= {box, theirs}
    journal.clear()
    assert (len(journal), journal.commands(), journal.events()) == (0, [], [])
    assert journal.requests(account=other.id)


def test_requests_without_an_account_are_in_the_journal_of_all_accounts(double, emulator):
    path = "/v1/sandboxes/cage_unknown"
    httpx.get(
        f"{emulator.base_url}{path}",
        headers={"Authorization": "Bearer caged_sk_wrong"},
        trust_env=False,
        verify=False,
        timeout=60,
    )
    assert double.journal.requests(path=path) == []
    (entry,) = double.journal.requests(path=path, account="*")
    assert (entry.status, entry.account) == (401, "")


def test_calls_of_the_emulators_own_api_are_in_no_journal(double, admin):
    admin.get("/_emulator/status")
    paths = [entry.path for entry in double.journal.requests(account="*")]
    assert not [path for path in paths if path.startswith("/_emulator")]


# --- commands


def test_commands_of_every_source_have_their_exit_codes(double, client, account, box):
    client.sandboxes.exec(box, "echo from exec; exit 3")
    client.sandboxes.stream(box, "echo from stream; (exit 4)").text()
    with Term(double.base_url, box, account.api_key) as term:
        term.prompt().type("echo from terminal\n")
        term.until("from terminal\r\n")

    async def by_mcp():
        async with AsyncCaged(account.api_key, double.base_url) as caged, await caged.sandboxes.mcp(box) as mcp:
            await mcp.call_tool("terminal_exec", {"command": "echo from mcp; exit 5"})

    asyncio.run(by_mcp())
    built = client.sandboxes.create(template="minimal", init_script="echo from build").id
    until(lambda: len(double.journal.commands()) == 5, what=lambda: double.journal.commands())
    recorded = {ran.source: (ran.command, ran.exit_code, ran.sandbox) for ran in double.journal.commands()}
    assert recorded == {
        "exec": ("echo from exec; exit 3", 3, box),
        "stream": ("echo from stream; (exit 4)", 4, box),
        "terminal": ("echo from terminal", None, box),
        "mcp": ("echo from mcp; exit 5", 5, box),
        "build": ("echo from build", 0, built),
    }
    (ran,) = double.journal.commands(box, source="exec")
    assert (ran.output, ran.stub, ran.account) == ("from exec\n", "", account.id)
    assert str(ran) == f"{ran.at} {box} $ echo from exec; exit 3 (exec, exit 3)"


def test_output_is_cut(double, client, box):
    client.sandboxes.exec(box, "head -c 100000 /dev/zero | tr '\\0' x")
    assert double.journal.commands()[0].output == "x" * 16_384


def test_a_command_that_was_killed_has_no_exit_code(double, client, box):
    with double.faults.add(outcome="dies", delay=0.1):
        client.sandboxes.exec(box, "sleep 60")
    assert [(ran.command, ran.exit_code) for ran in double.journal.commands()] == [("sleep 60", None)]


# --- asserting


def test_what_ran_can_be_asserted(either, client, box):
    for command in ("pytest -x", "pytest -x", "true npm install left-pad", "echo [a-z]"):
        client.sandboxes.exec(box, command)
    journal = either.journal
    assert [ran.exit_code is not None for ran in journal.assert_ran("pytest -x")] == [True, True]
    journal.assert_ran("pytest*", times=2)
    journal.assert_ran("true npm *", times=1)
    journal.assert_ran(re.compile(r"left-\w+"), sandbox=box)
    journal.assert_ran("echo [a-z]")
    journal.assert_ran("rm*", times=0)
    journal.assert_not_ran("rm*")
    journal.assert_not_ran("pytest", sandbox=box)


def test_failure_lists_the_nearest_matches_first(double, client, box):
    with pytest.raises(AssertionError, match="'pytest -x' never ran; there were no commands at all"):
        double.journal.assert_ran("pytest -x")
    for command in ("ls", "pytest -v", "true", "false", "pwd", "id", "date", "pytest -x tests", "pytest -v"):
        client.sandboxes.exec(box, command)
    with pytest.raises(AssertionError) as caught:
        double.journal.assert_ran("pytest -x")
    lines = str(caught.value).splitlines()
    assert lines[0] == "'pytest -x' never ran. What came, the nearest first:"
    assert set(lines[1:3]) == {"  pytest -v (2 times)", "  pytest -x tests"}
    assert len(lines) == 7
    assert lines[-1] == "  … and 3 more"
    with pytest.raises(AssertionError, match="'ls' ran 1 times, not 2"):
        double.journal.assert_ran("ls", times=2)
    with pytest.raises(AssertionError, match=r"'l\*' ran 1 times:\n  .* \$ ls \(exec, exit 0\)"):
        double.journal.assert_not_ran("l*")


def test_a_failure_among_large_commands_stays_short(double, client, box):
    for number in range(3):
        client.sandboxes.exec(box, f"true {number} " + "x" * 100_000)
    with pytest.raises(AssertionError) as caught:
        double.journal.assert_ran("true " + "x" * 100_000 + "y")
    assert len(str(caught.value)) < 110_000


def test_requests_can_be_asserted(either, client):
    client.sandboxes.list()
    either.journal.assert_requested("GET", "/v1/sandboxes", operation="sandboxes.list", status=200, times=1)
    either.journal.assert_requested(operation="files.*", times=0)
    with pytest.raises(AssertionError) as caught:
        either.journal.assert_requested("POST", "/v1/sandboxes")
    assert str(caught.value) == (
        "a request POST /v1/sandboxes never came. What came, the nearest first:\n  GET /v1/sandboxes sandboxes.list 200"
    )


# --- events


def test_events_are_recorded(either, client, box):
    client.sandboxes.exec(box, "true")
    client.events.ingest([EventPayload("error", box, payload={"message": "oh"})])
    assert [event.data["action"] for event in either.journal.events(box, type="lifecycle")] == ["create"]
    (ran,) = either.journal.events(box, type="command")
    assert ran.data["command"] == "true"
    assert [event.type for event in either.journal.events(box)] == ["lifecycle", "command", "error"]
    assert either.journal.events(type="llm_call") == []


# --- what it keeps to itself

SECRET = 'tr0ub4dor&3 "ü"'


def everything(double):
    """All that the journal says, as one text."""
    journal = double.journal
    recorded = [journal.requests(), journal.commands(), journal.prompts(), journal.events()]
    return json.dumps(recorded, default=lambda one: vars(one), ensure_ascii=False)


def forms(value):
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}


def hides(double, value):
    recorded = everything(double)
    double_encoded = json.dumps(json.dumps(value)[1:-1])[1:-1]
    return not any(form in recorded for form in {*forms(value), double_encoded})


def test_secrets_are_masked_wherever_they_stand(double, client, box):
    box = client.sandboxes.create(
        template="minimal", env={"TOKEN": SECRET, "PLAIN": "shown"}, secrets=["TOKEN"], init_script="true"
    ).id
    client.sandboxes.exec(box, f"echo '{SECRET}'; echo \"$TOKEN\"")
    client.files.write(box, "a", f"has {SECRET} in it")
    client.files.read(box, "a")
    client.files.write(box, f"dir/{SECRET}", "in the name")
    assert hides(double, SECRET)
    created = double.journal.requests(operation="sandboxes.create")[-1].json()
    assert created["env"] == {"TOKEN": "***", "PLAIN": "shown"}
    assert double.journal.commands()[-1].output == "***\n***\n"
    double.journal.clear()
    client.files.read(box, "a")
    assert hides(double, SECRET), "what was hidden once stays so"


def test_secrets_of_a_refused_create_are_masked(double, api):
    body = {"cpus": 1000, "env": {"TOKEN": SECRET}, "secrets": ["TOKEN"], "repo_token": "ghp_of_a_person"}
    assert api.post("/v1/sandboxes", json=body).status_code == 400
    with double.faults.add("sandboxes.create", status=503):
        api.post("/v1/sandboxes", json=body)
    assert hides(double, SECRET)
    assert hides(double, "ghp_of_a_person")
    assert [entry.json()["cpus"] for entry in double.journal] == [1000, 1000]


def test_a_create_that_cannot_be_read_is_not_kept(double, api):
    api.post("/v1/sandboxes", content=b'{"env": {"TOKEN": "hunter2"}, "secrets": ["TOKEN"')
    assert (double.journal[-1].status, double.journal[-1].request) == (400, "")


def test_a_secret_at_the_cut_is_masked(double, client, box):
    secret = "s3cret-" * 20
    box = client.sandboxes.create(template="minimal", env={"TOKEN": secret}, secrets=["TOKEN"]).id
    for start in (65_536 - 70, 65_536 - 20, 65_536 + 4_000):
        client.files.write(box, "a", "x" * start + secret + "y" * 100)
    client.files.write(box, "a", ("x" * 1000 + secret) * 100)
    assert "s3cret-" not in everything(double)


def test_credentials_of_the_platform_are_masked(double, client, api, account, box):
    made = client.account.create_key("ci")
    ticket = api.post("/v1/auth/socket-ticket").json()["ticket"]
    url = client.snapshots.download_url(client.snapshots.wait(client.snapshots.create(box).id).id)
    httpx.get(url, trust_env=False, verify=False, timeout=60)
    hook = "https://hooks.slack.com/services/T000/B000/abcdefabcdef"
    api.put("/v1/notifications/config", json={"slack_webhook_url": hook})
    client.sandboxes.exec(box, f"echo {account.api_key}")
    basic = base64.b64encode(b"me:port-password").decode()
    api.get(f"/_preview/{box}/3000/", headers={"Authorization": f"Basic {basic}"})
    for secret in (made.key, ticket, url.partition("signature=")[2], hook):
        assert secret not in json.dumps([vars(entry) for entry in double.journal.requests()])
    requests = double.journal.requests(operation="account.create_key") or double.journal.requests(path="*keys*")
    assert '"name"' in requests[0].request
    assert "signature=***" in double.journal.requests(operation="snapshots.content")[0].query


def test_passwords_and_tokens_of_a_login_are_masked(own_emulator):
    emulator = own_emulator()
    body = {"email": "ann@example.com", "password": 'cor"rect horse'}
    token = httpx.post(f"{emulator.base_url}/signup", json=body, trust_env=False, verify=False, timeout=60).json()[
        "token"
    ]
    httpx.post(f"{emulator.base_url}/login", json=body, trust_env=False, verify=False, timeout=60)
    recorded = json.dumps([vars(entry) for entry in emulator.journal.requests(account="*")])
    assert "ann@example.com" in recorded
    assert "rect horse" not in recorded
    assert token not in recorded


# --- what it forgets


def test_journal_keeps_the_newest_ten_thousand_entries(own_emulator):
    emulator = own_emulator()
    platform = platform_of(emulator)
    journal = platform.journal
    account = next(iter(platform.store.accounts))

    async def fill():  # over HTTP it would take half a minute
        for number in range(limits.KEEP + 5):
            entry = journal.add(RequestRecord("", "GET", f"/{number}", "x"))
            journal.assign(entry, account, "")
            journal.finish(entry, b"", b"x" * 100)

    call_on_loop(emulator, fill())
    entries = journal.of(account).requests
    assert len(entries) == limits.KEEP == 10_000
    assert (entries[0].path, entries[-1].path) == ("/5", f"/{limits.KEEP + 4}")
    assert not journal.of("").requests


def test_journal_keeps_so_many_bytes_of_bodies(own_emulator):
    emulator = own_emulator()
    journal = platform_of(emulator).journal
    accounts = [emulator.create_account().id for _ in range(2)]
    count = limits.KEEP_BYTES // limits.BODY_BYTES + 10

    async def fill():
        for account in accounts:
            for _ in range(count if account == accounts[0] else 1):
                entry = journal.add(RequestRecord("", "PUT", "/", "x"))
                journal.assign(entry, account, "")
                journal.finish(entry, b"x" * 100_000, b"")

    call_on_loop(emulator, fill())
    kept = [len(entry.request) for entry in journal.of(accounts[0]).requests]
    assert sum(kept) <= limits.KEEP_BYTES == 32 * 1024**2
    assert kept[:10] == [0] * 10, "the oldest bodies went first"
    assert kept[20:] == [limits.BODY_BYTES] * (count - 20)
    assert [len(entry.request) for entry in journal.of(accounts[1]).requests] == [limits.BODY_BYTES]


def test_a_deleted_account_leaves_no_journal(own_emulator):
    emulator = own_emulator()
    account = emulator.create_account()
    with emulator.client(account.api_key) as client:
        client.sandboxes.exec(client.sandboxes.create(template="minimal").id, "true")
    emulator.remove_account(account.id)
    assert account.id not in platform_of(emulator).journal._accounts
