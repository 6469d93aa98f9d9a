"""The two ways to an emulator's controls, within its process and over HTTP: the same answers, errors and bounds."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cases import each
from internals import call_on_loop, platform_of

from caged import Caged
from caged.emulator import Emulator, EmulatorError
from caged.emulator.control_client.http_transport import HttpTransport
from caged.emulator.control_client.in_process_transport import InProcessTransport
from caged.emulator.control_client.remote import RemoteEmulator
from caged.emulator.control_client.transport import AdminRequest, AdminResponse, Transport
from caged.emulator.wire.admin.scenario import MOST_BYTES
from caged.emulator.wire.all_operations import all_operations

#: The status of success of each operation, by method and path.
ADMIN = {(one.method, one.path): one.status for one in all_operations() if one.admin}
SCENARIO = {"faults": [{"operation": "account.get", "status": 503, "optional": True}]}

#: Each operation, with bodies and queries that work in this order. `{sandbox}` and `{added}`: ids, the second of what
#: the POST before has added.
CALLS: list[tuple[str, str, Any, dict[str, str]]] = [
    ("POST", "/clock/freeze", {"at": "2030-01-01T00:00:00Z"}, {"account": "*"}),
    ("GET", "/clock", None, {}),
    ("POST", "/clock/advance", {"minutes": 2.5}, {}),
    ("POST", "/clock/tick", {}, {}),
    ("POST", "/clock/unfreeze", None, {}),
    ("DELETE", "/clock", None, {}),
    ("POST", "/clock/freeze", {"at": 1893456000}, {"account": "*"}),
    ("POST", "/faults", {"operation": "snapshots.*", "status": 503, "detail": "naïve ☃"}, {}),
    ("GET", "/faults", None, {"account": "*"}),
    ("GET", "/faults/{added}", None, {}),
    ("DELETE", "/faults/{added}", None, {}),
    ("DELETE", "/faults", None, {}),
    ("POST", "/commands", {"kind": "command", "match": {"regex": "^make"}, "output": ["a", "b"]}, {}),
    ("GET", "/commands", None, {}),
    ("GET", "/commands/{added}", None, {}),
    ("DELETE", "/commands/{added}", None, {}),
    ("DELETE", "/commands", None, {}),
    ("POST", "/agents/{agent}/replies", {"text": "done", "files": {"a/b.txt": "\x00ü"}}, {}),
    ("GET", "/agents/{agent}/replies", None, {}),
    ("GET", "/agents/{agent}/replies/{added}", None, {}),
    ("DELETE", "/agents/{agent}/replies/{added}", None, {}),
    ("DELETE", "/agents/{agent}/replies", None, {}),
    ("GET", "/agents", None, {}),
    ("DELETE", "/agents", None, {}),
    ("POST", "/repos", {"url": "https://example.com/acme/calc", "source": {"calc.py": "print(42)\n"}}, {}),
    ("GET", "/repos", None, {"unused": "true"}),
    ("GET", "/repos/{added}", None, {}),
    ("GET", "/repos/{added}/branches", None, {}),
    ("GET", "/repos/{added}/tags", None, {}),
    ("GET", "/repos/{added}/commits", None, {"branch": "main"}),
    ("GET", "/repos/{added}/files", None, {}),
    ("GET", "/repos/{added}/file", None, {"path": "calc.py"}),
    ("GET", "/repos/{added}/pushes", None, {"last": "2"}),
    ("DELETE", "/repos/{added}", None, {}),
    ("DELETE", "/repos", None, {}),
    ("POST", "/prepared-archives/{upload}", b"not an archive", {}),
    ("POST", "/prepared", {"name": "ready", "files": {"note": "ü"}}, {}),
    ("GET", "/prepared", None, {}),
    ("GET", "/prepared/{added}", None, {}),
    ("DELETE", "/prepared/{added}", None, {}),
    ("DELETE", "/prepared", None, {}),
    ("GET", "/callback-errors", None, {"control": "stub_1"}),
    ("DELETE", "/callback-errors", None, {}),
    ("GET", "/journal/requests", None, {"operation": "sandboxes.*", "status": "200", "account": "*"}),
    ("GET", "/journal/commands", None, {"source": "exec"}),
    ("GET", "/journal/prompts", None, {"agent": "claude"}),
    ("GET", "/journal/events", None, {"sandbox": "{sandbox}"}),
    ("GET", "/journal/steps", None, {"kind": "command"}),
    ("GET", "/journal/steps/stream", None, {"kind": "command", "wait": "0"}),
    ("PUT", "/journal/file-changes", {"enabled": False}, {}),
    ("GET", "/journal", None, {}),
    ("DELETE", "/journal", None, {"account": "*"}),
    ("GET", "/sandboxes", None, {"account": "*"}),
    ("GET", "/sandboxes/{sandbox}/logs", None, {"last": "2"}),
    ("GET", "/sandboxes/{sandbox}/files/content", None, {"path": "/workspace/note", "offset": "1"}),
    ("POST", "/sandboxes/{sandbox}/spend", {"usd": 0.25}, {}),
    ("GET", "/snapshots", None, {}),
    ("GET", "/sockets", None, {"wait": "0"}),
    ("PUT", "/device-login", {"from_sandboxes": True}, {}),
    ("POST", "/scenario", {"scenario": SCENARIO}, {}),
    ("POST", "/accounts", {"name": "worker 1"}, {}),
    ("GET", "/accounts", None, {}),
    ("GET", "/accounts/{added}", None, {}),
    ("DELETE", "/accounts/{added}", None, {}),
    ("GET", "/shared-controls", None, {}),
    ("GET", "/status", None, {}),
    ("GET", "/log", None, {"last": "1"}),
    ("POST", "/inspector/links", None, {}),
    ("GET", "/export", None, {}),
    ("POST", "/import", b"not an archive", {}),
    ("POST", "/reset-controls", None, {}),
    ("POST", "/reset", None, {"account": "*"}),
]


class Side:
    """One of two emulators that are the same, with a transport."""

    def __init__(self, emulator: Emulator, transport: Transport, sandbox: str) -> None:
        self.emulator, self.transport = emulator, transport
        self.ids = {"sandbox": sandbox, "agent": "claude-code", "added": "nothing_added", "upload": "0" * 32}

    def send(self, method: str, path: str, body: Any = None, query: Any = None) -> tuple[int, Any]:
        """The status and the body of the answer, without what differs between any two emulators."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        query = {name: self._filled(value) for name, value in (query or {}).items()}
        answer = self.transport.send(AdminRequest(method, self._filled(path), query, content))
        decoded = _decoded(answer)
        if isinstance(decoded, dict):
            if method == "POST" and "id" in decoded:
                self.ids["added"] = decoded["id"]
            if decoded.get("frozen") is False:
                decoded = sorted(decoded)  # time goes on
        return answer.status, decoded

    def _filled(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda name: self.ids.get(name[1], "some_id"), text)


