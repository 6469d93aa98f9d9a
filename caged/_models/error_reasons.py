"""The reason of an API error, in a form that a program can branch on."""

from dataclasses import dataclass

from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class ErrorReason(Model):
    """The ``reason`` of an API error (docs/contract/wire-contract.md 2.3).

    Attributes:
        code: The kind of error, e.g. ``plan_limit_reached``, ``policy_denied``, ``invalid_state``. Never empty.
        message: A sentence for people.
        action: What to do, e.g. ``upgrade_plan``; may be empty.
        subject_type, subject_id: The resource that the error is about; may be empty.
    """

    code: str = ""
    message: str = ""
    action: str = ""
    subject_type: str = ""
    subject_id: str = ""
