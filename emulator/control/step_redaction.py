"""Redaction of steps where they are shown: in lists, streams, pages, lines of the output, and files of traces.

What an account declares as its secrets, and credentials of the platform, are redacted before anything is kept. Steps
are for people and are passed on, so that in them all of an environment is redacted as well. Records of the journal
(requests, commands, prompts, events) keep it, because tests compare them with what they expect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Callable, TypeVar

from .step import Step

T = TypeVar("T")
Redact = Callable[[str], str]
#: In place of a body of which it is not known what in it is a secret.
NOT_SHOWN = "(not shown: it was cut, and names an environment)"
#: A shorter value of an environment is not a secret, and would be replaced in every other word.
SHORTEST_SECRET = 8
#: Ends of the names of variables that hold paths.
_PATHS = ("PATH", "DIR", "HOME", "ROOT", "FILE")


def environment_values(env: Mapping[Any, Any]) -> list[str]:
    """The values of variables that may be secrets, whether they are declared or not: all but paths and short words."""
    return [
        value
        for name, value in env.items()
        if isinstance(value, str) and len(value) >= SHORTEST_SECRET and not _is_path(name, value)
    ]


def _is_path(name: Any, value: str) -> bool:
    """Whether a variable holds paths, such as PYTHONPATH; without them steps could not be read."""
    return str(name).endswith(_PATHS) and value.startswith(("/", "./", "~/"))


def redact_step(step: Step, redacted: Redact) -> Step:
    """A redacted copy of a step."""
    detail = {
        name: redact_pieces(value, redacted) if name == "output" else redact_value(value, redacted, name == "body")
        for name, value in step.detail.items()
    }
    if detail.get("operation") == "sandboxes.create" and _is_cut(detail.get("request")):
        detail["request"] = NOT_SHOWN
    sandbox = redacted(step.sandbox) if step.sandbox else ""  # a client may have sent anything as the id of one
    return replace(step, title=redacted(step.title), sandbox=sandbox, detail=detail)


def text_of(step: Step) -> str:
    """All texts of a step that may have to be redacted; an output as one, with what goes over the end of a piece."""
    output = "".join(text for _seconds, text in step.detail.get("output") or ())
    return "\n".join([step.title, step.sandbox, output, *_texts_in(step.detail)])


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _texts_in(name)
            yield from _texts_in(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts_in(one)
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from _texts_in(getattr(value, one.name))


def may_be_cut(step: Step, text: str) -> bool:
    """Whether a part of a value may be in a step, at a cut. `text`: all of its texts."""
    return "…" in text or step.detail.get("operation") == "sandboxes.create"


def _is_cut(body: Any) -> bool:
    """Whether a body was cut, so that a value at its end may not have been found, and is one that has values."""
    if not isinstance(body, str) or not ('"env"' in body or '"repo_token"' in body):
        return False
    try:
        json.loads(body)
    except ValueError:
        return True
    return False


def redact_value(value: T, redacted: Redact, has_keys: bool = False) -> T:
    """A copy of a value in which every text is redacted. `has_keys`: the keys of a dict, too."""
    found: Any = value
    if isinstance(value, str):
        found = redacted(value)
    elif isinstance(value, dict):
        found = {
            redact_value(name, redacted) if has_keys else name: redact_value(one, redacted, has_keys)
            for name, one in value.items()
        }
    elif isinstance(value, (list, tuple)):
        found = [redact_value(one, redacted, has_keys) for one in value]
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
