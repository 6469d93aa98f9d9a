"""/_emulator/journal: requests, and what happened in sandboxes. Oldest first.

A query for what does not exist (an operation, a method, a path, an agent, a source, a type, a sandbox that the account
never had) is refused with 400."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional, TypeVar, Union

from starlette.responses import Response

from ...control.current_account import ALL_ACCOUNTS
from ...control.journal import AccountJournal
from ...control.patterns import matches_glob
from ...control.queries import CommandQuery, EventQuery, PromptQuery, RequestQuery, parameters_of
from ...control.records import CommandRecord, EventRecord, PromptRecord, RequestRecord
from ...control.schema import record_model
from ...history import Event
from ..operation import Call, EmptyBody, Model, json_reply, no_content
from .controls import last_of
from .names import agents_of, check_query, check_requests
from .operations import AdminOperations

operations = AdminOperations()
R = TypeVar("R", bound=Union[RequestRecord, CommandRecord, PromptRecord, EventRecord])
RequestOut = record_model("RequestOut", RequestRecord, Model)
CommandOut = record_model("CommandOut", CommandRecord, Model)
PromptOut = record_model("PromptOut", PromptRecord, Model)
EventOut = record_model("EventOut", EventRecord, Model)


class CountsOut(Model):
    """How many entries of each kind are kept."""

    requests: int
    commands: int
    prompts: int
    events: int


def _account(call: Call[Any]) -> Optional[str]:
    return None if call.account.id == ALL_ACCOUNTS else call.account.id


def _journals(call: Call[Any]) -> Iterable[AccountJournal]:
    return call.platform.journal.known(_account(call))


def _answer(call: Call[Any], model: type[Model], found: list[R]) -> Response:
    """Answer with the records in the order in which they were added, also where an account's time was set back; those
    of several accounts by time."""
    if call.account.id == ALL_ACCOUNTS:
        found.sort(key=lambda one: one.at)
    return json_reply([model(**vars(one)) for one in last_of(call, found)])


def _matches(call: Call[Any], name: str, text: str) -> bool:
    """Whether a text matches the glob that the query has under a name, if it has one."""
    pattern = call.query(name)
    return pattern is None or matches_glob(text, pattern)


@operations.call(
    "GET",
    "/journal/requests",
    "journal.requests",
    reply=list[RequestOut],  # type: ignore[valid-type]
    query=parameters_of(RequestQuery),
)
async def requests(call: Call[EmptyBody]) -> Response:
    """`method`, `path`, `operation` and `sandbox` are globs; `last`: the newest so many only."""
    check_query(call)
    status, method = call.query_int("status"), call.query("method")
    found = [
        entry
        for journal in _journals(call)
        for entry in journal.requests
        if (method is None or matches_glob(entry.method.upper(), method.upper()))
        and _matches(call, "path", entry.path)
        and _matches(call, "operation", entry.operation)
        and _matches(call, "sandbox", entry.sandbox)
        and status in (None, entry.status)
    ]
    check_requests(call, bool(found))
    return _answer(call, RequestOut, found)


@operations.call(
    "GET",
    "/journal/commands",
    "journal.commands",
    reply=list[CommandOut],  # type: ignore[valid-type]
    query=parameters_of(CommandQuery),
)
async def commands(call: Call[EmptyBody]) -> Response:
    """`sandbox` and `source` (exec, stream, terminal, mcp or build) are globs; `last`: the newest so many only."""
    check_query(call)
    found = [
        record
        for journal in _journals(call)
        for record in journal.commands
        if _matches(call, "sandbox", record.sandbox) and _matches(call, "source", record.source)
    ]
    return _answer(call, CommandOut, found)


@operations.call(
    "GET",
    "/journal/prompts",
    "journal.prompts",
    reply=list[PromptOut],  # type: ignore[valid-type]
    query=parameters_of(PromptQuery),
)
async def prompts(call: Call[EmptyBody]) -> Response:
    """`agent`: any of an agent's names, e.g. claude-code or claude, or a glob; `last`: the newest so many only."""
    check_query(call)
    agent = call.query("agent")
    named = None if agent is None else agents_of(agent)
    found = [
        record
        for journal in _journals(call)
        for record in journal.prompts
        if _matches(call, "sandbox", record.sandbox) and (named is None or record.agent in named)
    ]
    return _answer(call, PromptOut, found)


@operations.call(
    "GET",
    "/journal/events",
    "journal.events",
    reply=list[EventOut],  # type: ignore[valid-type]
    query=parameters_of(EventQuery),
)
async def events(call: Call[EmptyBody]) -> Response:
    """`type`: as the platform names them, e.g. command or lifecycle, or a glob; `last`: the newest so many only."""
    check_query(call)
    found = [
        _record(event)
        for journal in _journals(call)
        for event in journal.events
        if _matches(call, "sandbox", event.sandbox_id) and _matches(call, "type", event.type)
    ]
    return _answer(call, EventOut, found)


def _record(event: Event) -> EventRecord:
    return EventRecord(
        id=event.id,
        account=event.account_id,
        sandbox=event.sandbox_id,
        session=event.session_id,
        type=event.type,
        at=event.timestamp,
        duration_ms=event.duration_ms,
        data=event.data,
    )


@operations.call("GET", "/journal", "journal.counts", reply=CountsOut)
async def counts(call: Call[EmptyBody]) -> Response:
    """How many entries of each kind there are."""
    journals = list(_journals(call))
    return json_reply(
        CountsOut(
            requests=sum(len(one.requests) for one in journals),
            commands=sum(len(one.commands) for one in journals),
            prompts=sum(len(one.prompts) for one in journals),
            events=sum(len(one.events) for one in journals),
        )
    )


@operations.call("DELETE", "/journal", "journal.clear")
async def clear(call: Call[EmptyBody]) -> Response:
    """Remove all entries."""
    call.platform.journal.clear(_account(call))
    return no_content()
