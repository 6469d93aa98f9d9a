"""Requests that create resources, and what their answers hold."""

from __future__ import annotations

import json
from typing import Any, Optional

import httpx

from caged._runs import DESCRIPTION, VARIABLE


def mark_request(request: httpx.Request, kind: str, run: str) -> httpx.Request:
    """Put the run's id into the environment of a sandbox, or into the description of a snapshot that has none."""
    try:
        body = json.loads(request.content)
    except (httpx.RequestNotRead, ValueError):
        return request
    if not isinstance(body, dict) or kind == "key":
        return request
    if kind == "snapshot":
        body["description"] = body.get("description") or f"{DESCRIPTION}{run}"
    elif isinstance(body.get("env") or {}, dict):
        body["env"] = {VARIABLE: run, **(body.get("env") or {})}
    bodily = (b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in request.headers.raw if name.lower() not in bodily]
    content = json.dumps(body).encode()
    return httpx.Request(request.method, request.url, headers=headers, content=content, extensions=request.extensions)


def created_resource(kind: Optional[str], body: Any) -> Any:
    """The created resource in the body of an answer."""
    return (body.get("info") if isinstance(body, dict) else None) if kind == "key" else body


def id_of(thing: Any) -> str:
    """The id of a resource in an answer; empty when there is none."""
    id = thing.get("id") if isinstance(thing, dict) else None
    return id if isinstance(id, str) else ""


def json_of(response: httpx.Response) -> Any:
    """The decoded body of an answer; None when it is not JSON."""
    try:
        return response.json()
    except ValueError:
        return None