def _decoded(answer: AdminResponse) -> Any:
    if answer.body.startswith(b"\x1f\x8b"):
        return "an archive"
    text = re.sub(r"caged_[0-9A-Za-z_-]{16,}", "<key>", answer.body.decode())
    text = re.sub(r"http://inspector-\w+\.localhost:\d+/([^?]*)\?token=[^\"]+", r"<inspector>/\1", text)
    # Real time passes in both while the clock is not frozen. A cost is in proportion to it, and a step that takes
    # longer is revised more often.
    text = re.sub(r'"(duration|duration_ms|cost|total_cost|start)": ?[0-9.]+', r'"\1":0', text)
    text = re.sub(r'"wall": ?"[^"]+"', '"wall":""', text)
    text = re.sub(r'"revision": ?[0-9]+', '"revision":0', text)
    text = re.sub(r"\[\[[0-9.]+, ?\"", '[[0, "', text)  # of an output: seconds since the command began
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _new_emulator() -> Emulator:
    return Emulator(seed=7, isolation="process")


def _with_sandbox(emulator: Emulator) -> str:
    emulator.clock.freeze("2029-12-31T00:00:00Z", account="*")
    with emulator.client() as client:
        box = client.sandboxes.create(template="minimal").id
        client.sandboxes.exec(box, "echo hi | tee note")
    return box


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Side, Side]]:
    """Two emulators with the same seed and the same past: one called in the process, the other over HTTP."""
    with _new_emulator() as one, _new_emulator() as other:
        http = HttpTransport(other.base_url, other.admin_key)
        with contextlib.closing(http):
            local = one._admin._transport
            assert isinstance(local, InProcessTransport)
            yield Side(one, local, _with_sandbox(one)), Side(other, http, _with_sandbox(other))


@pytest.fixture
def pair(sides: tuple[Side, Side]) -> Iterator[tuple[Transport, Transport]]:
    """Both transports of one emulator."""
    emulator = sides[0].emulator
    http = HttpTransport(emulator.base_url, emulator.admin_key)
    with contextlib.closing(http):
        yield emulator._admin._transport, http


