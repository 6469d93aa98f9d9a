"""The terminal of a sandbox, over a WebSocket, and the list of open ones (wire-contract.md 4.2, 4.3;
wire-other-clients.md 5)."""

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
from .operation import Call, EmptyBody, Model, Operations, json_reply
from .sockets import SocketCall, SocketOperation, close, upgrade_required

operations = Operations()

ROWS, COLS, MOST = 24, 80, 1000
#: Some clients attach their listener a moment after the handshake, and lose earlier output (wire-other-clients.md 5).
FIRST_OUTPUT_SECONDS = 0.05
#: How much a client may type ahead of what the foreground program has read.
UNREAD_CHARACTERS = 8 * 1024 * 1024
#: How long output is held back for the digits that follow an exit marker, which have to be in the same message.
DIGITS_SECONDS = 1.0


class TerminalEntry(Model):
    """An open terminal. The platform's fields are not public; these are the emulator's. `kind`: interactive or
    stream."""

    id: str
    sandbox_id: str
    kind: str
    rows: int
    cols: int
    created_at: str


@operations.add("GET", "/v1/sandboxes/{id}/terminal/sessions", "sandboxes.terminal_sessions", reply=list[TerminalEntry])
async def sessions(call: Call[EmptyBody]) -> Response:
    found = call.platform.terminals.of_sandbox(call.account, call.param("id"))
    return json_reply([_serialize(session) for session in found])


def _serialize(session: OpenTerminal) -> TerminalEntry:
    return TerminalEntry(
        id=session.id,
        sandbox_id=session.sandbox_id,
        kind="stream" if session.quiet else "interactive",
        rows=session.rows,
        cols=session.cols,
        created_at=session.created_at,
    )


async def terminal(call: SocketCall) -> None:
    """Serve one terminal, until its shell ends or the client disconnects."""
    if call.key.scope == "read_only":
        raise ApiError(403, "this key is read-only", "read_only_key", "", "api_key", call.key.id)
    query = call.socket.query_params
    quiet = "rows" not in query and "cols" not in query
    rows, cols = _size(call.query_int("rows"), call.query_int("cols"))
    async with call.platform.terminals.open(call.sandbox, rows, cols, quiet) as session:
        transcript = call.platform.terminals.transcript(call.sandbox, session)
        await call.accept("stream" if quiet else "terminal")
        output = asyncio.ensure_future(_forward_output(call.socket, session, transcript))
        typed = TypedInput()
        forwarding = asyncio.ensure_future(_forward_input(call.socket, typed, session, transcript))
        receiving = asyncio.ensure_future(_receive_messages(call.socket, session, typed))
        tasks = (output, forwarding, receiving)
        try:
            await asyncio.wait({output, receiving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            transcript.close()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect):
                raise result
        if output.done() and not output.cancelled():
            await close(call.socket, 1000)


def _size(rows: int, cols: int) -> tuple[int, int]:
    """A usable size. A client whose own terminal has no size sends 0."""
    return min(rows or ROWS, MOST), min(cols or COLS, MOST)


async def _forward_output(socket: WebSocket, session: OpenTerminal, transcript: Transcript) -> None:
    """Send what the shell writes, until it ends. A client that does not read blocks the program that writes."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    await asyncio.sleep(FIRST_OUTPUT_SECONDS)
    held, sent_tail, ended = "", "", False
    while not ended:
        data = await _read(session, DIGITS_SECONDS if held else transcript.output_patience)
        ended = data == b""
        text, held = held + decoder.decode(data or b"", final=ended), ""
        if session.quiet and data:
            text, held = _hold_unfinished_exit(sent_tail, text)
        text = transcript.handle_output(text) if text else text
        if not data:
            text += transcript.release_output()
        if text:
            await _send_output(socket, text)
            sent_tail = (sent_tail + text)[-64:]


async def _send_output(socket: WebSocket, text: str) -> None:
    await socket.send_text(json.dumps({"type": "output", "data": text}, ensure_ascii=False))


async def _read(session: OpenTerminal, limit: Optional[float]) -> Optional[bytes]:
    """The next output, empty at the end; None when there was none within `limit` seconds."""
    if limit is None:
        return await session.terminal.read()
    try:
        return await asyncio.wait_for(session.terminal.read(), limit)
    except asyncio.TimeoutError:
        return None


def _hold_unfinished_exit(before: str, text: str) -> tuple[str, str]:
    """Split text before an exit marker whose digits may be incomplete: (what can be sent, what is held back).

    Args:
        before: The end of what was sent before.
        text: The text to send.
    """
    unfinished = UNFINISHED_EXIT.search(before + text)
    if unfinished is None:
        return text, ""
    start = max(unfinished.start() - len(before), 0)
    return text[:start], text[start:]


class TypedInput:
    """The queue of what a client has typed and no program has read yet."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._is_not_empty = asyncio.Event()
        self.characters = 0

    def add(self, text: str) -> None:
        """Append text to the queue."""
        self._texts.append(text)
        self.characters += len(text)
        self._is_not_empty.set()

    async def next(self, limit: Optional[float]) -> str:
        """Wait for the next text, at most `limit` seconds; None: without a limit. Returns an empty text after that."""
        try:
            await asyncio.wait_for(self._is_not_empty.wait(), limit)
        except asyncio.TimeoutError:
            return ""
        text = self._texts.popleft()
        self.characters -= len(text)
        if not self._texts:
            self._is_not_empty.clear()
        return text


async def _forward_input(socket: WebSocket, typed: TypedInput, session: OpenTerminal, transcript: Transcript) -> None:
    """Pass on what the client types to the shell, and answer what a stub answers."""
    while True:
        text = await typed.next(transcript.input_patience)
        shown, passed = await transcript.handle_input(text) if text else ("", transcript.release_input())
        if shown:
            await _send_output(socket, shown)
        await session.terminal.write(passed)


async def _receive_messages(socket: WebSocket, session: OpenTerminal, typed: TypedInput) -> None:
    """Process what the client sends, until it disconnects. Invalid messages are ignored.

    It never waits for the program, because only a reader notices a disconnect.
    """
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
                await close(socket, 1009, "no program in the sandbox reads what is typed")
                return
            typed.add(message["data"])
        elif kind == "resize":
            # A client that does not know a size sends 0 or omits it: the present one stays.
            rows, cols = _positive(message.get("rows")) or session.rows, _positive(message.get("cols")) or session.cols
            session.resize(min(rows, MOST), min(cols, MOST))
        elif kind == "ping":
            await socket.send_text('{"type":"pong"}')


def _positive(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


PATH = "/v1/sandboxes/{id}/terminal"
operations.add("GET", PATH, "sandboxes.terminal", status=101, errors=[409, 426])(upgrade_required)
socket_operation = SocketOperation(PATH, "sandboxes.terminal", terminal)
