"""The journal: requests, and what happened in sandboxes, with assertions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Optional, Union, overload

from caged._literals import AgentName

from ..control.identifiers import IdOrObject
from ..control.operations import OperationName
from ..control.patterns import NEAREST, Pattern, TextPattern, nearest_lines
from ..control.records import CommandRecord, PromptRecord, RequestRecord
from ..control.values import check_bool, check_int
from .journal_queries import JournalQueries


class Journal(JournalQueries):
    """The journal of one account: the selected one, unless `account` names another, or `"*"` for all. The newest 10,000
    entries of each kind, oldest first. As a sequence it is that of the requests.

    Queries raise ValueError for a value that can never match: an unknown operation, method, agent, source or type, a
    path without its leading `/`, a status that HTTP does not have, a sandbox that the account never had.
    `sandbox` may also be a glob, as may the others but `status`.
    """

    def record_file_changes(self, enabled: bool = True, *, account: Optional[IdOrObject] = None) -> None:
        """Record in the steps of commands, agents' prompts and restores which files of /workspace they have changed, as
        `changes` in the step's detail. It is off by default; a reset of the account switches it off again.

        Args:
            enabled: False switches it off, for one account also when it was switched on for all.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Raises:
            TypeError: `enabled` is not a bool.
        """
        check_bool("enabled", enabled)
        self._admin.call("PUT", "/journal/file-changes", {"enabled": enabled}, account=account)

    def clear(self, *, account: Optional[IdOrObject] = None) -> int:
        """Remove all entries, and the steps.

        Args:
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            How many entries were removed (requests, commands, prompts and events; steps are not counted).
        """
        return int(self._admin.call("DELETE", "/journal", account=account)["removed"])

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
        """Assert that no command ran that matches.

        Args:
            command: A pattern as of `assert_ran`.
            sandbox: A sandbox or its id.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

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
        """Assert that a request came: one that matches all that is given.

        Args:
            method: An HTTP method.
            path: A path or a glob (`/v1/sandboxes/*`).
            operation: The SDK's name of an operation, or a glob (`files.*`).
            sandbox: A sandbox or its id.
            status: An HTTP status; 0: not answered.
            times: How often exactly; at least once by default.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

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