# --- the same answers and errors


def _route(method: str, path: str) -> tuple[str, str]:
    """The route of a call of the table."""
    named = re.sub(r"\{(agent|upload)\}", "{name}", path)
    return method, "/_emulator" + re.sub(r"\{(added|sandbox)\}", "{id}", named)


def test_the_table_has_every_operation() -> None:
    assert {_route(method, path) for method, path, _, _ in CALLS} == set(ADMIN)


def test_every_operation_gives_the_same_answer(sides: tuple[Side, Side]) -> None:
    local, remote = sides
    for method, path, body, query in CALLS:
        answer = local.send(method, path, body, query)
        assert answer == remote.send(method, path, body, query), (method, path)
        assert answer[0] == (400 if path == "/import" else ADMIN[_route(method, path)]), (method, path, answer)


#: What can be wrong with a request for any operation: what is added to the query, and the body.
WRONG: list[tuple[dict[str, str], bytes]] = [
    ({"account": "acct_x"}, b""),
    ({"acount": "*"}, b""),
    ({"account": ""}, b""),
    ({}, b"{"),
    ({}, b"[1]"),
    ({}, b"null"),
    ({}, b'{"nope": 1}'),
    ({}, b"\xff\xfe"),
    ({}, b'{"at": NaN}'),
    ({"last": "x", "wait": "x", "status": "x", "sandbox": "x"}, b""),
]


@each(("method", "path"), sorted(ADMIN))
def test_every_operation_gives_the_same_errors(pair: tuple[Transport, Transport], method: str, path: str) -> None:
    local, remote = pair
    below = path[len("/_emulator") :].replace("{id}", "no%20such%2Fid").replace("{name}", "claude")
    for query, content in WRONG:
        if below in ("/reset", "/reset-controls", "/import", "/export") and not query:
            continue  # without a mistake in the query they take effect, or their answer has a path of its own
        request = AdminRequest(method, below, query, content)
        answer = local.send(request)
        expected = remote.send(request)
        if answer.body == expected.body:
            assert answer == expected
            continue
        # It was not a mistake for this operation. What it added has an id of its own, and two looks have a time each.
        assert answer.status == expected.status < 300, (query, content, answer, expected)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nope"), ("GET", "/faults/a/b"), ("DELETE", "/faults/"), ("PATCH", "/faults"), ("PUT", "/clock")],
)
def test_unknown_routes_are_the_same_error(pair: tuple[Transport, Transport], method: str, path: str) -> None:
    local, remote = pair
    answer = local.send(AdminRequest(method, path))
    assert answer == remote.send(AdminRequest(method, path))
    assert answer.status in (404, 405)


@pytest.mark.parametrize("id", ["a b", "a?account=*", "a#b", "ünï", "a&b=c", "a+b", "%41", "a;b", "🙂"])
def test_unusual_ids_are_the_same_error(emulator: Emulator, id: str) -> None:
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        errors = []
        for either in (emulator, remote):
            with pytest.raises(EmulatorError) as caught:
                either.faults.remove(id)
            errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert "fault not found" in errors[0]


def test_a_body_that_is_too_large_is_refused_by_both(pair: tuple[Transport, Transport]) -> None:
    for size, path in ((MOST_BYTES + 1, "/scenario"), (2 * 1024**2, "/faults")):
        request = AdminRequest("POST", path, {}, b'{"scenario": "' + b"x" * size)
        answers = [transport.send(request) for transport in pair]
        assert answers[0] == answers[1]
        assert answers[0].status in (400, 413)


def test_another_admin_key_is_refused_by_both(emulator: Emulator) -> None:
    runtime = emulator._running()
    assert runtime.app is not None
    assert emulator._loop is not None
    url = emulator.base_url
    local = InProcessTransport(runtime.app, emulator._loop, url, "wrong", lambda: runtime.platform, os.getpid())
    with contextlib.closing(HttpTransport(url, "wrong")) as remote:
        answers = [transport.send(AdminRequest("GET", "/clock")) for transport in (local, remote)]
    assert answers[0] == answers[1]
    assert answers[0].status == 401


# --- streams


