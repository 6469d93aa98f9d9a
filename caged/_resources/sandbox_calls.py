"""The calls about one sandbox, and the list of all: what they send and what they return."""

from __future__ import annotations

from typing import Optional

from .. import _arguments as arguments
from .._call import Call, ExpectedContent, ignore
from .._constants import EXEC_TIMEOUT
from .._models.sandboxes import ExecResult, LogEntry, Port, Sandbox, TrustScoreSummary


def list_() -> Call[list[Sandbox]]:
    return Call("GET", "/sandboxes", ExpectedContent.ARRAY, Sandbox.list_from_api, repeatable=True)


def get(sandbox_id: str) -> Call[Sandbox]:
    return Call("GET", at(sandbox_id), ExpectedContent.OBJECT, Sandbox.from_api, repeatable=True)


def pause(sandbox_id: str) -> Call[None]:
    # Not repeatable: when the first one worked, a second is a 409. The same for resume.
    return Call("POST", at(sandbox_id, "/pause"), ExpectedContent.NOTHING, ignore)


def resume(sandbox_id: str) -> Call[None]:
    return Call("POST", at(sandbox_id, "/resume"), ExpectedContent.NOTHING, ignore)


def destroy(sandbox_id: str) -> Call[None]:
    return Call("DELETE", at(sandbox_id), ExpectedContent.NOTHING, ignore, repeatable=True)


def exec_(sandbox_id: str, command: str, timeout: Optional[float]) -> Call[ExecResult]:
    return Call(
        "POST",
        at(sandbox_id, "/exec"),
        ExpectedContent.OBJECT,
        ExecResult.from_api,
        body={"command": arguments.text("command", command)},
        timeout=EXEC_TIMEOUT if timeout is None else arguments.seconds("timeout", timeout),
    )


def logs(sandbox_id: str, tail: Optional[int]) -> Call[list[LogEntry]]:
    query = {"tail": None if tail is None else arguments.integer("tail", tail)}
    path = at(sandbox_id, "/logs")
    return Call("GET", path, ExpectedContent.ARRAY, LogEntry.list_from_api, query=query, repeatable=True)


def ports(sandbox_id: str) -> Call[list[Port]]:
    return Call("GET", at(sandbox_id, "/ports"), ExpectedContent.ARRAY, Port.list_from_api, repeatable=True)


def trust_scores(sandbox_id: str) -> Call[list[TrustScoreSummary]]:
    path = f"/trust{at(sandbox_id)}"
    return Call("GET", path, ExpectedContent.ARRAY, TrustScoreSummary.list_from_api, repeatable=True)


def at(sandbox_id: str, rest: str = "") -> str:
    """The path of a sandbox, or of something below it."""
    return f"/sandboxes/{arguments.segment('sandbox_id', sandbox_id)}{rest}"
