"""The account's plan and what it used."""

import warnings
from dataclasses import dataclass
from typing import Optional

from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class Subscription(Model):
    """The plan. `tier` is free, pro or team; times are RFC 3339, None where they do not apply."""

    tier: str = ""
    status: str = ""
    customer_id: str = ""
    current_period_end: Optional[str] = None
    cancel_at_period_end: bool = False
    trial_ends_at: Optional[str] = None

    @property
    def plan(self) -> str:
        """Deprecated: use `tier`."""
        warnings.warn("Subscription.plan is deprecated; use Subscription.tier", DeprecationWarning, stacklevel=2)
        return self.tier


@public
@dataclass(frozen=True)
class Usage(Model):
    """Machine time of the current period.

    Attributes:
        compute_minutes: All of it: `reported_minutes` plus `pending_seconds`.
        reported_minutes: What the bill already knows of.
        last_reported_at: RFC 3339; None before the first report.
    """

    compute_minutes: int = 0
    reported_minutes: int = 0
    pending_seconds: int = 0
    last_reported_at: Optional[str] = None
