"""What an observer of calls keeps of one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional


class ObservedCall:
    """A call that is being made. All methods may be overridden; these do nothing.

    Attributes:
        headers: Sent with each of its requests.
    """

    __slots__ = ()
    headers: Mapping[str, str]

    def answered(self, status: int) -> None:
        """Note the HTTP status of an answer."""

    def retried(self, error: BaseException, delay: float) -> None:
        """Note that an attempt has failed and that another follows after a delay in seconds."""

    def end(self, error: Optional[BaseException], result: Any = None) -> None:
        """Note that it has ended.

        Args:
            error: What it raises; `GeneratorExit` for one that was abandoned.
            result: What it returns.
        """
