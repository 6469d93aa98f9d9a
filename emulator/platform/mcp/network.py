"""The tool that makes an HTTP request from the sandbox's own network, so that its network mode holds.

Only its name is known. Arguments and answer are ours: url, method, headers, body and timeout; the answer is the status
line, the headers and the body as text, whatever the status is. Read-only keys do not have it, not even
for a GET: a request can carry data out of the sandbox, or change something in one of its servers.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from ...cage.fetch import FetchError, fetch
from .tool import Tool, ToolContext, ToolError, ToolOutcome, end_with_newline

BODY_BYTES = 256 * 1024
DEFAULT_SECONDS = 30
MOST_SECONDS = 120
_REQUEST_BYTES = 90_000  # it travels as one argument, of which the kernel takes 128 KiB
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


async def _fetch(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    url, method = arguments["url"], arguments.get("method", "GET")
    headers, body = arguments.get("headers", {}), arguments.get("body")
    seconds = arguments.get("timeout", 0)
    seconds = min(seconds, MOST_SECONDS) if seconds > 0 else DEFAULT_SECONDS
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ToolError(f"invalid arguments: url: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ToolError("invalid arguments: url must begin with http:// or https:// and name a host")
    if len(json.dumps([url, headers, body])) > _REQUEST_BYTES:
        raise ToolError(f"the request is too large: url, headers and body may take {_REQUEST_BYTES} bytes as JSON")
    start, status = context.clock.stopwatch(), 0
    sent = {"User-Agent": "caged-mcp", **headers}
    try:
        answer = await fetch(context.cage, context.sandbox.env, url, method, sent, body, BODY_BYTES, seconds)
        status = answer.status
    except FetchError as error:
        raise ToolError(f"fetch error: {error}") from None
    finally:
        milliseconds = (context.clock.stopwatch() - start) * 1000
        data = {"url": url, "method": method, "host": parts.hostname or "", "status": status}
        context.record("network", data, milliseconds)
    head = [f"HTTP {answer.status} {answer.reason}".rstrip(), *(f"{name}: {value}" for name, value in answer.headers)]
    if answer.url != url:
        head.insert(1, f"(from {answer.url})")
    text = "\n".join(head) + "\n\n" + answer.body.decode("utf-8", "replace")
    if answer.truncated:
        text = f"{end_with_newline(text)}[truncated: the first {BODY_BYTES // 1024} KiB of the body]"
    return ToolOutcome(text)


FETCH = Tool(
    "network_fetch",
    "Make an HTTP request from the sandbox: status, headers and body of the answer.",
    _fetch,
    {
        "url": {"type": "string", "description": "http:// or https://."},
        "method": {"type": "string", "enum": _METHODS, "default": "GET"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "body": {"type": "string", "description": "Sent as UTF-8."},
        "timeout": {
            "type": "integer",
            "description": f"Seconds for all of it, {MOST_SECONDS} at most.",
            "default": DEFAULT_SECONDS,
        },
    },
    ("url",),
    nonempty=("url",),
    changes=True,
)
