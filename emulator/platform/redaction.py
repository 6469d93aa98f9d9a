"""The values of a sandbox that must not be shown, and texts without them."""

from __future__ import annotations

from ..control.redaction import redact, without
from ..store import Sandbox


def hidden_values(sandbox: Sandbox) -> list[str]:
    """Return the values of the sandbox's secrets and its repository's token, longest first."""
    hidden = [sandbox.env.get(name, "") for name in sandbox.secrets]
    if sandbox.repo is not None:
        _url, _user, token = sandbox.repo.split_credentials()
        hidden.append(token or "")
    return sorted(filter(None, hidden), key=len, reverse=True)


def mask(sandbox: Sandbox, text: str) -> str:
    """Return the whole text with the sandbox's hidden values replaced by `***`."""
    return without(text, hidden_values(sandbox), "***")


def redact_for(sandbox: Sandbox, text: str, most: int, mark: bool = True) -> str:
    """Return what the journal, a log or an event may show of a text: `redact` with the sandbox's hidden values."""
    return redact(text, hidden_values(sandbox), most, mark)
