"""What was asked of the emulator and what happened in its sandboxes, for a test to look at and to assert on."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Optional, Union, overload

from .link import Link, Of

Pattern = Union[str, "re.Pattern[str]"]
#: How many of what came instead a failure tells.
_NEAR = 5
#: How many of the newest are compared for that, and how much of each is.
_COMPARED, _LETTERS = 1000, 300


@dataclass(frozen=True)
class Request:
    """One request. `operation`: the SDK's name of the call, as `sandboxes.exec`. `status` 0: not answered. `warnings`:
    what was accepted though a client should not rely on it. `fault`: the id of the one that it met. `request` and
    `response`: bodies as text, cut after 64 KiB, secrets masked, empty for streams."""

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

    def json(self) -> Any:
        """The request's body, decoded. ValueError when it is none."""
        return json.loads(self.request)

    def response_json(self) -> Any:
        return json.loads(self.response)

    def __str__(self) -> str:
        query = f"?{self.query}" if self.query else ""
        fault = f" ({self.fault})" if self.fault else ""
        return f"{self.at} {self.method} {self.path}{query} -> {self.status or 'no answer'}{fault}"


@dataclass(frozen=True)
class Command:
    """`source`: exec, stream, terminal, mcp or build. `exit_code` None: it has none. `output`: of exec alone, cut after
    16 Ki characters. `stub`: the id of the one that answered in its place. `duration_ms`: by the sandbox's clock.
    `truncated`: the output was cut in the answer, too."""

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

    def __str__(self) -> str:
        return f"{self.at} {self.sandbox} $ {self.command} ({self.source}, exit {self.exit_code})"


@dataclass(frozen=True)
class Prompt:
    """What an agent program was asked, and what it answered. Money in USD."""

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


@dataclass(frozen=True)
class Event:
    """As the platform records it: `type` is command, file_op, llm_call, lifecycle, network, error, tool_call …"""

    id: str
    account: str
    sandbox: str
    session: str
    type: str
    at: str
    duration_ms: float
    data: Any