def test_export_and_import_in_the_process_hold_the_same_as_over_http(own_emulator: Any, tmp_path: Any) -> None:
    one, other = own_emulator(), own_emulator()
    with one.client() as client:
        box = client.sandboxes.create(template="minimal").id
        client.sandboxes.exec(box, "head -c 3000000 /dev/urandom > noise")
    one.export(tmp_path / "local.tar.gz")
    with RemoteEmulator(one.base_url, one.admin_key) as remote:
        remote.export(tmp_path / "remote.tar.gz")
    for name in ("local", "remote"):
        target = own_emulator()
        target.import_(tmp_path / f"{name}.tar.gz")
        assert [held.id for held in target.inventory.sandboxes(account="*")] == [box]
    (tmp_path / "text.tar.gz").write_text("text")
    with RemoteEmulator(other.base_url, other.admin_key) as remote:
        remote.import_(tmp_path / "local.tar.gz")
        with pytest.raises(ValueError, match="cannot be read as an export") as refused:
            remote.import_(tmp_path / "text.tar.gz")
    with pytest.raises(ValueError, match=re.escape(str(refused.value))):
        other.import_(tmp_path / "text.tar.gz")


def test_a_download_that_is_left_early_leaves_nothing_and_blocks_nothing(own_emulator: Any) -> None:
    emulator = own_emulator()
    with emulator.client() as client:
        box = client.sandboxes.create(template="minimal").id
        client.sandboxes.exec(box, "head -c 3000000 /dev/urandom > noise")
    with emulator._admin.download("/export", account="*", timeout=60) as pieces:
        assert next(pieces).startswith(b"\x1f\x8b")
    deadline = time.monotonic() + 60
    while list(emulator.run_dir.glob("transfer-*")):
        assert time.monotonic() < deadline, "the temporary archive was not removed"
        time.sleep(0.01)
    assert emulator.faults.list() == []


def test_an_error_while_reading_an_upload_is_raised_as_it_is(pair: tuple[Transport, Transport]) -> None:
    def broken() -> Iterator[bytes]:
        yield b"\x1f\x8b"
        raise OSError("the disk failed")

    for transport in pair:
        with pytest.raises(OSError, match="the disk failed"):
            transport.send(AdminRequest("POST", "/import", {}, broken()))
        assert transport.send(AdminRequest("GET", "/clock")).status == 200


# --- no connection

NO_CONNECTION = """
import sys
connected = []
def hook(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        connected.append(arguments[1][1])
sys.addaudithook(hook)
from caged.emulator import Emulator
with Emulator(isolation="process") as emulator:
    port = int(emulator.base_url.rpartition(":")[2])
    with emulator.account() as view:
        with view.faults.add("account.get", status=503, optional=True) as fault:
            assert fault.triggered == 0
        with view.commands.stub("make", lambda command: "made", optional=True):
            view.clock.freeze()
        assert view.agents.unused() == view.unused() == view.inventory.sandboxes() == []
        view.journal.clear()
        view.export(sys.argv[1])
    emulator.import_(sys.argv[1])
    assert len(emulator.accounts()) == 2
    emulator.reset(account="*")
    assert connected == [], connected
    assert "httpx" not in sys.modules and "httpcore" not in sys.modules
    from caged.emulator import RemoteEmulator
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        remote.faults.list()
    assert connected == [port], "the hook sees connections"
"""


