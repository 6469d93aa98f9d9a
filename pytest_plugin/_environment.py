"""CAGED_BASE_URL and CAGED_API_KEY while a fixture is active, so that a bare `Caged()` uses the same account."""

from __future__ import annotations

import os
from typing import Optional

Saved = dict[str, Optional[str]]


def point_at(base_url: str, api_key: str) -> Saved:
    """Set the variables and return what `restore` needs."""
    wanted = {"CAGED_BASE_URL": base_url, "CAGED_API_KEY": api_key}
    saved: Saved = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    return saved


def restore(saved: Saved) -> None:
    for name, value in saved.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
