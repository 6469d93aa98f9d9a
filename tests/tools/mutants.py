"""An emulator with mutants: each alters one thing in many responses. It is between the application and the server,
so everything behind it is the real emulator."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Optional
from unittest import mock

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caged.emulator import Emulator, app

#: Values that a client has to send back unchanged: if they were altered, all later calls would fail.
KEPT = {"id", "key", "ticket", "url", "preview_url", "sandbox_id", "session_id", "path", "output"}


@dataclass
class Answer:
    """A response over HTTP, before it is sent."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def data(self) -> Any:
        """Its JSON; None when it has none."""
        return json.loads(self.body) if self.body and "json" in self.headers.get("content-type", "") else None

    @data.setter
    def data(self, value: Any) -> None:
        self.body = json.dumps(value).encode()


@dataclass
class Mutant:
    """`http` alters a response; `socket` returns the messages to send instead of a message to a WebSocket;
    `request` alters the scope of a handshake; a mutant that `lingers` leaves a WebSocket open until its client
    disconnects."""

    name: str
    http: Callable[[Answer], None] = lambda _answer: None
    socket: Callable[[Message], list[Message]] = lambda message: [message]
    request: Callable[[Scope], None] = lambda _scope: None
    lingers: bool = False


HONEST = Mutant("honest")


