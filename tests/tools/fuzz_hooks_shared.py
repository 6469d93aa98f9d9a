"""What the hooks of both runs of schemathesis do."""

from __future__ import annotations

from typing import Any


def whole(value: Any) -> Any:
    """With 33.0 as 33: the same number to JSON Schema, but not to the platform, which takes no fraction for a count."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return [whole(item) for item in value] if isinstance(value, list) else value


def meant_to_be_good(case: Any, place: str) -> bool:
    """Whether schemathesis thought of what stands in the `path` or the `query`, and meant it to be good. What a
    stateful test follows up is left alone."""
    if case.meta is None or case.meta.phase.name.value == "stateful":
        return False
    places = {getattr(where, "value", where): info.mode for where, info in case.meta.components.items()}
    return place in places and bool(places[place].is_positive)
