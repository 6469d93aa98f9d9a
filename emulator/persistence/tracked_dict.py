"""A dictionary of the store that remembers which of its records were put or removed."""

from __future__ import annotations

from typing import Any, TypeVar

V = TypeVar("V")
_MISSING = object()


class TrackedDict(dict[str, V]):
    """For what may be many: alerts, notifications, sessions, snapshots. A record that is changed later is put again, or
    looked at until it cannot change any more. `touched`: ids since the last time that somebody
    emptied it, in this order."""

    def __init__(self, records: dict[str, V]) -> None:
        super().__init__(records)
        self.touched: dict[str, None] = {}

    def __setitem__(self, name: str, record: V) -> None:
        super().__setitem__(name, record)
        self.touched[name] = None

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self.touched[name] = None

    def pop(self, name: str, default: Any = _MISSING) -> Any:
        self.touched[name] = None
        return super().pop(name) if default is _MISSING else super().pop(name, default)

    def _refuse(self, *_arguments: Any, **_options: Any) -> Any:
        raise TypeError("records are put and removed one by one here")

    update = setdefault = popitem = clear = __ior__ = _refuse
