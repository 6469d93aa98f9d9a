"""Shared by the hooks of both runs of schemathesis."""

from __future__ import annotations

from typing import Any


def whole(value: Any) -> Any:
    """Replace 33.0 by 33: the same number in JSON Schema, but the platform does not accept a fraction as a count."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return [whole(item) for item in value] if isinstance(value, list) else value


def meant_to_be_good(case: Any, place: str) -> bool:
    """Return whether schemathesis made up valid values for the `path` or the `query`. False for those of a stateful
    test."""
    if case.meta is None or case.meta.phase.name.value == "stateful":
        return False
    places = {getattr(where, "value", where): info.mode for where, info in case.meta.components.items()}
    return place in places and bool(places[place].is_positive)
