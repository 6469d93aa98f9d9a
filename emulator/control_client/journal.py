"""The journal: requests, and what happened in sandboxes, with assertions."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, Optional, Union, overload

from caged._literals import AgentName, EventType

from .admin_client import AdminClient
from .checking import check_int, check_pattern, check_str, check_times
from .operations import OperationName
from .transport import IdOrObject

#: The ways by which a command comes into a sandbox.
CommandSource = Literal["exec", "stream", "terminal", "mcp", "build"]
Pattern = Union[str, "re.Pattern[str]"]
#: How many of the nearest misses a failure shows.
_NEAR = 5
#: How many of the newest are compared for that, and how much of each is.
_COMPARED, _LETTERS = 1000, 300


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        operation: The SDK's name of it, such as `sandboxes.exec`.
        status: Of HTTP; 0: it was not answered.
        warnings: What was accepted although a client should not rely on it.
        fault: Id of the fault that triggered on it.
        request: The body as text, cut after 64 KiB, secrets redacted, empty for streams; so is `response`.
    """

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
    """One command.

    Attributes:
        source: exec, stream, terminal, mcp or build.
        exit_code: None where it has none.
        output: Of exec only, cut after 16 Ki characters.
        duration_ms: By the account's clock.
        truncated: The output was cut in the answer, too.
        stub: Id of the stub that answered it.
    """

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
    """A prompt to an agent, with its reply. Money in USD."""

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
    """An event as the platform records it: `type` is command, file_op, llm_call, lifecycle, network, error, tool_call,
    desktop or other."""

    id: str
    account: str
    sandbox: str
    session: str
    type: str
    at: str
    duration_ms: float
    data: Any


