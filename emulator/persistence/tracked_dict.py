"""A dictionary of the store that records which of its items were put or removed."""

from __future__ import annotations

from typing import Any, TypeVar

V = TypeVar("V")
_MISSING = object()


class TrackedDict(dict[str, V]):
    """A dictionary for collections that may be large: alerts, notifications, sessions and snapshots.

    A record that changes later has to be put again, or compared until it cannot change any more.

    Attributes:
        changed: The keys that were put or removed since it was last emptied, in this order.
    """

    def __init__(self, records: dict[str, V]) -> None:
        super().__init__(records)
        self.changed: dict[str, None] = {}

    def __setitem__(self, name: str, record: V) -> None:
        super().__setitem__(name, record)
        self.changed[name] = None

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self.changed[name] = None

    def pop(self, name: str, default: Any = _MISSING) -> Any:
        self.changed[name] = None
        return super().pop(name) if default is _MISSING else super().pop(name, default)

    def _refuse(self, *_arguments: Any, **_options: Any) -> Any:
        raise TypeError("this dictionary does not support bulk changes; put and remove records one by one")

    update = setdefault = popitem = clear = __ior__ = _refuse
