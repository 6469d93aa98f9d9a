"""GET /openapi.json. The code that makes the document is loaded with the first request for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Callable, Optional

from starlette.responses import Response

from .operation import Call, EmptyBody, Operation

PATH = "/openapi.json"


def operation_for(operations: Callable[[], Sequence[Operation]]) -> Operation:
    """The operation that returns the OpenAPI document of `operations`, of which it is one."""
    text: Optional[bytes] = None

    async def get(call: Call[EmptyBody]) -> Response:
        from .openapi import document

        nonlocal text
        text = text or json.dumps(document(operations())).encode("utf-8")
        return Response(text, media_type="application/json")

    get.__doc__ = "This document."
    return Operation("GET", PATH, "openapi.get", get, public=True, reply=dict)
