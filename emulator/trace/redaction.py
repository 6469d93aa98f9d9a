"""A trace without the secrets of its test or its command.

The emulator redacts the steps that it shows (`control.step_redaction`). What else is in a trace, such as the failure
and the calls of the SDK, and values of other accounts of a test, are redacted here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Optional
from urllib.parse import urlsplit

from ..control.credentials import redact_credentials
from ..control.redaction import Redactor
from ..control.step import Step
from ..control.step_redaction import SHORTEST_SECRET, Redact, environment_values, redact_step, redact_value
from .file import TraceHeader


class TraceRedactor:
    """Redacts what is known to be a secret of a trace, and credentials of the platform."""

    def __init__(self) -> None:
        self._secrets = Redactor()

    def hide(self, body: Mapping[str, Any]) -> None:
        """Redact the secrets of a body from now on: which of its values are secrets is not known here, so it is all of
        its environment, but for paths and short words."""
        env, repo = body.get("env"), body.get("repo")
        found: list[Any] = list(environment_values(env)) if isinstance(env, Mapping) else []
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
            text = self._secrets.redact_kept(text)
        return redact_credentials(text)


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
    for step in steps:
        found = redact_step(step, redactor.redacted)
        step.title, step.sandbox, step.detail = found.title, found.sandbox, found.detail


def redact_header(header: TraceHeader, redacted: Redact) -> TraceHeader:
    """A redacted copy of a header."""
    return replace(header, **{one.name: redact_value(getattr(header, one.name), redacted) for one in fields(header)})


def _learn(step: Step, redactor: TraceRedactor) -> None:
    """Note the environment in the body of a request that creates a sandbox."""
    try:
        body = json.loads(str(step.detail.get("request", "")))
    except ValueError:
        return
    if isinstance(body, dict):
        redactor.hide(body)