class Journal:
    """The journal of one account: the selected one, unless `account` names another, or `"*"` for all. The newest 10,000
    entries of each kind, oldest first. As a sequence it is that of the requests.

    A query for what cannot be there raises ValueError: an operation, method, agent, source or type that does not exist,
    a path that is none, a status that HTTP does not have, a sandbox that the account never had. `sandbox` may also be a
    glob, as may the others but `status`.
    """

    def __init__(self, link: AdminClient) -> None:
        self._link = link

    def requests(
        self,
        method: Optional[str] = None,
        path: Optional[str] = None,
        *,
        operation: Optional[OperationName] = None,
        sandbox: Optional[IdOrObject] = None,
        status: Optional[int] = None,
        last: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[Request]:
        """Requests that match all that is given.

        Args:
            method: HTTP method.
            path: A path or a glob (`/v1/sandboxes/*`).
            operation: The SDK's name or a glob (`files.*`).
            sandbox: A sandbox or its id.
            status: HTTP status; 0: not answered.
            last: Only the newest so many.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        _check_strings(method=method, path=path, operation=operation)
        for name, number in (("status", status), ("last", last)):
            if number is not None:
                check_int(name, number)
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
        self,
        sandbox: Optional[IdOrObject] = None,
        *,
        source: Optional[CommandSource] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[Command]:
        """Commands.

        Args:
            sandbox: A sandbox or its id.
            source: exec, stream, terminal, mcp or build.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        _check_strings(source=source)
        query = {"sandbox": sandbox, "source": source}
        return [Command(**told) for told in self._link.call("GET", "/journal/commands", account=account, query=query)]

    def prompts(
        self,
        sandbox: Optional[IdOrObject] = None,
        *,
        agent: Optional[AgentName] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[Prompt]:
        """Prompts to agents.

        Args:
            sandbox: A sandbox or its id.
            agent: Any name of an agent: `claude-code`, `claude`, `continue`, `cn`.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        _check_strings(agent=agent)
        query = {"sandbox": sandbox, "agent": agent}
        return [Prompt(**told) for told in self._link.call("GET", "/journal/prompts", account=account, query=query)]

    def events(
        self,
        sandbox: Optional[IdOrObject] = None,
        *,
        type: Optional[EventType] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[Event]:
        """Events as the platform records them.

        Args:
            sandbox: A sandbox or its id.
            type: command, file_op, llm_call, lifecycle, network, error, tool_call, desktop or other.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        _check_strings(type=type)
        query = {"sandbox": sandbox, "type": type}
        return [Event(**told) for told in self._link.call("GET", "/journal/events", account=account, query=query)]

    def clear(self, *, account: Optional[IdOrObject] = None) -> None:
        """Forget all entries."""
        self._link.call("DELETE", "/journal", account=account)

    # --- as a sequence of requests

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests())

    def __len__(self) -> int:
        """How many requests there are, without fetching them."""
        return int(self._link.call("GET", "/journal")["requests"])

    def __bool__(self) -> bool:
        """Always True: this is an object, also when there are no requests."""
        return True

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> list[Request]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[Request, list[Request]]:
        if isinstance(index, int) and index < 0:
            newest = self.requests(last=-index)
            if len(newest) < -index:
                raise IndexError(f"journal: there are {len(newest)} requests, and none at {index}")
            return newest[0]
        return self.requests()[index]

    # --- asserting

    def assert_ran(
        self, command: Pattern, *, sandbox: Optional[IdOrObject] = None, times: Optional[int] = None
    ) -> list[Command]:
        """Assert that a command ran.

        Args:
            command: The exact command, or a glob with `*`, `?` and `[`; a compiled regular expression, searched for in
                it.
            sandbox: A sandbox or its id.
            times: How often exactly; at least once by default.

        Returns:
            The commands that match.

        Raises:
            AssertionError: It did not; the text shows what ran instead, the nearest first.
            ValueError, TypeError: An argument is wrong.
        """
        __tracebackhide__ = True
        check_pattern("command", command)
        check_times(times)
        every = self.execs(sandbox)
        found = [ran for ran in every if _fits(command, ran.command)]
        if not _enough(len(found), times):
            what = f"{_shown(command)} {_often('ran', len(found), times)}"
            raise AssertionError(_missing(what, _shown(command), [ran.command for ran in every], "commands"))
        return found

    def assert_not_ran(self, command: Pattern, *, sandbox: Optional[IdOrObject] = None) -> None:
        """Assert that no command ran that matches. See `assert_ran`."""
        __tracebackhide__ = True
        check_pattern("command", command)
        found = [ran for ran in self.execs(sandbox) if _fits(command, ran.command)]
        if found:
            lines = "\n".join(f"  {ran}" for ran in found[:_NEAR])
            raise AssertionError(f"{_shown(command)} ran {len(found)} times:\n{lines}")

    def assert_requested(
        self,
        method: Optional[str] = None,
        path: Optional[str] = None,
        *,
        operation: Optional[OperationName] = None,
        sandbox: Optional[IdOrObject] = None,
        status: Optional[int] = None,
        times: Optional[int] = None,
    ) -> list[Request]:
        """Assert that a request came; with `times`, exactly so often. The other arguments are those of `requests`.

        Returns:
            The requests that match.

        Raises:
            AssertionError: It did not; the text shows what came instead, the nearest first.
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        __tracebackhide__ = True
        check_times(times)
        found = self.requests(method, path, operation=operation, sandbox=sandbox, status=status)
        if not _enough(len(found), times):
            wanted = " ".join(str(part) for part in (method, path, operation, sandbox, status) if part is not None)
            came = [f"{one.method} {one.path} {one.operation} {one.status}" for one in self.requests()]
            what = f"a request {wanted} {_often('came', len(found), times)}"
            raise AssertionError(_missing(what, wanted, came, "requests"))
        return found

    def assert_prompted(
        self,
        text: Pattern,
        *,
        agent: Optional[AgentName] = None,
        sandbox: Optional[IdOrObject] = None,
        times: Optional[int] = None,
    ) -> list[Prompt]:
        """Assert that an agent was given a prompt; with `times`, exactly so often.

        Args:
            text: A pattern as of `assert_ran`.
            agent: Any name of an agent.
            sandbox: A sandbox or its id.
            times: How often exactly; at least once by default.

        Returns:
            The prompts that match.

        Raises:
            AssertionError: It was not; the text shows what came instead, the nearest first.
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        __tracebackhide__ = True
        check_pattern("text", text)
        check_times(times)
        every = self.prompts(sandbox, agent=agent)
        found = [one for one in every if _fits(text, one.prompt)]
        if not _enough(len(found), times):
            what = f"the prompt {_shown(text)} {_often('came', len(found), times)}"
            raise AssertionError(_missing(what, _shown(text), [one.prompt for one in every], "prompts"))
        return found


def _check_strings(**given: Optional[str]) -> None:
    for name, text in given.items():
        if text is not None:
            check_str(name, text)


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
    """The texts that are most similar to `wanted`, then the newest others; a few, each once."""
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