@dataclass
class Liar:
    """The application of an emulator, with the mutant that is active."""

    inner: ASGIApp
    mutant: Mutant = field(default_factory=lambda: HONEST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        mutant = self.mutant
        if scope["type"] == "websocket":

            async def lie(message: Message) -> None:
                if message["type"] == "websocket.http.response.start":
                    message["status"] = _altered(mutant, scope, message["status"], {}, b"").status
                for altered in mutant.socket(message):
                    await send(altered)

            gone = False

            async def listen() -> Message:
                nonlocal gone
                message = await receive()
                gone = gone or message["type"] == "websocket.disconnect"
                return message

            scope = dict(scope)
            mutant.request(scope)
            await self.inner(scope, listen, lie)
            while mutant.lingers and not gone:
                await listen()
            return
        start: Message = {}
        body = b""

        async def hold(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
            answer = _altered(mutant, scope, start["status"], headers, body)
            if answer.body or "content-length" in answer.headers:
                answer.headers["content-length"] = str(len(answer.body))
            if answer.status == 204:
                answer.body = b""
            raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
            await send({"type": "http.response.start", "status": answer.status, "headers": raw})
            await send({"type": "http.response.body", "body": answer.body})

        await self.inner(scope, receive, hold)


def _altered(mutant: Mutant, scope: Scope, status: int, headers: dict[str, str], body: bytes) -> Answer:
    path = scope["raw_path"].decode("latin-1").partition("?")[0]
    answer = Answer(scope.get("method", "GET"), path, status, headers, body)
    mutant.http(answer)
    return answer


@contextmanager
def lying_emulator() -> Iterator[tuple[Emulator, Liar]]:
    made: list[Liar] = []
    build = app.build

    def building(*arguments: Any) -> ASGIApp:
        made.append(Liar(build(*arguments)))
        return made[-1]

    with mock.patch.object(app, "build", building):
        emulator = Emulator().start()
    try:
        yield emulator, made[0]
    finally:
        emulator.stop()


# --- what mutants do


def every(change: Callable[[str, Any], Any], keep: Optional[set[str]] = None) -> Callable[[Answer], None]:
    """Alter each value in successful JSON responses, except lists and objects."""

    def walk(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: walk(name, inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [walk(key, inner) for inner in value]
        return value if key in (KEPT if keep is None else keep) else change(key, value)

    def http(answer: Answer) -> None:
        if answer.good and answer.data is not None:
            answer.data = walk("", answer.data)

    return http


def _refusals_are_418(answer: Answer) -> None:
    if 400 <= answer.status < 500:
        answer.status = 418


def _refusals_say_nothing(answer: Answer) -> None:
    if answer.status >= 400:
        answer.data = {"title": "no"}
        answer.headers["content-type"] = "application/vnd.no+json"


def _visitors_are_let_in(answer: Answer) -> None:
    if answer.status == 401 and answer.path.startswith("/_preview"):
        answer.status, answer.body = 200, b"hello /"


def _success_is_299(answer: Answer) -> None:
    if answer.good:
        answer.status = 299


def _calls_fail(answer: Answer) -> None:
    if answer.path != "/v1/sandboxes":
        answer.status = 500


def _wrapped(answer: Answer) -> None:
    if answer.good and answer.data is not None and answer.method != "POST":
        answer.data = {"items": answer.data} if isinstance(answer.data, list) else [answer.data]


def _emptied(answer: Answer) -> None:
    if answer.good and answer.data is not None and answer.method == "GET":
        if isinstance(answer.data, list):
            answer.data = []
        else:
            answer.data = {name: [] if isinstance(value, list) else value for name, value in answer.data.items()}


def _updates_are_turned(answer: Answer) -> None:
    if answer.method == "PUT":
        every(lambda _, value: not value if isinstance(value, bool) else value)(answer)


def _null_for_empty(answer: Answer) -> None:
    if answer.data == []:
        answer.data = None


def _headers_are_gone(answer: Answer) -> None:
    answer.headers = {"content-type": "application/octet-stream"}


def _bytes_are_others(answer: Answer) -> None:
    if answer.good and "json" not in answer.headers.get("content-type", ""):
        answer.body = b"!" + answer.body


def _with_text(change: Callable[[dict[str, Any]], list[Any]]) -> Callable[[Message], list[Message]]:
    """Alter the JSON of the messages of a WebSocket."""

    def socket(message: Message) -> list[Message]:
        if message["type"] != "websocket.send" or message.get("text") is None:
            return [message]
        return [{**message, "text": json.dumps(one)} for one in change(json.loads(message["text"]))]

    return socket


def _report_the_end(message: Message) -> list[Message]:
    """The published client 0.2.0 expects this message, but the platform never sends it."""
    if message["type"] != "websocket.close":
        return [message]
    return [{"type": "websocket.send", "text": json.dumps({"type": "exit", "code": 0})}, message]


def _first_output_closes(message: Message) -> list[Message]:
    if message["type"] == "websocket.send":
        return [{"type": "websocket.close", "code": 1011}]
    return [] if message["type"] == "websocket.close" else [message]


def _closes_otherwise(message: Message) -> list[Message]:
    return [{**message, "code": 1008}] if message["type"] == "websocket.close" else [message]


def _never_closes(message: Message) -> list[Message]:
    return [] if message["type"] == "websocket.close" else [message]


def _named(name: Optional[str]) -> Callable[[Message], list[Message]]:
    def socket(message: Message) -> list[Message]:
        return [{**message, "subprotocol": name}] if message["type"] == "websocket.accept" else [message]

    return socket


def _slowly(message: dict[str, Any]) -> list[Any]:
    """A message for each letter. A long text comes in 100 parts: a million messages would occupy the server's loop."""
    data = message.get("data")
    if not isinstance(data, str):
        return [message]
    size = 1 + len(data) // 100
    return [{**message, "data": data[start : start + size]} for start in range(0, len(data), size)]


def _other_result(message: dict[str, Any]) -> list[Any]:
    if "error" in message:
        return [{**message, "error": {"code": -1, "message": "no"}}]
    return [{**message, "result": {"other": 1}} if "result" in message else message]


# --- mutants of the MCP server


def _mcp_result(change: Callable[[dict[str, Any]], Any]) -> Callable[[Message], list[Message]]:
    """Alter the results of a sandbox's MCP server."""

    def altered(message: dict[str, Any]) -> list[Any]:
        if isinstance(message.get("result"), dict):
            change(message["result"])
        return [message]

    return _with_text(altered)


def _mcp_text(old: str, new: str) -> Callable[[Message], list[Message]]:
    """Replace texts of the tools by regular expressions."""

    def change(result: dict[str, Any]) -> None:
        for block in result.get("content", ()):
            if "text" in block:
                block["text"] = re.sub(old, new, block["text"])

    return _mcp_result(change)


def _texts_are_never_missing(result: dict[str, Any]) -> None:
    for block in result.get("content", ()):
        block.setdefault("text", "")


def _large_messages_close(message: Message) -> list[Message]:
    refused = message["type"] == "websocket.send" and "Invalid Request: the message is" in (message.get("text") or "")
    return [{"type": "websocket.close", "code": 1009}] if refused else [message]


#: Name of a check -> the mutant that makes it fail, and no other check of the group.
OF_MCP = {
    "mcp.jsonrpc": Mutant(
        "replies do not say jsonrpc", socket=_with_text(lambda m: [{k: v for k, v in m.items() if k != "jsonrpc"}])
    ),
    "mcp.message-limit": Mutant("large files are cut", socket=_mcp_text(r"wrote \d{7} bytes", "wrote 1048576 bytes")),
    "mcp.message-too-large": Mutant("large messages close", socket=_large_messages_close),
    "mcp.exec-shell": Mutant("terminal_exec runs bash", socket=_mcp_text(r"\Ash\n\Z", "bash\n")),
    "mcp.exec-failure": Mutant("no blank line before the status", socket=_mcp_text("\n\nexit: exit", "\nexit: exit")),
    "mcp.exec-killed": Mutant("signals are statuses", socket=_mcp_text("signal: killed", "exit status 137")),
    "mcp.empty-text": Mutant("empty texts are there", socket=_mcp_result(_texts_are_never_missing)),
    "mcp.read-error": Mutant("errors name no call", socket=_mcp_text("error: open /workspace/", "error: ")),
    "mcp.write-without-content": Mutant("content is required", socket=_mcp_text("wrote 0 .*", "content is required")),
    "mcp.search-names": Mutant("searches find more", socket=_mcp_text("no matches found", "found.txt")),
    "mcp.listing-sizes": Mutant("directories have no size", socket=_mcp_text(r"\Ad +\d+", "d        0")),
}


# --- mutants of what the SDK's helpers rely on


def _command_output(old: str, new: str) -> Callable[[Answer], None]:
    """Replace output of commands by regular expressions."""

    def http(answer: Answer) -> None:
        if answer.path.endswith("/exec") and answer.good:
            answer.data = {**answer.data, "output": re.sub(old, new, answer.data["output"])}

    return http


def _encoded(old: bytes, new: bytes) -> Callable[[Answer], None]:
    """Replace bytes in output that is base64, with lines between that begin with @ or are numbers."""

    def http(answer: Answer) -> None:
        if not answer.path.endswith("/exec") or not answer.good:
            return
        blocks = re.split(r"(^@[^\n]*$|^\d+$)", answer.data["output"], flags=re.M)
        for index, block in enumerate(blocks):
            try:
                content = base64.b64decode("".join(block.split()), validate=True)
            except ValueError:
                continue
            if old in content:
                blocks[index] = base64.b64encode(content.replace(old, new)).decode() + "\n"
        answer.data = {**answer.data, "output": "".join(blocks)}

    return http


def _logs_are_empty(answer: Answer) -> None:
    if answer.path.endswith("/logs") and answer.good:
        answer.data = []


#: Name of a check -> the mutant that makes it fail, and no other check of the group.
OF_HELPERS = {
    "helpers.shell": Mutant("subshells exit with 0", _command_output("nine\n7", "nine\n0")),
    "helpers.programs": Mutant("mkfifo is missing", _command_output(r"\Amissing\n", "mkfifo\nmissing\n")),
    "helpers.options": Mutant("touch sets no time", _command_output("640 1000000000", "640 1000000001")),
    "helpers.base64": Mutant("base64 has other bytes", _command_output("AAECAwQF", "AAECAwQA")),
    "helpers.tar": Mutant("tar keeps no modes", _command_output("text\n751", "text\n644")),
    "helpers.scratch": Mutant("directories in /tmp do not stay", _command_output("kept\n", "")),
    "helpers.scratch-write": Mutant("the API's /tmp is another", _command_output("by the API and", "and")),
    "helpers.large-write": Mutant("writes end at 1 MiB", _command_output(r"\A *\d{7}\n", "1048575\n")),
    "helpers.large-output": Mutant("output ends early", _command_output("y{2000000,}", "y")),
    "helpers.long-command": Mutant("commands are cut", _command_output(r"\A *98304\n", "4096\n")),
    "helpers.proc": Mutant("variables are hidden", _command_output("marked\n", "")),
    "helpers.second-command": Mutant("commands wait for each other", _command_output(r"\Aended", "late")),
    "helpers.user": Mutant("su says nothing", _command_output(r"daemon\nas user|\Asu: .*\n", "")),
    "helpers.copies": Mutant("cp keeps no modes", _command_output("g 14 604", "g 14 644")),
    "helpers.reasons": Mutant("messages are others", _command_output(r"(No such file or directory\n){3}", "no\n" * 3)),
    "helpers.restore-elsewhere": Mutant("restores do nothing", _command_output(r"\Athen\nelse", "else")),
    "helpers.create-error": Mutant("logs are empty", _logs_are_empty),
    "helpers.process": Mutant("exit codes are lost", _command_output(r"@exited (\d+) (\d+) 7\b", r"@exited \1 \2 0")),
    "helpers.paths": Mutant("contents are others", _encoded(b"\xffof paths", b"?of paths")),
    "helpers.run": Mutant("bytes of a command are others", _encoded(b"\x00run\n\xff", b"\x00run\n?")),
    "helpers.run-timeout": Mutant("children live on", _command_output("child ended", "child lives")),
    "helpers.transfer": Mutant("bytes of files are others", _encoded(b"\xffbytes", b"?bytes")),
}


def _no_token(scope: Scope) -> None:
    scope["query_string"] = b"token=unknown"


def _number(_key: str, value: Any) -> Any:
    return value + 1 if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _one_more_key(value: Any) -> Any:
    """Add a key that is not in the contract to every object."""
    if isinstance(value, dict):
        return {**{name: _one_more_key(inner) for name, inner in value.items()}, "caged_more": 1}
    return [_one_more_key(inner) for inner in value] if isinstance(value, list) else value


def _more_keys(answer: Answer) -> None:
    if answer.good and answer.data is not None:
        answer.data = _one_more_key(answer.data)


def _refusals_say_more(answer: Answer) -> None:
    if answer.status >= 400 and isinstance(answer.data, dict):
        answer.data = {**answer.data, "error": answer.data.get("detail"), "instance": answer.path}


def _paths_outside_are_403(answer: Answer) -> None:
    if answer.status in (400, 404) and "/files" in answer.path:
        answer.status = 403


def _sessions_must_be_known(answer: Answer) -> None:
    if answer.path == "/v1/events/ingest" and answer.good:
        answer.data = {"accepted": 0, "errors": answer.data["accepted"] + answer.data["errors"]}


def _models_cost_nothing(answer: Answer) -> None:
    every(lambda key, value: 0.0 if key == "llm_cost" else value, keep=set())(answer)


def _alerts_have_older_texts(answer: Answer) -> None:
    every(lambda key, value: "Budget used up" if key == "title" else value, keep=set())(answer)


def _hints_are_others(answer: Answer) -> None:
    every(lambda key, value: f"\u2026{value[-4:]}" if key.endswith("_hint") and value else value, keep=set())(answer)


class _EverySubprotocol:
    """Accepts every subprotocol that a client requests."""

    def __init__(self) -> None:
        self._offered: list[str] = []

    def request(self, scope: Scope) -> None:
        self._offered = list(scope.get("subprotocols") or ())

    def socket(self, message: Message) -> list[Message]:
        agrees = message["type"] == "websocket.accept" and self._offered
        return [{**message, "subprotocol": self._offered[0]}] if agrees else [message]


_AGREEING = _EverySubprotocol()

OF_ANSWERS = (
    Mutant("refusals are 418", _refusals_are_418),
    Mutant("success is 299", _success_is_299),
    Mutant("refusals say nothing", _refusals_say_nothing),
    Mutant("arrays are wrapped and objects are not", _wrapped),
    Mutant("texts are others", every(lambda _, value: value[::-1] + "~" if isinstance(value, str) else value)),
    Mutant("outputs are others", every(lambda key, value: f"~{value}" if key == "output" else value, keep=set())),
    Mutant("exit codes are others", every(lambda key, value: value + 1 if key == "exit_code" else value)),
    Mutant("numbers are larger", every(lambda key, value: value if key == "exit_code" else _number(key, value))),
    Mutant("numbers are texts", every(lambda k, v: str(v) if isinstance(v, (int, float)) and k != "exit_code" else v)),
    Mutant("truths are turned", every(lambda _, value: not value if isinstance(value, bool) else value)),
    Mutant("truths of updates are turned", _updates_are_turned),
    Mutant("nulls are filled", every(lambda _, value: "~" if value is None else value)),
    Mutant("secrets look otherwise", every(lambda k, v: f"x{v}" if k in ("key", "ticket") else v, keep=set())),
    Mutant("null for an empty list", _null_for_empty),
    Mutant("lists are empty", _emptied),
    Mutant("headers are gone", _headers_are_gone),
    Mutant("bytes are others", _bytes_are_others),
    Mutant("visitors are let in", _visitors_are_let_in),
    Mutant("objects have one more key", _more_keys),
    Mutant("refusals say more", _refusals_say_more),
    Mutant("paths outside are 403", _paths_outside_are_403),
    Mutant("sessions must be known", _sessions_must_be_known),
    Mutant("models cost nothing", _models_cost_nothing),
    Mutant("alerts have older texts", _alerts_have_older_texts),
    Mutant("hints are others", _hints_are_others),
    Mutant("calls fail", _calls_fail),
)
OF_SOCKETS = (
    Mutant("no subprotocol", socket=_named(None)),
    Mutant("every subprotocol is agreed to", socket=_AGREEING.socket, request=_AGREEING.request),
    Mutant("the first output closes", socket=_first_output_closes),
    Mutant("messages come twice", socket=_with_text(lambda message: [message, message])),
    Mutant("messages come letter by letter", socket=_with_text(_slowly)),
    Mutant("results are others", socket=_with_text(_other_result)),
    Mutant("ids are texts", socket=_with_text(lambda m: [{**m, "id": str(m["id"])} if "id" in m else m])),
    Mutant("terminals report how they end", socket=_report_the_end),
    Mutant("another close code", socket=_closes_otherwise),
    Mutant("sockets stay open", socket=_never_closes, lingers=True),
    Mutant("another subprotocol", socket=_named("other")),
    Mutant("sockets are refused", request=_no_token),
)


def combined(*mutants: Mutant) -> Mutant:
    """Return a mutant that alters what each of several does."""

    def http(answer: Answer) -> None:
        for mutant in mutants:
            mutant.http(answer)

    def socket(message: Message) -> list[Message]:
        messages = [message]
        for mutant in mutants:
            messages = [altered for one in messages for altered in mutant.socket(one)]
        return messages

    return Mutant(" and ".join(mutant.name for mutant in mutants), http=http, socket=socket)


#: Mutants that do not disturb each other: a check that one of them makes fail, fails with all of them at once, too.
TOGETHER = ("refusals are 418", "success is 299", "objects have one more key", "outputs are others")
#: The mutants that most checks find: in this order nearly every check runs once, and only a few wait for a message
#: that never arrives.
FOUND_BY_MOST = (
    "texts are others",
    "secrets look otherwise",
    "arrays are wrapped and objects are not",
    "exit codes are others",
    "numbers are larger",
    "headers are gone",
    "truths of updates are turned",
    "refusals say more",
    "refusals say nothing",
    "nulls are filled",
    "null for an empty list",
    "calls fail",
    "sockets stay open",
    "another subprotocol",
)
