"""HTTP requests that come from a sandbox's own network."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from .cage import Cage
from .isolation import interpreter
from .zygote import python_words

#: The answer of `inside/fetch.py` is base64 in JSON, headers included.
_OVERHEAD = 128 * 1024


class FetchFailed(Exception):
    """There was no answer; the text says why."""


@dataclass(frozen=True)
class Answer:
    """`url` is the one that answered, after redirects. `truncated`: `body` is only the beginning."""

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
) -> Answer:
    """Asks from inside, with the Python that the emulator runs on, or the sandbox's where that is hidden. At most
    `limit` bytes of the body, all within `seconds`. Raises FetchFailed and Gone."""
    request = {"url": url, "method": method, "headers": dict(headers), "body": body, "limit": limit, "seconds": seconds}
    program, *words = python_words(
        interpreter()[0], cage.layout.lend_library(), "fetch", "sys.exit(it.main(*sys.argv[1:]))"
    )
    line = f'p={shlex.quote(program)}; [ -x "$p" ] || p=python3; exec "$p" {shlex.join(words)} "$1"'
    result = await cage.program(
        ["/bin/sh", "-c", line, "fetch", json.dumps(request)], env, limit * 4 // 3 + _OVERHEAD, True, seconds
    )
    if result.timed_out:
        raise FetchFailed(f"no complete answer within {seconds:g} s")
    if result.error is not None:
        raise FetchFailed(f"the request could not be started: {result.error}")
    if result.code in (126, 127):
        raise FetchFailed("there is no python3 in this sandbox to make the request with")
    try:
        answer = json.loads(result.output)
        if "error" in answer:
            raise FetchFailed(str(answer["error"]))
        return Answer(
            str(answer["url"]),
            int(answer["status"]),
            str(answer["reason"]),
            [(str(name), str(value)) for name, value in answer["headers"]],
            base64.b64decode(answer["body"]),
            bool(answer["truncated"]),
        )
    except (ValueError, KeyError, TypeError):
        said = result.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise FetchFailed(said or f"the request ended with exit code {result.code}") from None
