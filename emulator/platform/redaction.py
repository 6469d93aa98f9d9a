"""The values of a sandbox that must not be shown, and texts without them."""

from __future__ import annotations

from collections.abc import Sequence

from ..control.credentials import credentials_hidden
from ..control.redaction import SPARE, redact, without
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


def redacted_end(text: str, hidden: Sequence[str], most: int) -> str:
    """Return the end of a longer text, at most so many characters of it, redacted.

    A value of which only the end is in the searched part is not found there, so that the beginning of that part is not
    returned.
    """
    spare = spare_for(hidden)
    piece = text[-(most + spare) :].encode("utf-8", "replace").decode("utf-8")
    return credentials_hidden(without(piece, hidden, "***"))[spare:][-most:]


def spare_for(hidden: Sequence[str]) -> int:
    """Characters in front of a text that have to be searched with it, so that no end of a hidden value is left at its
    beginning."""
    return max(SPARE, *map(len, hidden)) if hidden else SPARE
