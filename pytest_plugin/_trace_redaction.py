"""A trace without the secrets of its test.

The emulator redacts what a sandbox declares as its secrets, and credentials of the platform. In a file that is uploaded
from CI nothing else of an environment belongs either, so its values are redacted here wherever they stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from caged.emulator.control.steps import Step
from caged.emulator.trace.file import TraceHeader

if TYPE_CHECKING:
    from ._calls import CallLog

T = TypeVar("T")
Redact = Callable[[str], str]
#: In place of a body of which it is not known what in it is a secret.
NOT_SHOWN = "(not shown: it was cut, and names an environment)"


def redact_steps(steps: list[Step], calls: CallLog) -> None:
    """Redact steps in place, with all environments of sandboxes that their requests hold."""
    for step in steps:
        if step.kind == "request" and step.detail.get("operation") == "sandboxes.create":
            _learn(step, calls)
    for step in steps:
        step.title = calls.redacted(step.title)
        step.detail = {
            name: redact_pieces(value, calls.redacted) if name == "output" else redact_value(value, calls.redacted)
            for name, value in step.detail.items()
        }


def redact_header(header: TraceHeader, redacted: Redact) -> TraceHeader:
    """A redacted copy of a header."""
    return replace(header, **{one.name: redact_value(getattr(header, one.name), redacted) for one in fields(header)})


def redact_value(value: T, redacted: Redact) -> T:
    """A copy of a value in which every text is redacted. Keys are kept as they are."""
    found: Any = value
    if isinstance(value, str):
        found = redacted(value)
    elif isinstance(value, dict):
        found = {name: redact_value(one, redacted) for name, one in value.items()}
    elif isinstance(value, (list, tuple)):
        found = [redact_value(one, redacted) for one in value]
    elif is_dataclass(value) and not isinstance(value, type):
        changed: dict[str, Any] = {one.name: redact_value(getattr(value, one.name), redacted) for one in fields(value)}
        found = replace(value, **changed)
    result: T = found
    return result


def redact_pieces(pieces: Iterable[Any], redacted: Redact) -> list[list[Any]]:
    """The pieces of an output, redacted; one piece where a secret goes over the end of one."""
    whole = [list(piece) for piece in pieces]
    each = [[seconds, redacted(text)] for seconds, text in whole]
    together = redacted("".join(text for _seconds, text in whole))
    if "".join(text for _seconds, text in each) == together or not each:
        return each
    return [[each[0][0], together]]


def _learn(step: Step, calls: CallLog) -> None:
    """Note the environment in the body of a request that creates a sandbox."""
    request = str(step.detail.get("request", ""))
    try:
        body = json.loads(request)
    except ValueError:
        if '"env"' in request or '"repo_token"' in request:
            step.detail["request"] = NOT_SHOWN
        return
    if isinstance(body, dict):
        calls.hide(body)
