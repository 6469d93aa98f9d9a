"""Sending HTTP requests from a sandbox's own network."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from .cage import Cage
from .interpreter import interpreter
from .zygote import python_words

#: `inside/fetch.py` returns base64 in JSON, with the headers.
_OVERHEAD = 128 * 1024


class FetchError(Exception):
    """There was no response; the text says why."""


@dataclass(frozen=True)
class FetchResponse:
    """An HTTP response.

    Attributes:
        url: The URL that it came from, after redirects.
        status: The status code.
        reason: The status text.
        headers: Names and values, in their order.
        body: The body.
        truncated: Whether `body` is only the beginning.
    """

    url: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    truncated: bool


async def fetch(
    cage: Cage,
    env: Mapping[str, str],
    url: str,
    method: str,
    headers: Mapping[str, str],
    body: Optional[str],
    limit: int,
    seconds: float,
) -> FetchResponse:
    """Send a request from inside a sandbox, by the emulator's Python, or the sandbox's where that is hidden.

    Args:
        cage: The sandbox.
        env: Variables of its environment, such as a proxy.
        url: The URL.
        method: The HTTP method.
        headers: Headers to send.
        body: The body to send.
        limit: The number of bytes of the response's body to keep.
        seconds: The time for all of it.

    Raises:
        FetchError: There was no response.
        SandboxGone: The sandbox's processes have ended.
    """
    request = {"url": url, "method": method, "headers": dict(headers), "body": body, "limit": limit, "seconds": seconds}
    program, *words = python_words(
        interpreter()[0], cage.layout.copy_library("fetch"), "fetch", "sys.exit(it.main(*sys.argv[1:]))"
    )
    line = f'p={shlex.quote(program)}; [ -x "$p" ] || p=python3; exec "$p" {shlex.join(words)} "$1"'
    result = await cage.program(
        ["/bin/sh", "-c", line, "fetch", json.dumps(request)], env, limit * 4 // 3 + _OVERHEAD, True, seconds
    )
    if result.timed_out:
        raise FetchError(f"no complete answer within {seconds:g} s")
    if result.error is not None:
        raise FetchError(f"the request could not be started: {result.error}")
    if result.code in (126, 127):
        raise FetchError("there is no python3 in this sandbox to make the request with")
    try:
        response = json.loads(result.output)
        if "error" in response:
            raise FetchError(str(response["error"]))
        return FetchResponse(
            str(response["url"]),
            int(response["status"]),
            str(response["reason"]),
            [(str(name), str(value)) for name, value in response["headers"]],
            base64.b64decode(response["body"]),
            bool(response["truncated"]),
        )
    except (ValueError, KeyError, TypeError):
        last_line = result.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise FetchError(last_line or f"the request ended with exit code {result.code}") from None
