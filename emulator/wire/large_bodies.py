"""Large responses: encoded in a thread, and sent in pieces, so that they delay no other response."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..workers import checkpoint

#: A response with a longer text is encoded by this module.
CHARACTERS = 64 * 1024
_SENT_BYTES = 256 * 1024


class LargeJson(Response):
    """Encoded JSON, sent in pieces: the event loop serves other requests between them."""

    media_type = "application/json"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for at in range(0, len(body), _SENT_BYTES):
            piece = bytes(body[at : at + _SENT_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def json_object(fields: Mapping[str, Any]) -> bytes:
    """Encode a JSON object as pydantic does. Blocks: run it in a thread."""
    pieces = [b"{"]
    for name, value in fields.items():
        pieces.append(b"," if len(pieces) > 1 else b"")
        pieces.append(f"{json.dumps(name)}:".encode())
        pieces += _text(value) if isinstance(value, str) else [json.dumps(value, separators=(",", ":")).encode()]
    return b"".join([*pieces, b"}"])


def json_array(items: Iterable[Mapping[str, Any]]) -> bytes:
    """Encode a JSON array of objects as pydantic does. Blocks: run it in a thread."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    pieces: list[bytes] = []
    for number, item in enumerate(items):
        if number % 50 == 0:
            checkpoint()
        pieces.append(encode(item).encode("utf-8", "replace"))
    return b"[" + b",".join(pieces) + b"]"


def _text(text: str) -> list[bytes]:
    pieces = [b'"']
    for at in range(0, len(text), CHARACTERS):
        checkpoint()
        piece = json.dumps(text[at : at + CHARACTERS], ensure_ascii=False)
        pieces.append(piece[1:-1].encode("utf-8", "replace"))
    return [*pieces, b'"']
