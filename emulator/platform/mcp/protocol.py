"""The Model Context Protocol: messages, versions and errors.

Two eras are supported at once, and each message decides which one applies (wire-other-clients.md 7.1): `initialize`
negotiates a legacy version for the connection; a modern client negotiates nothing and names the version in the
`params._meta` of every request.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Optional

from caged import __version__

from ...json_values import has_more_values
from ...truncation import truncate

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2024-11-05")
SUPPORTED = (MODERN, *LEGACY)
#: The first version with structured results.
STRUCTURED_SINCE = "2025-06-18"

_META = "io.modelcontextprotocol/"
_CACHE_MILLISECONDS = 3_600_000
CAPABILITIES = {"tools": {"listChanged": False}}
SERVER = {"name": "caged-mcp", "version": __version__}

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_BUSY = -32000
UNSUPPORTED_VERSION = -32022

#: An id is echoed, and a reply has to fit in a frame.
_ID_BYTES = 16 * 1024
#: Keys, elements, objects and arrays of one message.
MOST_VALUES = 200_000
_SURROGATE = re.compile("[\ud800-\udfff]")


class ProtocolError(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Optional[dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_reply(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return {"error": error}


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def decode(text: str) -> dict[str, Any]:
    """Parse one message. Raises ProtocolError for anything but a JSON object, so also for a batch."""
    try:
        if has_more_values(text, MOST_VALUES):
            raise ProtocolError(INVALID_REQUEST, f"Invalid Request: the message has more than {MOST_VALUES} values")
        message = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ProtocolError(PARSE_ERROR, "Parse error") from None
    if not isinstance(message, dict):
        raise ProtocolError(PARSE_ERROR, "Parse error")
    if len(json.dumps(message.get("id"))) > _ID_BYTES:
        raise ProtocolError(INVALID_REQUEST, f"Invalid Request: an id may take {_ID_BYTES} bytes")
    return message


def encode(reply: dict[str, Any]) -> str:
    """Encode a reply so that it can be sent as UTF-8, also when it echoes half of a surrogate pair."""
    text = json.dumps({"jsonrpc": "2.0", **reply}, ensure_ascii=False, separators=(",", ":"))
    return _SURROGATE.sub(lambda half: f"\\u{ord(half.group()):04x}", text)


def refuse(text: str, code: int, reason: str) -> Optional[str]:
    """Return the reply to a message that is not processed; None for a notification or a reply, which get none."""
    try:
        message = decode(text)
    except ProtocolError as error:
        return encode(error.as_reply())
    if message.get("id") is None or "method" not in message:
        return None
    return encode({"id": message["id"], **ProtocolError(code, reason).as_reply()})


def shorten(text: str) -> str:
    """Shorten a client's text that is repeated in a reply."""
    return truncate(text, 500, " …")


def negotiate(params: Any) -> str:
    """Return the newest legacy version that is not newer than the requested one; the oldest when there is none."""
    requested = params.get("protocolVersion") if isinstance(params, dict) else None
    if requested is not None and not isinstance(requested, str):
        raise ProtocolError(INVALID_PARAMS, "Invalid params: protocolVersion must be a string")
    return next((version for version in LEGACY if version <= (requested or "")), LEGACY[-1])


def version_of(params: Any, negotiated: str) -> str:
    """Return the version of a request: the one in its `_meta`, else the connection's."""
    meta = params.get("_meta") if isinstance(params, dict) else None
    if meta is None:
        return negotiated
    if not isinstance(meta, dict):
        raise ProtocolError(INVALID_PARAMS, "Invalid params: _meta must be an object")
    requested = meta.get(f"{_META}protocolVersion")
    if requested is None:
        return negotiated
    if not isinstance(requested, str):
        raise ProtocolError(INVALID_PARAMS, f"Invalid params: _meta.{_META}protocolVersion must be a string")
    if requested not in SUPPORTED:
        raise ProtocolError(
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            {"supported": list(SUPPORTED), "requested": shorten(requested)},
        )
    if requested == MODERN and not isinstance(meta.get(f"{_META}clientCapabilities"), dict):
        raise ProtocolError(INVALID_PARAMS, f"Invalid params: _meta.{_META}clientCapabilities is required")
    return requested


def in_version(result: dict[str, Any], version: str, cached: bool = False) -> dict[str, Any]:
    """Add to a result what its version requires. `cached`: also the lifetime of a list."""
    if version != MODERN:
        return result
    lasting = {"ttlMs": _CACHE_MILLISECONDS, "cacheScope": "public"} if cached else {}
    return {"resultType": "complete", **result, **lasting, "_meta": {f"{_META}serverInfo": SERVER}}


def initialized(version: str) -> dict[str, Any]:
    """Return the result of `initialize`."""
    return {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": SERVER}


def discovered() -> dict[str, Any]:
    """Return the result of `server/discover`, always in the modern version."""
    return in_version({"supportedVersions": list(SUPPORTED), "capabilities": CAPABILITIES}, MODERN, cached=True)
