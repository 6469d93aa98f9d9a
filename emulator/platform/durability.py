"""Whether the state survives the emulator, and when it has been written."""

from __future__ import annotations

from typing import Optional, Protocol


class StateWriter(Protocol):
    """Writes the store to where it survives the emulator."""

    def flush(self) -> None:
        """Make all changes durable before returning. Raises OSError when that fails."""


class Durability:
    """`commit` before an answer that reports a change, and before what cannot be undone."""

    def __init__(self, writer: Optional[StateWriter] = None) -> None:
        """`writer`: None when nothing survives the emulator."""
        self._writer = writer

    @property
    def is_persistent(self) -> bool:
        return self._writer is not None

    def commit(self) -> None:
        """Make all changes durable. Raises OSError when that fails."""
        if self._writer is not None:
            self._writer.flush()
