"""Queries: the options that select entries of a list, each described once for Python, HTTP and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from .description import option, options_of
from .names import alternatives
from .records import EVENT_TYPES, SOURCES
from .step import KINDS, STATUSES

_SANDBOX = "A sandbox or its id."
_LAST = "Only the newest so many."
_BRANCH = "A branch, a tag or the id of a commit; the branch of a clone by default."
#: Commits of a fake repository that one call lists.
MOST_COMMITS = 1000
#: Seconds, at most, that a list of open connections waits for those that are being closed.
MOST_SOCKET_WAIT = 5.0


def parameters_of(query: type) -> dict[str, Any]:
    """The query parameters of a description, with their types."""
    return {one.name: one.type if one.type in (int, float, bool) else str for one in options_of(query)}


@dataclass
class ControlQuery:
    """Which controls of a kind are listed."""

    sandbox: Optional[str] = option(None, "Id of a sandbox: only those that apply in it.")
    last: Optional[int] = option(None, "Only the last so many.", at_least=1)
    unused: bool = option(False, "Only those that were never used and are not optional.")


@dataclass
class AccountQuery:
    """Which accounts of an emulator are listed."""

    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class SharedControlQuery:
    """Which controls of all accounts are listed."""

    last: Optional[int] = option(None, "Only the last so many.", at_least=1)


@dataclass
class SandboxQuery:
    """Which sandboxes of the inventory are listed."""

    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class SandboxLogQuery:
    """Which lines of the log of a sandbox are listed."""

    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class SnapshotQuery:
    """Which snapshots of the inventory are listed."""

    sandbox: Optional[str] = option(None, _SANDBOX)
    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class SocketQuery:
    """Which open connections of the inventory are listed."""

    sandbox: Optional[str] = option(None, _SANDBOX)
    last: Optional[int] = option(None, _LAST, at_least=1)
    wait: Optional[float] = option(
        None,
        "Time for connections that are being closed; it ends when there are none.",
        unit="seconds",
        at_least=0,
        at_most=MOST_SOCKET_WAIT,
    )


@dataclass
class RequestQuery:
    """Which requests of the journal are listed: those that match all that is given."""

    method: Optional[str] = option(None, "HTTP method.")
    path: Optional[str] = option(None, "A path or a glob (`/v1/sandboxes/*`).")
    operation: Optional[str] = option(None, "The SDK's name or a glob (`files.*`).")
    sandbox: Optional[str] = option(None, _SANDBOX)
    status: Optional[int] = option(None, "HTTP status; 0: not answered.", at_least=0, at_most=599)
    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class CommandQuery:
    """Which commands of the journal are listed."""

    sandbox: Optional[str] = option(None, _SANDBOX)
    source: Optional[str] = option(None, f"{alternatives(SOURCES)}; a helper is a script of the SDK.")
    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class PromptQuery:
    """Which prompts of the journal are listed."""

    sandbox: Optional[str] = option(None, _SANDBOX)
    agent: Optional[str] = option(None, "Any name of an agent: `claude-code`, `claude`, `continue`, `cn`.")
    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class EventQuery:
    """Which events of the journal are listed."""

    sandbox: Optional[str] = option(None, _SANDBOX)
    type: Optional[str] = option(None, f"{alternatives(EVENT_TYPES)}.")
    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class _StepSelection:
    """What selects steps, in a list and in a stream."""

    sandbox: Optional[str] = option(None, _SANDBOX)
    kind: Optional[str] = option(None, f"{alternatives(KINDS)}.")
    status: Optional[str] = option(None, f"{alternatives(STATUSES)}.")
    after: Optional[int] = option(None, "Only those that were added or changed after this revision.", at_least=0)


@dataclass
class StepQuery(_StepSelection):
    """Which steps of the journal are listed."""

    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class StepStreamQuery(_StepSelection):
    """Which steps a stream has, and when it ends."""

    wait: Optional[float] = option(
        None,
        "It ends after so long without a new step; 0: when all that there are were read. Never by default.",
        unit="seconds",
        at_least=0,
    )


@dataclass
class PushQuery:
    """Which pushes to a fake repository are listed."""

    last: Optional[int] = option(None, _LAST, at_least=1)


@dataclass
class RefQuery:
    """Which branches or tags of a fake repository are listed."""

    last: Optional[int] = option(None, "Only the last so many.", at_least=1)


@dataclass
class CommitQuery:
    """Which commits of a fake repository are listed."""

    branch: Optional[str] = option(None, _BRANCH)
    last: Optional[int] = option(None, _LAST, at_least=1, at_most=MOST_COMMITS)


@dataclass
class RepositoryFileQuery:
    """Which files of a fake repository are listed."""

    branch: Optional[str] = option(None, _BRANCH)
    last: Optional[int] = option(None, "Only the last so many.", at_least=1)


@dataclass
class CallbackErrorQuery:
    """Which errors of callbacks are listed."""

    control: Optional[str] = option(None, "Id of a stub or reply.")
    sandbox: Optional[str] = option(None, _SANDBOX)
    last: Optional[int] = option(None, _LAST, at_least=1)
