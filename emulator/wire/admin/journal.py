"""/_emulator/journal: requests, and what happened in sandboxes. Oldest first.

A query for what does not exist (an operation, a method, a path, an agent, a source, a type, a sandbox that the account
never had) is refused with 400."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

from starlette.responses import Response

from ...control.current_account import ALL_ACCOUNTS
from ...control.journal import AccountJournal
from ...control.patterns import matches_glob
from ...control.queries import CommandQuery, EventQuery, PromptQuery, RequestQuery
from ...control.records import CommandRecord, EventRecord, PromptRecord, RequestRecord
from ...history import Event
from ..operation import Call, EmptyBody, Model, json_reply
from .controls import RemovedOut, removed_reply
from .names import agents_of, check_query, check_requests
from .operations import AdminOperations
from .record_lists import record_list

operations = AdminOperations()


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


def _matches(call: Call[Any], name: str, text: str) -> bool:
    """Whether a text matches the glob that the query has under a name, if it has one."""
    pattern = call.query(name)
    return pattern is None or matches_glob(text, pattern)


@record_list(
    operations,
    "/journal/requests",
    "journal.requests",
    RequestRecord,
    "RequestOut",
    query=RequestQuery,
    by_time=True,
)
async def requests(call: Call[EmptyBody]) -> list[RequestRecord]:
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
    return found


@record_list(
    operations,
    "/journal/commands",
    "journal.commands",
    CommandRecord,
    "CommandOut",
    query=CommandQuery,
    by_time=True,
)
async def commands(call: Call[EmptyBody]) -> list[CommandRecord]:
    """`sandbox` and `source` are globs; `last`: the newest so many only."""
    check_query(call)
    return [
        record
        for journal in _journals(call)
        for record in journal.commands
        if _matches(call, "sandbox", record.sandbox) and _matches(call, "source", record.source)
    ]


@record_list(
    operations,
    "/journal/prompts",
    "journal.prompts",
    PromptRecord,
    "PromptOut",
    query=PromptQuery,
    by_time=True,
)
async def prompts(call: Call[EmptyBody]) -> list[PromptRecord]:
    """`agent`: any of an agent's names, e.g. claude-code or claude, or a glob; `last`: the newest so many only."""
    check_query(call)
    agent = call.query("agent")
    named = None if agent is None else agents_of(agent)
    return [
        record
        for journal in _journals(call)
        for record in journal.prompts
        if _matches(call, "sandbox", record.sandbox) and (named is None or record.agent in named)
    ]


@record_list(
    operations,
    "/journal/events",
    "journal.events",
    EventRecord,
    "EventOut",
    query=EventQuery,
    by_time=True,
)
async def events(call: Call[EmptyBody]) -> list[EventRecord]:
    """`type`: as the platform names them, e.g. command or lifecycle, or a glob; `last`: the newest so many only."""
    check_query(call)
    return [
        _record(event)
        for journal in _journals(call)
        for event in journal.events
        if _matches(call, "sandbox", event.sandbox_id) and _matches(call, "type", event.type)
    ]


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
    return json_reply(_counts(call))


def _counts(call: Call[Any]) -> CountsOut:
    journals = list(_journals(call))
    return CountsOut(
        requests=sum(len(one.requests) for one in journals),
        commands=sum(len(one.commands) for one in journals),
        prompts=sum(len(one.prompts) for one in journals),
        events=sum(len(one.events) for one in journals),
    )


@operations.call("DELETE", "/journal", "journal.clear", reply=RemovedOut)
async def clear(call: Call[EmptyBody]) -> Response:
    """Remove all entries, and the steps. The answer counts the entries."""
    counts = _counts(call)
    call.platform.journal.clear(_account(call))
    call.platform.steps.clear(_account(call))
    return removed_reply(counts.requests + counts.commands + counts.prompts + counts.events)
