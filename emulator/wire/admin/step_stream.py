"""A response of server-sent events, one for each step that is added or changed."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Callable, Optional

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...control.step import Step
from ...control.step_reader import StepReader
from ..fault_injection.connection import TRANSPORT, until_disconnected

#: Seconds without a step after which a stream sends a comment, so that both ends see a lost connection.
HEARTBEAT_SECONDS = 15.0
#: Seconds that a client has for what is left, when the emulator stops or the account is deleted.
LAST_SECONDS = 0.5
#: Milliseconds after which a client of `EventSource` comes back when it has lost the connection.
RETRY_MILLISECONDS = 500
#: Bytes of events that are sent as one piece, besides the last event of it: of thousands that wait, each in a piece of
#: its own takes twice the CPU time, of the emulator and of what reads it.
PIECE_BYTES = 32 * 1024


class StepStream(Response):
    """The events of a reader, each with the step as JSON and its revision as the id.

    Args:
        reader: What is sent.
        wait: Seconds without a new step after which it ends; None: it ends when the reader has.
        shown: Returns a step as it is sent.
    """

    media_type = "text/event-stream"

    def __init__(self, reader: StepReader, wait: Optional[float], shown: Callable[[Step], dict[str, Any]]) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._reader = reader
        self._wait = wait
        self._shown = shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body"})
            return
        with self._reader.listening():
            sending = asyncio.ensure_future(self._send(send))
            gone = asyncio.ensure_future(until_disconnected(receive))
            ended = asyncio.ensure_future(self._ended())
            try:
                await asyncio.wait({sending, gone, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not sending.done() and not gone.done():
                    await asyncio.wait({sending, gone}, timeout=LAST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not sending.done() and not gone.done() and scope.get(TRANSPORT) is not None:
                    scope[TRANSPORT].abort()  # it does not read, and the rest would be waited for
            finally:
                for task in (sending, gone, ended):
                    task.cancel()
                results = await asyncio.gather(sending, gone, ended, return_exceptions=True)
            if isinstance(results[0], Exception):
                raise results[0]

    async def _send(self, send: Send) -> None:
        await _send_piece(send, f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        loop = asyncio.get_running_loop()
        newest = loop.time()
        while True:
            piece = self._ready()
            if piece:
                await _send_piece(send, piece)
                newest = loop.time()
            elif self._reader.has_ended:
                break
            else:
                rest = None if self._wait is None else max(0.0, newest + self._wait - loop.time())
                seconds = HEARTBEAT_SECONDS if rest is None else min(rest, HEARTBEAT_SECONDS)
                if await self._reader.wait(seconds):
                    continue
                if rest is not None and rest <= HEARTBEAT_SECONDS:
                    break
                await _send_piece(send, b": nothing new\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _ready(self) -> bytes:
        """Return the events of steps that wait, up to a piece; empty without one."""
        events: list[bytes] = []
        size = 0
        while size < PIECE_BYTES:
            step = self._reader.take()
            if step is None:
                break
            events.append(_event(step.revision, self._shown(step)))
            size += len(events[-1])
        return b"".join(events)

    async def _ended(self) -> None:
        await self._reader.ended.wait()


async def _send_piece(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


def _event(revision: int, step: dict[str, Any]) -> bytes:
    return f"id: {revision}\ndata: {json.dumps(step, ensure_ascii=False)}\n\n".encode("utf-8", "replace")