class Journal:
    """Of one account (the one that the test works with, unless `account` names another, or `"*"` for all). The newest
    10,000 of each kind, oldest first. Iterating goes over the requests."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def requests(
        self,
        method: Optional[str] = None,
        path: Optional[str] = None,
        *,
        operation: Optional[str] = None,
        sandbox: Optional[Of] = None,
        status: Optional[int] = None,
        last: Optional[int] = None,
        account: Optional[Of] = None,
    ) -> list[Request]:
        """Those that fit all that is given. `path` and `operation` are patterns (`/v1/sandboxes/*`, `files.*`), `last`
        keeps the newest so many."""
        query = {
            "method": method,
            "path": path,
            "operation": operation,
            "sandbox": sandbox,
            "status": status,
            "last": last,
        }
        return [Request(**told) for told in self._link.call("GET", "/journal/requests", account=account, query=query)]

    def execs(
        self, sandbox: Optional[Of] = None, *, source: Optional[str] = None, account: Optional[Of] = None
    ) -> list[Command]:
        """Commands, by whatever way they came."""
        query = {"sandbox": sandbox, "source": source}
        return [Command(**told) for told in self._link.call("GET", "/journal/commands", account=account, query=query)]

    def prompts(
        self, sandbox: Optional[Of] = None, *, agent: Optional[str] = None, account: Optional[Of] = None
    ) -> list[Prompt]:
        query = {"sandbox": sandbox, "agent": agent}
        return [Prompt(**told) for told in self._link.call("GET", "/journal/prompts", account=account, query=query)]

    def events(
        self, sandbox: Optional[Of] = None, *, type: Optional[str] = None, account: Optional[Of] = None
    ) -> list[Event]:
        query = {"sandbox": sandbox, "type": type}
        return [Event(**told) for told in self._link.call("GET", "/journal/events", account=account, query=query)]

    def clear(self, *, account: Optional[Of] = None) -> None:
        self._link.call("DELETE", "/journal", account=account)

    # --- as a sequence of requests

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests())

    def __len__(self) -> int:
        return len(self.requests())

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> list[Request]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[Request, list[Request]]:
        return self.requests()[index]

    # --- asserting

    def assert_ran(
        self, command: Pattern, *, sandbox: Optional[Of] = None, times: Optional[int] = None
    ) -> list[Command]:
        """Fails unless a command ran that is `command`, fits it as a pattern with `*`, or, for a compiled regular
        expression, has it somewhere in it; with `times`, exactly so often. The failure tells what ran instead, the
        nearest first. Returns those that fit."""
        __tracebackhide__ = True
        every = self.execs(sandbox)
        found = [ran for ran in every if _fits(command, ran.command)]
        if not _enough(len(found), times):
            what = f"{_shown(command)} {_often('ran', len(found), times)}"
            raise AssertionError(_missing(what, _shown(command), [ran.command for ran in every], "commands"))
        return found

    def assert_not_ran(self, command: Pattern, *, sandbox: Optional[Of] = None) -> None:
        __tracebackhide__ = True
        found = [ran for ran in self.execs(sandbox) if _fits(command, ran.command)]
        if found:
            lines = "\n".join(f"  {ran}" for ran in found[:_NEAR])
            raise AssertionError(f"{_shown(command)} ran {len(found)} times:\n{lines}")

    def assert_requested(
        self,
        method: Optional[str] = None,
        path: Optional[str] = None,
        *,
        operation: Optional[str] = None,
        sandbox: Optional[Of] = None,
        status: Optional[int] = None,
        times: Optional[int] = None,
    ) -> list[Request]:
        """Fails unless such a request came; with `times`, exactly so often. See `requests`."""
        __tracebackhide__ = True
        found = self.requests(method, path, operation=operation, sandbox=sandbox, status=status)
        if not _enough(len(found), times):
            wanted = " ".join(str(part) for part in (method, path, operation, sandbox, status) if part is not None)
            came = [f"{one.method} {one.path} {one.operation} {one.status}" for one in self.requests()]
            what = f"a request {wanted} {_often('came', len(found), times)}"
            raise AssertionError(_missing(what, wanted, came, "requests"))
        return found

    def assert_prompted(self, text: Pattern, *, agent: Optional[str] = None) -> list[Prompt]:
        """Fails unless an agent was asked that. See `assert_ran` for patterns."""
        __tracebackhide__ = True
        every = self.prompts(agent=agent)
        found = [one for one in every if _fits(text, one.prompt)]
        if not found:
            what = f"{_shown(text)} was never asked"
            raise AssertionError(_missing(what, _shown(text), [one.prompt for one in every], "prompts"))
        return found


def _fits(pattern: Pattern, text: str) -> bool:
    if isinstance(pattern, str):
        return text.strip() == pattern.strip() or fnmatchcase(text, pattern)
    return pattern.search(text) is not None


def _shown(pattern: Pattern) -> str:
    return repr(pattern if isinstance(pattern, str) else pattern.pattern)


def _enough(count: int, times: Optional[int]) -> bool:
    return count > 0 if times is None else count == times


def _often(verb: str, count: int, times: Optional[int]) -> str:
    return f"never {verb}" if times is None else f"{verb} {count} times, not {times}"


def nearest(wanted: str, came: Sequence[str]) -> list[str]:
    """The texts that are most like `wanted`, then the newest others; a few, each once."""
    near = difflib.get_close_matches(wanted, came[-_COMPARED:], _NEAR, 0.4)
    rest = [text for text in dict.fromkeys(reversed(came)) if text not in near]
    return [*dict.fromkeys(near), *rest][:_NEAR]


def _missing(what: str, wanted: str, came: list[str], kind: str) -> str:
    """A failure with what came nearest."""
    if not came:
        return f"{what}; there were no {kind} at all"
    came = [text[:_LETTERS] for text in came]
    told, often = nearest(wanted[:_LETTERS].strip("'\""), came), Counter(came)
    lines = [f"  {text}" + (f" ({often[text]} times)" if often[text] > 1 else "") for text in told]
    more = len(came) - sum(often[text] for text in told)
    lines += [f"  … and {more} more"] if more > 0 else []
    return "\n".join([f"{what}. What came, the nearest first:", *lines])
