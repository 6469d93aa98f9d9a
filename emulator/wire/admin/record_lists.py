"""Lists of records below /_emulator: of the journal, of the inventory, of errors in callbacks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Awaitable, Iterable
from typing import Any, Callable, TypeVar

from starlette.responses import Response

from ...control.current_account import ALL_ACCOUNTS
from ...control.queries import parameters_of
from ...control.schema import record_model
from ..operation import Call, EmptyBody, Model, json_reply
from .controls import last_of
from .operations import AdminOperations

Find = Callable[[Call[EmptyBody]], Awaitable[Iterable[Any]]]
F = TypeVar("F", bound=Find)


def record_list(
    operations: AdminOperations,
    path: str,
    name: str,
    record: type,
    schema: str,
    *,
    query: type,
    by_time: bool = False,
) -> Callable[[F], F]:
    """Add an operation that lists the records that the decorated function returns, oldest first. The query's `last`
    selects the newest of them.

    Args:
        operations: Where it is added.
        path: Its path, below the admin prefix.
        name: Its name, such as `journal.requests`.
        record: The dataclass of the records.
        schema: The name of the records' schema in the OpenAPI document.
        query: The description of its query parameters (`control/queries.py`).
        by_time: Whether records of several accounts (`account=*`) are sorted by their time, `at`. Those of one account
            stay in the order in which they were added, also where its time was set back.
    """
    model = record_model(schema, record, Model)
    names = [field.name for field in dataclasses.fields(record)]

    def register(find: F) -> F:
        @functools.wraps(find)
        async def answer(call: Call[EmptyBody]) -> Response:
            records = list(await find(call))
            if by_time and call.account.id == ALL_ACCOUNTS:
                records.sort(key=lambda one: str(one.at))
            return json_reply([model(**{name: getattr(one, name) for name in names}) for one in last_of(call, records)])

        operations.call("GET", path, name, reply=list[model], query=parameters_of(query))(answer)  # type: ignore[valid-type]
        return find

    return register
