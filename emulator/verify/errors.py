"""The exceptions with which a check, or a whole run, ends early.

Mismatch            the server does not conform to the fact that is checked
SkipCheck           the check cannot be made here
VerificationError   the server cannot be verified at all
"""

from __future__ import annotations


class Mismatch(Exception):
    """The server does not conform to the fact that is checked.

    Attributes:
        expected: What the contract requires, as text.
        got: What the server sent instead, as text.
    """

    def __init__(self, expected: object, got: object) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = str(expected)
        self.got = str(got)


class SkipCheck(Exception):
    """The check cannot be made against this server or account; the text says why. Reported as `not checked`."""


class VerificationError(Exception):
    """The server cannot be verified at all; the text says why and what to do."""
