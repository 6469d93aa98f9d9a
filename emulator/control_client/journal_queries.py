"""Queries of the journal: what an account has done, and what happened in its sandboxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional, TypeVar

from caged._literals import AgentName, EventType

from ..control.identifiers import IdOrObject
from ..control.operations import OperationName
from ..control.records import CommandRecord, CommandSource, EventRecord, PromptRecord, RequestRecord
from ..control.step import Step, StepKind, StepStatus
from ..control.values import check_int, check_number, check_str
from .admin_client import AdminClient
from .step_stream import follow_steps

R = TypeVar("R")


class JournalQueries:
    """The lists of a journal, oldest first."""

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
            status: HTTP status; 0: not answered. From 0 to 599.
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
            source: `exec`, `helper`, `stream`, `terminal`, `mcp` or `build`; a helper is a script of the SDK.
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
            type: `llm_call`, `tool_call`, `file_op`, `command`, `network`, `error`, `lifecycle`, `desktop` or `other`.
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
        return follow_steps(self._admin, query, account)

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
        return self._admin.records(f"/journal/{kind}", record, account=account, query=query)


def _check_step_query(kind: Any, status: Any, after: Any) -> None:
    for name, text in (("kind", kind), ("status", status)):
        if text is not None:
            check_str(name, text)
    if after is not None:
        check_int("after", after)
