"""One HTTP request from inside a sandbox, so that the sandbox's network decides what can be reached.

    fetch.py REQUEST

REQUEST is JSON: url, method, headers (an object), body (a string or null), limit (bytes of the body that are kept)
and seconds (for each wait on the network). The answer is one JSON object on standard output: url (after redirects),
status, reason, headers (a list of pairs), body (base64) and truncated; or error.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
import urllib.error
import urllib.request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(text: str) -> int:
    request = json.loads(text)
    try:
        answer = fetch(request)
    except urllib.error.URLError as error:
        answer = {"error": str(error.reason)}
    except (OSError, ValueError, http.client.HTTPException) as error:
        answer = {"error": str(error) or type(error).__name__}
    json.dump(answer, sys.stdout)
    return 0


def fetch(request: dict[str, Any]) -> dict[str, Any]:
    body = request["body"]
    asked = urllib.request.Request(
        request["url"],
        data=None if body is None else body.encode("utf-8"),
        headers=request["headers"],
        method=request["method"],
    )
    opener = urllib.request.OpenerDirector()  # build_opener would also open file: and ftp: URLs
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    try:
        response: Any = opener.open(asked, timeout=request["seconds"])
    except urllib.error.HTTPError as error:
        response = error  # an answer like any other, for who asked
    with response:
        content = response.read(request["limit"] + 1)
        return {
            "url": response.geturl(),
            "status": response.status,
            "reason": str(response.reason or ""),
            "headers": response.headers.items(),
            "body": base64.b64encode(content[: request["limit"]]).decode("ascii"),
            "truncated": len(content) > request["limit"],
        }
