"""Which event loop an object belongs to, and the error for using it from another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ._errors import CagedError

if TYPE_CHECKING:
    import asyncio


class EventLoop:
    """The event loop that an object was first used in.

    Args:
        owner: What belongs to it, for the message.
        pooled: Whether every use from another loop is refused. False where that may work (a transport that keeps no
            connections): then `is_another` says why something failed.
    """

    def __init__(self, owner: str, pooled: bool = True) -> None:
        self._owner = owner
        self._pooled = pooled
        self._loop: Optional[asyncio.AbstractEventLoop] = None

    def enter(self) -> None:
        """Belong to the running loop from the first call on.

        Raises:
            CagedError: Another loop is running, and the owner is tied to the first one.
        """
        self.check()
        if self._loop is None:
            self._loop = _running()

    def check(self) -> None:
        """Refuse another loop; does not begin to belong to one. Raises as `enter` does."""
        if self._pooled and self.is_another():
            raise self.error()

    def is_another(self) -> bool:
        """True when the running loop is not the one of the first use."""
        return self._loop is not None and self._loop is not _running()

    def error(self) -> CagedError:
        """What to raise when a use from another loop is refused or has failed."""
        gone = ", which is closed" if self._loop is not None and self._loop.is_closed() else ""
        return CagedError(
            f"{self._owner} belongs to the event loop that used it first{gone}, and was now used from another one; "
            "make a new one in each event loop (each asyncio.run() has its own)"
        )


def _running() -> Optional[asyncio.AbstractEventLoop]:
    """None outside asyncio, e.g. under trio."""
    import asyncio  # only async programs come here, and they have it already

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
