"""A trace without the secrets of its test or its command.

The emulator redacts what a sandbox declares as its secrets, and credentials of the platform. In a file that is uploaded
from CI nothing else of an environment belongs either, so its values are redacted here wherever they stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Callable, Optional, TypeVar
from urllib.parse import urlsplit

from ..control.credentials import redact_credentials
from ..control.redaction import Redactor
from ..control.steps import Step
from .file import TraceHeader

T = TypeVar("T")
Redact = Callable[[str], str]
#: In place of a body of which it is not known what in it is a secret.
NOT_SHOWN = "(not shown: it was cut, and names an environment)"
#: A shorter value of an environment is no secret, and would be replaced in every other word.
SHORTEST_SECRET = 8
#: Ends of the names of variables that hold paths.
_PATHS = ("PATH", "DIR", "HOME", "ROOT", "FILE")


class TraceRedactor:
    """Redacts what is known to be a secret of a trace, and credentials of the platform."""

    def __init__(self) -> None:
        self._secrets = Redactor()

    def hide(self, body: Mapping[str, Any]) -> None:
        """Redact the secrets of a body from now on: which of its values are secrets is not known here, so it is all of
        its environment, but for paths and short words."""
        env, repo = body.get("env"), body.get("repo")
        found = [value for name, value in env.items() if not _is_path(name, value)] if isinstance(env, Mapping) else []
        found += [body.get("repo_token"), body.get("password")]
        if isinstance(repo, str) and "@" in repo:
            found.append(_password(repo))
        self.hide_values(found)

    def hide_values(self, values: Iterable[Any]) -> None:
        """Redact values from now on, those that are texts and not too short."""
        texts = [one for one in values if isinstance(one, str) and len(one) >= SHORTEST_SECRET]
        if texts:
            self._secrets.add(texts)

    def redacted(self, text: str) -> str:
        """A text without the secrets that are known, and without credentials of the platform."""
        if self._secrets:
            text = self._secrets.redact_text(text)
        return redact_credentials(text)


def _is_path(name: Any, value: Any) -> bool:
    """Whether a variable holds paths, such as PYTHONPATH; without them a trace could not be read."""
    return str(name).endswith(_PATHS) and isinstance(value, str) and value.startswith(("/", "./", "~/"))


def _password(url: str) -> Optional[str]:
    try:
        parts = urlsplit(url)
        return parts.password or parts.username
    except ValueError:
        return None


def redact_steps(steps: list[Step], redactor: TraceRedactor) -> None:
    """Redact steps in place, with all environments of sandboxes that their requests hold."""
    for step in steps:
        if step.kind == "request" and step.detail.get("operation") == "sandboxes.create":
            _learn(step, redactor)
    redacted = redactor.redacted
    for step in steps:
        step.title = redacted(step.title)
        step.detail = {
            name: redact_pieces(value, redacted) if name == "output" else redact_value(value, redacted)
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


def _learn(step: Step, redactor: TraceRedactor) -> None:
    """Note the environment in the body of a request that creates a sandbox."""
    request = str(step.detail.get("request", ""))
    try:
        body = json.loads(request)
    except ValueError:
        if '"env"' in request or '"repo_token"' in request:
            step.detail["request"] = NOT_SHOWN
        return
    if isinstance(body, dict):
        redactor.hide(body)
