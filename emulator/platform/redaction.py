"""Redaction of the secrets of one sandbox, in texts that are kept or shown."""

from __future__ import annotations

from ..control.redaction import redact, redact_values
from ..store import Sandbox


def secret_values(sandbox: Sandbox) -> list[str]:
    """Return the values of the sandbox's secrets and its repository's token, longest first."""
    values = [sandbox.env.get(name, "") for name in sandbox.secrets]
    if sandbox.repo is not None:
        _url, _user, token = sandbox.repo.split_credentials()
        values.append(token or "")
    return sorted(filter(None, values), key=len, reverse=True)


def redact_secrets(sandbox: Sandbox, text: str) -> str:
    """Return the whole text with the sandbox's secrets replaced by `***`."""
    return redact_values(text, secret_values(sandbox))


def redact_for(sandbox: Sandbox, text: str, most: int, mark: bool = True) -> str:
    """Return what the journal, a log or an event may show of a text: `redact` with the sandbox's secrets."""
    return redact(text, secret_values(sandbox), most, mark)
