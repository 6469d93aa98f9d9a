"""Why the API refused, in a form a program can branch on."""

from dataclasses import dataclass

from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class Refusal(Model):
    """The ``reason`` of a refused request.

    Attributes:
        code: what was hit, e.g. ``plan_limit_reached``, ``policy_denied``, ``invalid_state``. Never empty.
        message: the same for people.
        action: what would help, e.g. ``upgrade_plan``; may be empty.
        subject_type, subject_id: what it is about; may be empty.
    """

    code: str = ""
    message: str = ""
    action: str = ""
    subject_type: str = ""
    subject_id: str = ""
