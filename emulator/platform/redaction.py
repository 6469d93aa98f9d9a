"""Redaction of the secrets of one sandbox, in texts that are kept or shown."""

from __future__ import annotations

from collections.abc import Sequence

from ..control.credentials import redact_credentials
from ..control.journal import Journal
from ..control.redaction import SPARE, redact, redact_values
from ..control.step_redaction import environment_values
from ..store import Sandbox


def secret_values(sandbox: Sandbox) -> list[str]:
    """Return the values of the sandbox's secrets and the tokens of its repository and of fake ones, longest first."""
    if not sandbox.secrets and sandbox.repo is None and not sandbox.fake_repository_tokens:
        return []  # as of most sandboxes; each command needs them several times
    values = [sandbox.env.get(name, "") for name in sandbox.secrets] + sandbox.fake_repository_tokens
    if sandbox.repo is not None:
        _url, _user, token = sandbox.repo.split_credentials()
        values.append(token or "")
    return sorted(filter(None, values), key=len, reverse=True)


def learn_secrets(journal: Journal, sandbox: Sandbox) -> None:
    """Redact the values of a sandbox that no request has brought: it was saved by an emulator that ran before."""
    journal.redact(sandbox.account_id, secret_values(sandbox), environment_values(sandbox.env))


def redact_secrets(sandbox: Sandbox, text: str) -> str:
    """Return the whole text with the sandbox's secrets replaced by `***`."""
    return redact_values(text, secret_values(sandbox))


def redact_for(sandbox: Sandbox, text: str, most: int, mark: bool = True) -> str:
    """Return what the journal, a log or an event may show of a text: `redact` with the sandbox's secrets."""
    return redact(text, secret_values(sandbox), most, mark)


def without_begun_secret(sandbox: Sandbox, text: str) -> str:
    """Return a text that may go on, without the beginning of a secret at its end: it would not be found there."""
    for secret in secret_values(sandbox):
        for length in range(min(len(secret) - 1, len(text)), 0, -1):
            if text.endswith(secret[:length]):
                return text[:-length]
    return text


def redacted_end(text: str, secrets: Sequence[str], most: int) -> str:
    """Return the end of a longer text, at most so many characters of it, redacted.

    A value of which only the end is in the searched part is not found there, so that the beginning of that part is not
    returned.
    """
    spare = spare_for(secrets)
    piece = text[-(most + spare) :].encode("utf-8", "replace").decode("utf-8")
    return redact_credentials(redact_values(piece, secrets))[spare:][-most:]


def spare_for(secrets: Sequence[str]) -> int:
    """Characters in front of a text that have to be searched with it, so that no end of a secrets value is left at its
    beginning."""
    return max(SPARE, *map(len, secrets)) if secrets else SPARE
