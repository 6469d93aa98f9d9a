"""The terminal socket and the list of open ones: wire-contract.md 4.2 and 4.3, wire-other-clients.md 5."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections import deque
from typing import Optional

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..json_values import has_more_values
from ..platform.errors import ApiError
from ..platform.stream_markers import UNFINISHED_EXIT
from ..platform.terminals import OpenTerminal
from ..platform.transcripts import Transcript
from .operation import Call, Model, NoBody, Operations, json_reply
from .sockets import Connection, SocketOperation, close, upgrade_required

operations = Operations()

ROWS, COLS, MOST = 24, 80, 1000
#: Some clients attach their listener a moment after the upgrade and lose what came with it (wire-other-clients.md 5).
FIRST_OUTPUT_SECONDS = 0.05
#: A client may be so much ahead of what the program in front reads.
UNREAD_CHARACTERS = 8 * 1024 * 1024
#: How long the digits behind an exit marker are waited for, so that they travel in one message with it.
DIGITS_SECONDS = 1.0


class TerminalSession(Model):
    """The platform's shape is not public; these are the facts that there are. `kind`: interactive or stream."""

    id: str
    sandbox_id: str
    kind: str
    rows: int
    cols: int
    created_at: str


@operations.add(
    "GET", "/v1/sandboxes/{id}/terminal/sessions", "sandboxes.terminal_sessions", reply=list[TerminalSession]
)
async def sessions(call: Call[NoBody]) -> Response:
    found = call.platform.terminals.of_sandbox(call.account, call.param("id"))
    return json_reply([_shown(session) for session in found])


def _shown(session: OpenTerminal) -> TerminalSession:
    return TerminalSession(
        id=session.id,
        sandbox_id=session.sandbox_id,
        kind="stream" if session.quiet else "interactive",
        rows=session.rows,
        cols=session.cols,
        created_at=session.created_at,
    )


async def terminal(connection: Connection) -> None:
    if connection.key.scope == "read_only":
        key = connection.key
        raise ApiError(403, "this key is read-only", "read_only_key", "", "api_key", key.id)
    query = connection.socket.query_params
    quiet = "rows" not in query and "cols" not in query
    rows, cols = _size(connection.query_int("rows"), connection.query_int("cols"))
    async with connection.platform.terminals.open(connection.sandbox, rows, cols, quiet) as session:
        transcript = connection.platform.terminals.transcript(connection.sandbox, session)
        await connection.accept("stream" if quiet else "terminal")
        showing = asyncio.ensure_future(_show(connection.socket, session, transcript))
        typed = Typed()
        typing = asyncio.ensure_future(_type(connection.socket, typed, session, transcript))
        listening = asyncio.ensure_future(_listen(connection.socket, session, typed))
        tasks = (showing, typing, listening)
        try:
            await asyncio.wait({showing, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            transcript.close()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect):
                raise result
        if showing.done() and not showing.cancelled():
            await close(connection.socket, 1000)


def _size(rows: int, cols: int) -> tuple[int, int]:
    """0 comes from clients whose own terminal has no size."""
    return min(rows or ROWS, MOST), min(cols or COLS, MOST)


async def _show(socket: WebSocket, session: OpenTerminal, transcript: Transcript) -> None:
    """Sends what the shell writes, until it ends. A client that does not read stops the program that writes."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    await asyncio.sleep(FIRST_OUTPUT_SECONDS)
    held, sent_tail, ended = "", "", False
    while not ended:
        data = await _read(session, DIGITS_SECONDS if held else transcript.output_patience)
        ended = data == b""
        text, held = held + decoder.decode(data or b"", final=ended), ""
        if session.quiet and data:
            text, held = _whole_exit(sent_tail, text)
        text = transcript.shown(text) if text else text
        if not data:
            text += transcript.release_output()
        if text:
            await _send_output(socket, text)
            sent_tail = (sent_tail + text)[-64:]


async def _send_output(socket: WebSocket, text: str) -> None:
    await socket.send_text(json.dumps({"type": "output", "data": text}, ensure_ascii=False))


async def _read(session: OpenTerminal, limit: Optional[float]) -> Optional[bytes]:
    """The next output; None when there was none within `limit` seconds."""
    if limit is None:
        return await session.terminal.read()
    try:
        return await asyncio.wait_for(session.terminal.read(), limit)
    except asyncio.TimeoutError:
        return None


def _whole_exit(before: str, text: str) -> tuple[str, str]:
    """(what can be sent, what waits): the digits of an exit code must not come in two messages."""
    unfinished = UNFINISHED_EXIT.search(before + text)
    if unfinished is None:
        return text, ""
    start = max(unfinished.start() - len(before), 0)
    return text[:start], text[start:]


class Typed:
    """What a client has typed and no program has read yet."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._some = asyncio.Event()
        self.characters = 0

    def add(self, text: str) -> None:
        self._texts.append(text)
        self.characters += len(text)
        self._some.set()

    async def next(self, limit: Optional[float]) -> str:
        """Empty when nothing was typed within `limit` seconds."""
        try:
            await asyncio.wait_for(self._some.wait(), limit)
        except asyncio.TimeoutError:
            return ""
        text = self._texts.popleft()
        self.characters -= len(text)
        if not self._texts:
            self._some.clear()
        return text


async def _type(socket: WebSocket, typed: Typed, session: OpenTerminal, transcript: Transcript) -> None:
    while True:
        text = await typed.next(transcript.input_patience)
        shown, passed = await transcript.typed(text) if text else ("", transcript.release_input())
        if shown:
            await _send_output(socket, shown)
        await session.terminal.write(passed)


async def _listen(socket: WebSocket, session: OpenTerminal, typed: Typed) -> None:
    """Takes what the client sends, until it goes: always, because only so its end is seen. What is no message of the
    protocol is passed over."""
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            return
        raw = received.get("text") or (received.get("bytes") or b"").decode("utf-8", "replace")
        try:
            message = {} if has_more_values(raw, MOST) else json.loads(raw)
        except (ValueError, RecursionError):
            continue
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "input" and isinstance(message.get("data"), str):
            if typed.characters > UNREAD_CHARACTERS:
                await close(socket, 1009, "nothing in the sandbox reads what is typed")
                return
            typed.add(message["data"])
        elif kind == "resize":
            # 0 or nothing comes from a client that does not know: what it is now stays.
            rows, cols = _whole(message.get("rows")) or session.rows, _whole(message.get("cols")) or session.cols
            session.resize(min(rows, MOST), min(cols, MOST))
        elif kind == "ping":
            await socket.send_text('{"type":"pong"}')


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


PATH = "/v1/sandboxes/{id}/terminal"
operations.add("GET", PATH, "sandboxes.terminal", status=101, errors=[409, 426])(upgrade_required)
socket_operation = SocketOperation(PATH, "sandboxes.terminal", terminal)
