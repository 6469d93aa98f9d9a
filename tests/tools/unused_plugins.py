"""Plugins of pytest that are installed for some tests only."""

from __future__ import annotations

from collections.abc import Iterable

#: Plugin -> what its options begin with; the registration of each takes a hundredth of the time of a short run.
_OPTIONS = {"anyio": "--anyio", "html": "--html", "metadata": "--html", "rerunfailures": "--reruns"}


def leave_out_unused(options: Iterable[str]) -> list[str]:
    """Return options of pytest by which a run does not load the plugins that none of its options is for."""
    given = list(options)
    return [
        word
        for plugin, start in _OPTIONS.items()
        if not any(option.startswith(start) for option in given)
        for word in ("-p", f"no:{plugin}")
    ]