def test_controls_in_the_process_make_no_connection_and_load_no_http_client(tmp_path: Any) -> None:
    command = [sys.executable, "-c", NO_CONNECTION, str(tmp_path / "x.tar.gz")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


# --- waiting


def test_a_call_on_the_emulators_own_loop_is_an_error(emulator: Emulator) -> None:
    async def call() -> str:
        try:
            emulator.faults.list()
        except EmulatorError as error:
            return str(error)
        return "no error"

    assert "own event loop, which would wait for itself; call it from another thread" in call_on_loop(
        emulator, call(), 10
    )


def test_a_call_from_another_event_loop_works(emulator: Emulator) -> None:
    async def call() -> Any:
        return emulator.faults.list()

    assert asyncio.run(call()) == emulator.faults.list()


def test_a_function_of_a_stub_may_use_the_controls(double: Any, client: Caged, box: str) -> None:
    def answer(_command: str) -> str:
        double.clock.freeze("2031-05-06T00:00:00Z")
        return f"{len(double.commands.list())} stub, {double.clock.now():%Y}"

    with double.commands.stub("count", answer):
        assert client.sandboxes.exec(box, "count").output == "1 stub, 2031"


def test_the_callers_context_is_not_the_emulators(pair: tuple[Transport, Transport], monkeypatch: Any) -> None:
    local = pair[0]
    assert isinstance(local, InProcessTransport)
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []
    app = local._app

    async def looking(scope: Any, receive: Any, send: Any) -> None:
        seen.append(variable.get())
        await app(scope, receive, send)

    monkeypatch.setattr(local, "_app", looking)
    variable.set("of the caller")
    assert local.send(AdminRequest("GET", "/clock")).status == 200
    assert seen == ["unset"]


def test_a_call_without_an_answer_ends_at_its_time_limit(pair: tuple[Transport, Transport], monkeypatch: Any) -> None:
    local = pair[0]
    begun, gone = threading.Event(), threading.Event()

    async def silent(_scope: Any, receive: Any, _send: Any) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    monkeypatch.setattr(local, "_app", silent)
    for seconds in (0.1, 2, 10):  # on a busy machine the application may not have begun by then
        with pytest.raises(EmulatorError, match=r"the emulator at http://\S+/_emulator/ does not answer: timed out"):
            local.send(AdminRequest("GET", "/clock", timeout=seconds))
        if begun.is_set():
            break
    assert gone.wait(60), "the application was not informed"
    export = AdminRequest("GET", "/export", timeout=0.1)
    with pytest.raises(EmulatorError, match="timed out after"), local.stream(export):
        pass


@pytest.mark.parametrize("is_begun", [False, True])
def test_an_application_that_fails_is_an_error(
    pair: tuple[Transport, Transport], monkeypatch: Any, is_begun: bool
) -> None:
    async def failing(_scope: Any, _receive: Any, send: Any) -> None:
        if is_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise LookupError("broken")

    local = pair[0]
    monkeypatch.setattr(local, "_app", failing)
    message = r"the emulator failed: LookupError\('broken'\)"
    with pytest.raises(EmulatorError, match=message):
        local.send(AdminRequest("GET", "/export"))
    with pytest.raises(EmulatorError, match=message), local.stream(AdminRequest("GET", "/export")) as answer:
        list(answer.pieces)


def test_an_answer_that_ends_early_is_an_error(pair: tuple[Transport, Transport], monkeypatch: Any) -> None:
    async def ending(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    local = pair[0]
    monkeypatch.setattr(local, "_app", ending)
    with pytest.raises(EmulatorError, match="the emulator's answer broke off"):
        local.send(AdminRequest("GET", "/clock"))


def test_a_call_that_is_waiting_ends_when_the_emulator_stops(own_emulator: Any, monkeypatch: Any) -> None:
    emulator = own_emulator()
    view = emulator.for_account(emulator.accounts()[0])
    entered = threading.Event()

    async def silent(_scope: Any, _receive: Any, _send: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(emulator._admin._transport, "_app", silent)
    raised: list[BaseException] = []

    def call() -> None:
        try:
            view.faults.list()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert entered.wait(60)
    emulator.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert [type(one) for one in raised] == [EmulatorError]
    assert "does not answer: it has stopped" in str(raised[0])
    closed = r"the connection to the emulator at http://\S+/_emulator/ was closed; create a new Emulator$"
    with pytest.raises(EmulatorError, match=closed):
        view.faults.list()
    with pytest.raises(EmulatorError, match="this emulator is not running"):
        emulator.faults.list()


def test_controls_of_an_emulator_that_starts_again_work(own_emulator: Any) -> None:
    emulator = own_emulator()
    emulator.faults.add(status=503, optional=True)
    emulator.stop()
    emulator.start()
    assert emulator.faults.list() == []


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this platform has no fork")
def test_a_forked_child_calls_over_http(own_emulator: Any) -> None:
    emulator = own_emulator()
    account = emulator.create_account()
    view = emulator.for_account(account)
    child = os.fork()
    if not child:
        code = 1
        try:
            view.faults.add("account.get", status=503)
            assert not view._admin.is_local
            with pytest.raises(EmulatorError, match="needs an emulator in this process"):
                view.commands.stub("make", lambda command: command)
            code = 0
        finally:
            os._exit(code)
    _pid, status = os.waitpid(child, 0)
    assert status == 0
    assert [fault.account for fault in view.faults.list()] == [account.id]


def test_what_a_call_changes_is_durable_when_it_returns(own_emulator: Any, tmp_path: Any) -> None:
    emulator = own_emulator(state_dir=tmp_path / "state")
    commits = []
    platform = platform_of(emulator)
    commit = platform.commit
    platform.commit = lambda: (commits.append(1), commit())[1]
    account = emulator.create_account("kept")
    assert commits
    emulator.stop()
    again = own_emulator(state_dir=tmp_path / "state")
    assert account.id in [one.id for one in again.accounts()]
