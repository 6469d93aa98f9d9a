"""The journal: requests, and what happened in sandboxes, with assertions."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Optional, TypeVar, Union, overload

from caged._literals import AgentName, EventType

from ..control.identifiers import IdOrObject
from ..control.operations import OperationName
from ..control.patterns import NEAREST, Pattern, TextPattern, nearest_lines
from ..control.records import CommandRecord, CommandSource, EventRecord, PromptRecord, RequestRecord
from ..control.step import Step, StepKind, StepStatus
from ..control.values import check_bool, check_int, check_number, check_str
from .admin_client import AdminClient
from .transport import AdminRequestError, EmulatorError

#: Seconds without a connection after which a stream of steps ends with an error, and between two attempts.
RECONNECT_SECONDS, RECONNECT_PAUSE = 5.0, 0.2

R = TypeVar("R")


class Journal:
    """The journal of one account: the selected one, unless `account` names another, or `"*"` for all. The newest 10,000
    entries of each kind, oldest first. As a sequence it is that of the requests.

    A query for what cannot be there raises ValueError: an operation, method, agent, source or type that does not exist,
    a path that is none, a status that HTTP does not have, a sandbox that the account never had. `sandbox` may also be a
    glob, as may the others but `status`.
    """

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin

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
    ) -> list[RequestRecord]:
        """List the requests that match all that is given.

        Args:
            method: HTTP method.
            path: A path or a glob (`/v1/sandboxes/*`).
            operation: The SDK's name or a glob (`files.*`).
            sandbox: A sandbox or its id.
            status: HTTP status; 0: not answered.
            last: Only the newest so many.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        if status is not None:
            check_int("status", status)
        texts = {"method": method, "path": path, "operation": operation}
        return self._listed("requests", RequestRecord, texts, {"sandbox": sandbox, "status": status}, last, account)

    def commands(
        self,
        sandbox: Optional[IdOrObject] = None,
        *,
        source: Optional[CommandSource] = None,
        last: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[CommandRecord]:
        """List commands.

        Args:
            sandbox: A sandbox or its id.
            source: `exec`, `stream`, `terminal`, `mcp` or `build`.
            last: Only the newest so many.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        return self._listed("commands", CommandRecord, {"source": source}, {"sandbox": sandbox}, last, account)

    def prompts(
        self,
        sandbox: Optional[IdOrObject] = None,
        *,
        agent: Optional[AgentName] = None,
        last: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[PromptRecord]:
        """List prompts to agents, with their replies.

        Args:
            sandbox: A sandbox or its id.
            agent: Any name of an agent: `claude-code`, `claude`, `continue`, `cn`.
            last: Only the newest so many.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        return self._listed("prompts", PromptRecord, {"agent": agent}, {"sandbox": sandbox}, last, account)

    def events(
        self,
        sandbox: Optional[IdOrObject] = None,
        *,
        type: Optional[EventType] = None,
        last: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[EventRecord]:
        """List events as the platform records them.

        Args:
            sandbox: A sandbox or its id.
            type: `command`, `file_op`, `llm_call`, `lifecycle`, `network`, `error`, `tool_call`, `desktop` or `other`.
            last: Only the newest so many.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        return self._listed("events", EventRecord, {"type": type}, {"sandbox": sandbox}, last, account)

    def steps(
        self,
        sandbox: Optional[IdOrObject] = None,
        *,
        kind: Optional[StepKind] = None,
        status: Optional[StepStatus] = None,
        after: Optional[int] = None,
        last: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[Step]:
        """List everything that happened as steps that nest, in the order in which they began.

        Args:
            sandbox: A sandbox or its id.
            kind: `test`, `call`, `request`, `command`, `prompt`, `file`, `sandbox`, `control`, `alert`, `event` or
                `error`.
            status: `running`, `ok` or `error`.
            after: Only those that were added or changed after this revision.
            last: Only the newest so many.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        _check_step_query(kind, status, after)
        if last is not None:
            check_int("last", last)
        query = {"sandbox": sandbox, "kind": kind, "status": status, "after": after, "last": last}
        answer = self._admin.call("GET", "/journal/steps", account=account, query=query)
        return [Step(**one) for one in answer["steps"]]

    def follow(
        self,
        sandbox: Optional[IdOrObject] = None,
        *,
        kind: Optional[StepKind] = None,
        status: Optional[StepStatus] = None,
        after: Optional[int] = None,
        wait: Optional[float] = None,
        account: Optional[IdOrObject] = None,
    ) -> Iterator[Step]:
        """Iterate over the steps that there are, and over those that are added or changed from then on, in the order of
        their revisions. A step that changes comes again. Close the iterator, or leave the loop, to end it; it also ends
        when the account is deleted or the emulator stops. A connection that is lost is made again, for some seconds,
        and the iterator goes on after the last step that it has given.

        Args:
            sandbox: A sandbox or its id.
            kind: `test`, `call`, `request`, `command`, `prompt`, `file`, `sandbox`, `control`, `alert`, `event` or
                `error`.
            status: `running`, `ok` or `error`.
            after: Only those that were added or changed after this revision.
            wait: It ends after so long without a new step; 0: when all that there are were read. Never by default. In
                seconds.
            account: An account or its id. The default is the selected account.

        Raises:
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
            EmulatorError: The emulator was killed.
        """
        _check_step_query(kind, status, after)
        if wait is not None:
            check_number("wait", wait)
        query = {"sandbox": sandbox, "kind": kind, "status": status, "after": after, "wait": wait}
        return self._following(query, account)

    def _following(self, query: dict[str, Any], account: Optional[IdOrObject]) -> Iterator[Step]:
        """The steps of a stream, which is requested again where the connection is lost."""
        seen, lost_at = "", 0.0
        while True:
            is_connected = False
            headers = {"Last-Event-ID": seen} if seen else {}
            lines = self._admin.lines("/journal/steps/stream", account=account, query=query, headers=headers)
            try:
                with closing(_events_in(lines)) as events:
                    for identifier, step in events:
                        is_connected, seen = True, identifier or seen
                        if step is not None:
                            yield step
                return
            except AdminRequestError:
                raise
            except EmulatorError:
                now = time.monotonic()
                lost_at = now if is_connected else lost_at
                if self._admin.is_local or not lost_at or now > lost_at + RECONNECT_SECONDS:
                    raise
                time.sleep(RECONNECT_PAUSE)

    def record_file_changes(self, enabled: bool = True, *, account: Optional[IdOrObject] = None) -> None:
        """Record in the steps of commands, agents' prompts and restores which files of /workspace they have changed, as
        `changes` in the step's detail. It is off by default; a reset of the account switches it off again.

        Args:
            enabled: False switches it off.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Raises:
            TypeError: `enabled` is not a bool.
        """
        check_bool("enabled", enabled)
        self._admin.call("PUT", "/journal/file-changes", {"enabled": enabled}, account=account)

    def _listed(
        self,
        kind: str,
        record: type[R],
        texts: dict[str, Optional[str]],
        query: dict[str, Any],
        last: Optional[int],
        account: Optional[IdOrObject],
    ) -> list[R]:
        for name, text in texts.items():
            if text is not None:
                check_str(name, text)
        if last is not None:
            check_int("last", last)
        query = {**texts, **query, "last": last}
        return [record(**one) for one in self._admin.call("GET", f"/journal/{kind}", account=account, query=query)]

    def clear(self, *, account: Optional[IdOrObject] = None) -> None:
        """Remove all entries."""
        self._admin.call("DELETE", "/journal", account=account)

    # --- as a sequence of requests

    def __iter__(self) -> Iterator[RequestRecord]:
        return iter(self.requests())

    def __len__(self) -> int:
        """Count the requests without fetching them."""
        return int(self._admin.call("GET", "/journal")["requests"])

    def __bool__(self) -> bool:
        """Always True: this is an object, also when there are no requests."""
        return True

    @overload
    def __getitem__(self, index: int) -> RequestRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[RequestRecord]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[RequestRecord, list[RequestRecord]]:
        if isinstance(index, int) and index < 0:
            newest = self.requests(last=-index)
            if len(newest) < -index:
                raise IndexError(f"journal: there are {len(newest)} requests, and none at {index}")
            return newest[0]
        return self.requests()[index]

    # --- assertions

    def assert_ran(
        self,
        command: Pattern,
        *,
        sandbox: Optional[IdOrObject] = None,
        times: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[CommandRecord]:
        """Assert that a command ran.

        Args:
            command: The exact command, or a glob with `*`, `?` and `[`; a compiled regular expression, searched for in
                it.
            sandbox: A sandbox or its id.
            times: How often exactly; at least once by default.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The commands that match.

        Raises:
            AssertionError: It did not; the text lists what ran instead, the nearest first.
            ValueError, TypeError: An argument is wrong.
        """
        __tracebackhide__ = True
        pattern = TextPattern.of_python("command", command)
        _check_times(times)
        every = self.commands(sandbox, account=account)
        found = [one for one in every if pattern.matches(one.command)]
        if not _is_enough(len(found), times):
            what = f"{pattern.text!r} {_count('ran', len(found), times)}"
            raise AssertionError(_near_misses(what, pattern.text, [one.command for one in every], "commands"))
        return found

    def assert_not_ran(
        self, command: Pattern, *, sandbox: Optional[IdOrObject] = None, account: Optional[IdOrObject] = None
    ) -> None:
        """Assert that no command ran that matches. The arguments are those of `assert_ran`.

        Raises:
            AssertionError: One did; the text lists the first of them.
        """
        __tracebackhide__ = True
        pattern = TextPattern.of_python("command", command)
        found = [one for one in self.commands(sandbox, account=account) if pattern.matches(one.command)]
        if found:
            lines = "\n".join(f"  {one}" for one in found[:NEAREST])
            raise AssertionError(f"{pattern.text!r} ran {len(found)} times:\n{lines}")

    def assert_requested(
        self,
        method: Optional[str] = None,
        path: Optional[str] = None,
        *,
        operation: Optional[OperationName] = None,
        sandbox: Optional[IdOrObject] = None,
        status: Optional[int] = None,
        times: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[RequestRecord]:
        """Assert that a request came; with `times`, exactly so often. The other arguments are those of `requests`.

        Returns:
            The requests that match.

        Raises:
            AssertionError: It did not; the text lists what came instead, the nearest first.
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        __tracebackhide__ = True
        _check_times(times)
        found = self.requests(method, path, operation=operation, sandbox=sandbox, status=status, account=account)
        if not _is_enough(len(found), times):
            wanted = " ".join(str(part) for part in (method, path, operation, sandbox, status) if part is not None)
            came = [f"{one.method} {one.path} {one.operation} {one.status}" for one in self.requests(account=account)]
            what = f"a request {wanted} {_count('came', len(found), times)}"
            raise AssertionError(_near_misses(what, wanted, came, "requests"))
        return found

    def assert_prompted(
        self,
        text: Pattern,
        *,
        agent: Optional[AgentName] = None,
        sandbox: Optional[IdOrObject] = None,
        times: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[PromptRecord]:
        """Assert that an agent was given a prompt; with `times`, exactly so often.

        Args:
            text: A pattern as of `assert_ran`.
            agent: Any name of an agent.
            sandbox: A sandbox or its id.
            times: How often exactly; at least once by default.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The prompts that match.

        Raises:
            AssertionError: It was not; the text lists what came instead, the nearest first.
            ValueError, TypeError: An argument is wrong, or names something that does not exist.
        """
        __tracebackhide__ = True
        pattern = TextPattern.of_python("text", text)
        _check_times(times)
        every = self.prompts(sandbox, agent=agent, account=account)
        found = [one for one in every if pattern.matches(one.prompt)]
        if not _is_enough(len(found), times):
            what = f"the prompt {pattern.text!r} {_count('came', len(found), times)}"
            raise AssertionError(_near_misses(what, pattern.text, [one.prompt for one in every], "prompts"))
        return found


def _check_step_query(kind: Any, status: Any, after: Any) -> None:
    for name, text in (("kind", kind), ("status", status)):
        if text is not None:
            check_str(name, text)
    if after is not None:
        check_int("after", after)


def _events_in(lines: Generator[bytes, None, None]) -> Generator[tuple[str, Optional[Step]], None, None]:
    """The steps in lines of server-sent events, each with the id of its event; for each other line None, with the id of
    the event before it."""
    before = identifier = ""
    with closing(lines):
        for line in lines:
            if line.startswith(b"id: "):
                identifier = line[len(b"id: ") :].decode()
            elif line.startswith(b"data: "):
                before = identifier
                yield identifier, Step(**json.loads(line[len(b"data: ") :]))
            else:
                yield before, None


def _check_times(times: Any) -> None:
    """Check the expected count of an assertion."""
    if times is not None:
        check_int("times", times)
        if times < 0:
            raise ValueError(f"times: must be at least 0, not {times}")


def _is_enough(count: int, times: Optional[int]) -> bool:
    return count > 0 if times is None else count == times


def _count(verb: str, count: int, times: Optional[int]) -> str:
    return f"never {verb}" if times is None else f"{verb} {count} times, not {times}"


def _near_misses(what: str, wanted: str, texts: Sequence[str], kind: str) -> str:
    """The message of a failed assertion, with the nearest of the texts."""
    if not texts:
        return f"{what}; there were no {kind} at all"
    return "\n".join([f"{what}. What came, the nearest first:", *nearest_lines(wanted, texts)])
