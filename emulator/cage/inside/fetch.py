"""Sending one HTTP request from inside a sandbox, so that the sandbox's network decides what can be reached.

    fetch.py REQUEST

REQUEST is JSON: url, method, headers (an object), body (a string or null), limit (bytes of the body that are kept)
and seconds (for each wait on the network). The response is one JSON object on standard output: url (after redirects),
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
    """Send the request, print the response, and return the exit code."""
    request = json.loads(text)
    try:
        response = fetch(request)
    except urllib.error.URLError as error:
        response = {"error": str(error.reason)}
    except (OSError, ValueError, http.client.HTTPException) as error:
        response = {"error": str(error) or type(error).__name__}
    json.dump(response, sys.stdout)
    return 0


def fetch(request: dict[str, Any]) -> dict[str, Any]:
    """Send the request and return the response. Raises OSError, ValueError, HTTPException."""
    body = request["body"]
    message = urllib.request.Request(
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
        response: Any = opener.open(message, timeout=request["seconds"])
    except urllib.error.HTTPError as error:
        response = error  # a status of 400 and above is a response, too
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
