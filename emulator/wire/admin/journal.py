"""/_emulator/journal: requests, and what happened in sandboxes. Oldest first.

A query for what does not exist (an operation, a method, a path, an agent, a source, a type, a sandbox that the account
never had) is refused with 400."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Optional, Protocol, TypeVar

from starlette.responses import Response

from ...control.current_account import ALL_ACCOUNTS
from ...control.journal import CommandRecord, PromptRecord, RequestRecord
from ...platform.errors import invalid
from ..operation import Call, Model, NoBody, json_reply, no_content
from .names import agents_of, check_query, check_requests
from .operations import Admin

operations = Admin()


class _Dated(Protocol):
    @property
    def at(self) -> str: ...


T = TypeVar("T", bound=_Dated)


class RequestOut(Model):
    """`status` 0: not answered (yet). `warnings`: what was accepted though it is dubious. `fault`: that fired. Bodies
    are text, cut after 64 KiB, secrets masked, empty for streams."""

    at: str
    account: str
    method: str
    path: str
    query: str
    operation: str
    sandbox: str
    status: int
    duration_ms: float
    warnings: list[str]
    fault: str
    request: str
    response: str


class CommandOut(Model):
    """`source`: exec, stream, terminal, mcp or build. `exit_code` null: it has none. `output`: of exec alone. `stub`:
    that answered in its place. `truncated`: the answer of the exec did not hold all of the output."""

    at: str
    account: str
    sandbox: str
    command: str
    exit_code: Optional[int]
    source: str
    duration_ms: float
    output: Optional[str]
    stub: str
    truncated: bool


class PromptOut(Model):
    """What an agent program was asked and answered. Money in USD."""

    at: str
    account: str
    sandbox: str
    session: str
    agent: str
    program: str
    prompt: str
    arguments: list[str]
    cwd: str
    reply: str
    exit_code: int
    tokens_in: int
    tokens_out: int
    cost_usd: float


class EventOut(Model):
    id: str
    account: str
    sandbox: str
    session: str
    type: str
    at: str
    duration_ms: float
    data: Any


class CountsOut(Model):
    """How many entries of each kind are kept."""

    requests: int
    commands: int
    prompts: int
    events: int


def shown_request(entry: RequestRecord) -> RequestOut:
    return RequestOut(
        at=entry.at,
        account=entry.account or "",
        method=entry.method,
        path=entry.path,
        query=entry.query,
        operation=entry.operation,
        sandbox=entry.sandbox,
        status=entry.status,
        duration_ms=entry.duration_ms,
        warnings=list(entry.warnings),
        fault=entry.fault,
        request=entry.request.decode("utf-8", "replace"),
        response=entry.response.decode("utf-8", "replace"),
    )


def _whose(call: Call[Any]) -> Optional[str]:
    return None if call.account.id == ALL_ACCOUNTS else call.account.id


@operations.call(
    "GET",
    "/journal/requests",
    "journal.requests",
    reply=list[RequestOut],
    query={"method": str, "path": str, "operation": str, "sandbox": str, "status": int, "last": int},
)
async def requests(call: Call[NoBody]) -> Response:
    """`path` and `operation` are patterns; `last`: the newest so many only."""
    check_query(call)
    status, last = call.query_int("status"), call.query_int("last")
    if last is not None and last < 1:
        raise invalid("last: must be at least 1; leave it out for all")
    found = [
        entry
        for pages in call.platform.journal.known(_whose(call))
        for entry in pages.requests
        if _fits(call.query("method"), entry.method.upper(), upper=True)
        and _fits(call.query("path"), entry.path)
        and _fits(call.query("operation"), entry.operation)
        and _fits(call.query("sandbox"), entry.sandbox)
        and status in (None, entry.status)
    ]
    check_requests(call, bool(found))
    return json_reply([shown_request(entry) for entry in _in_order(call, found, last)])


def _in_order(call: Call[Any], found: list[T], last: Optional[int] = None) -> list[T]:
    """As it was noted, which is the order of one account even where its time was set back; several accounts by time."""
    if call.account.id == ALL_ACCOUNTS:
        found.sort(key=lambda one: one.at)
    return found[-last:] if last else found


def _fits(pattern: Optional[str], text: str, upper: bool = False) -> bool:
    return pattern is None or fnmatchcase(text, pattern.upper() if upper else pattern)


@operations.call(
    "GET", "/journal/commands", "journal.commands", reply=list[CommandOut], query={"sandbox": str, "source": str}
)
async def commands(call: Call[NoBody]) -> Response:
    """`source`: exec, stream, terminal, mcp or build."""
    check_query(call)
    found: list[CommandRecord] = [
        ran
        for pages in call.platform.journal.known(_whose(call))
        for ran in pages.commands
        if _fits(call.query("sandbox"), ran.sandbox) and _fits(call.query("source"), ran.source)
    ]
    return json_reply([CommandOut(**vars(ran)) for ran in _in_order(call, found)])


@operations.call(
    "GET", "/journal/prompts", "journal.prompts", reply=list[PromptOut], query={"sandbox": str, "agent": str}
)
async def prompts(call: Call[NoBody]) -> Response:
    """`agent`: by any of its names, e.g. claude-code or claude."""
    check_query(call)
    agent = call.query("agent")
    named = None if agent is None else agents_of(agent)
    found: list[PromptRecord] = [
        asked
        for pages in call.platform.journal.known(_whose(call))
        for asked in pages.prompts
        if _fits(call.query("sandbox"), asked.sandbox) and (named is None or asked.agent in named)
    ]
    found = _in_order(call, found)
    return json_reply([PromptOut(**{**vars(asked), "arguments": list(asked.arguments)}) for asked in found])


@operations.call("GET", "/journal/events", "journal.events", reply=list[EventOut], query={"sandbox": str, "type": str})
async def events(call: Call[NoBody]) -> Response:
    """`type`: as the platform names them, e.g. command or lifecycle."""
    check_query(call)
    found: list[EventOut] = [
        EventOut(
            id=event.id,
            account=event.account_id,
            sandbox=event.sandbox_id,
            session=event.session_id,
            type=event.type,
            at=event.timestamp,
            duration_ms=event.duration_ms,
            data=event.data,
        )
        for pages in call.platform.journal.known(_whose(call))
        for event in pages.events
        if _fits(call.query("sandbox"), event.sandbox_id) and _fits(call.query("type"), event.type)
    ]
    return json_reply(_in_order(call, found))


@operations.call("GET", "/journal", "journal.counts", reply=CountsOut)
async def counts(call: Call[NoBody]) -> Response:
    """How many entries of each kind there are."""
    pages = list(call.platform.journal.known(_whose(call)))
    return json_reply(
        CountsOut(
            requests=sum(len(one.requests) for one in pages),
            commands=sum(len(one.commands) for one in pages),
            prompts=sum(len(one.prompts) for one in pages),
            events=sum(len(one.events) for one in pages),
        )
    )


@operations.call("DELETE", "/journal", "journal.clear")
async def clear(call: Call[NoBody]) -> Response:
    call.platform.journal.forget(_whose(call))
    return no_content()
