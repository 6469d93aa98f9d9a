"""Calls of operations from within the emulator: without a socket, authentication, faults, limits and the journal.

An emulator that sent requests to itself would wait for threads that these requests need.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Callable, Optional
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.routing import compile_path

from ..control.current_account import acting_for
from ..platform.platform import Platform
from ..store import AccountRecord
from .bodies import check_values, parse_and_redact
from .operation import Call, Operation


class InternalCaller:
    """Calls operations for one account, on the emulator's loop.

    Args:
        platform: The emulator's platform.
        account: The account; the one with the id `*` stands for all accounts in admin calls.
        operations: Returns the operations that can be called.

    Attributes:
        warnings: The warnings that the journal would have recorded for the calls so far.
    """

    def __init__(
        self, platform: Platform, account: AccountRecord, operations: Callable[[], Iterable[Operation]]
    ) -> None:
        self._platform = platform
        self._account = account
        self._operations = operations
        self.warnings: list[str] = []

    async def perform(
        self,
        method: str,
        path: str,
        body: Optional[Mapping[str, Any]] = None,
        query: Optional[Mapping[str, Any]] = None,
        account: Optional[AccountRecord] = None,
    ) -> Any:
        """Call one operation.

        Args:
            method: GET, POST, PUT or DELETE.
            path: The full path, with encoded ids: `/v1/sandboxes/cage_1/exec`, `/_emulator/faults`.
            body: The body, as JSON values.
            query: The query parameters; those that are None are omitted.
            account: Another account than this object's.

        Returns:
            The response's JSON values; None for an empty response.

        Raises:
            ApiError: The error that a client would get.
            LookupError: There is no such operation.
        """
        content = await self.content(method, path, body, query, account)
        return json.loads(content) if content else None

    async def content(
        self,
        method: str,
        path: str,
        body: Optional[Mapping[str, Any]] = None,
        query: Optional[Mapping[str, Any]] = None,
        account: Optional[AccountRecord] = None,
    ) -> bytes:
        """Call one operation, and return the body of its response, which need not be JSON. Arguments and errors are
        those of `perform`."""
        operation, parameters = self._find(method, path)
        account = account or self._account
        given = {name: value for name, value in (query or {}).items() if value is not None}
        if operation.admin:
            given.setdefault("account", account.id)
        raw = b"" if body is None else json.dumps(body).encode()
        # As over HTTP, an admin call acts for no account.
        with acting_for("" if operation.admin else account.id):
            check_values(raw, operation)
            parsed = parse_and_redact(raw, operation, self._platform.journal, account.id, unknown_keys=False)
            request = _request(self._platform.base_url, method, path, parameters, given)
            call = Call(request, self._platform, account, None, parsed, self.warnings)
            response = await operation.handler(call)
        return bytes(response.body)

    def _find(self, method: str, path: str) -> tuple[Operation, dict[str, str]]:
        for pattern, operation in _routes(self._operations):
            found = pattern.match(path)
            if found is not None and operation.method == method:
                return operation, found.groupdict()
        raise LookupError(f"there is no operation {method} {path}")


@functools.cache
def _routes(operations: Callable[[], Iterable[Operation]]) -> list[tuple[re.Pattern[str], Operation]]:
    return [(compile_path(operation.path)[0], operation) for operation in operations()]


def _request(base_url: str, method: str, path: str, parameters: dict[str, str], query: Mapping[str, Any]) -> Request:
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(query).encode(),
        "headers": [(b"host", urlsplit(base_url).netloc.encode())],
        "path_params": parameters,
    }
    return Request(scope, _never_disconnect)


async def _never_disconnect() -> MutableMapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError("unreachable: nothing sets the event")
