"""The plugin's markers: a misspelt one fails its test, and so does one that has no effect."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any, Optional

import pytest

#: Set once `caged_sandbox` was set up for the test, also by getfixturevalue.
SANDBOX = pytest.StashKey[bool]()
#: What is wrong with the test's markers.
_PROBLEM = pytest.StashKey[str]()
#: The test's own marker `caged` has an effect only if `caged_sandbox` is requested while the test runs.
_IDLE = pytest.StashKey[bool]()

#: `bwrap` is `namespace`, built by another program.
LEVELS = ("namespace", "process")
MARKERS = ("caged", "caged_emulator_only", "caged_live_only", "caged_needs")
_HOOKS = "caged-markers"


def check(item: pytest.Item) -> None:
    """Look at the markers of a test that begin with `caged`; what is wrong fails the test when it is set up."""
    problem = next(_problems(item), None)
    if problem is not None:
        item.stash[_PROBLEM] = problem
    elif _is_idle(item):
        item.stash[_IDLE] = True
    else:
        return
    if not item.config.pluginmanager.has_plugin(_HOOKS):
        item.config.pluginmanager.register(_Checks(), _HOOKS)


def has_valid_markers(item: pytest.Item) -> bool:
    return _PROBLEM not in item.stash


def _problems(item: pytest.Item) -> Iterator[str]:
    for marker in item.iter_markers():
        if marker.name == "caged":
            yield from _of_options(marker)
        elif marker.name == "caged_needs":
            yield from _of_level(marker)
            if not hasattr(item, "fixturenames"):
                yield "caged_needs works on test functions and methods only"
        elif marker.name in MARKERS and (marker.args or marker.kwargs):
            yield f"@pytest.mark.{marker.name} takes no arguments, and was given {_given(marker)}"
        elif marker.name.startswith("caged") and marker.name not in MARKERS and not _is_registered(item, marker.name):
            yield f"@pytest.mark.{marker.name} is not a marker of the caged plugin{did_you_mean(marker.name, MARKERS)}"


def _of_options(marker: pytest.Mark) -> Iterator[str]:
    if marker.args:
        yield (
            f"@pytest.mark.caged takes keyword options only, and was given {marker.args[0]!r}; "
            f"write for example @pytest.mark.caged(template={str(marker.args[0])!r})"
        )
    known = _options_of_create() if marker.kwargs else ()
    for name in marker.kwargs:
        if name not in known:
            hint = did_you_mean(name, known) or f"; the options are those of sandboxes.create: {', '.join(known)}"
            yield f"@pytest.mark.caged: unknown option {name!r}{hint}"


def _of_level(marker: pytest.Mark) -> Iterator[str]:
    level = marker.args[0] if len(marker.args) == 1 and not marker.kwargs else None
    if level in LEVELS:
        return
    hint = did_you_mean(level, LEVELS) if isinstance(level, str) else ""
    hint = hint or "; write for example @pytest.mark.caged_needs('namespace')"
    yield f"caged_needs takes one level, {' or '.join(map(repr, LEVELS))}, and was given {_given(marker)}{hint}"


def _given(marker: pytest.Mark) -> str:
    keywords = [f"{name}={value!r}" for name, value in marker.kwargs.items()]
    return ", ".join([*map(repr, marker.args), *keywords]) or "nothing"


def _options_of_create() -> tuple[str, ...]:
    from caged._resources.sandboxes import Sandboxes

    return tuple(name for name in inspect.signature(Sandboxes.create).parameters if name != "self")


def _is_registered(item: pytest.Item, name: str) -> bool:
    """By the suite, or by another plugin."""
    lines: Iterable[str] = item.config.getini("markers")
    return any(line.partition(":")[0].partition("(")[0].strip() == name for line in lines)


def _is_idle(item: pytest.Item) -> bool:
    """Only a marker on the test function itself: one on a class or a module may be for some of its tests."""
    names = getattr(item, "fixturenames", ())
    return "caged_sandbox" not in names and any(marker.name == "caged" for marker in item.own_markers)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def sandbox_options(item: pytest.Item) -> dict[str, Any]:
    """The options of all markers of the test; the nearest marker wins, option by option."""
    options: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("caged"))):
        options.update(marker.kwargs)
    return options


class _Checks:
    """Registered only when a test has something to be checked."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        problem: Optional[str] = item.stash.get(_PROBLEM, None)
        if problem is not None:
            pytest.fail(f"{item.nodeid}: {problem}", pytrace=False)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        outcome: Any = yield
        failed = outcome.excinfo is not None or bool(getattr(item, "_excinfo", None))
        if failed or not item.stash.get(_IDLE, False) or item.stash.get(SANDBOX, False):
            return
        text = (
            f"{item.nodeid}: @pytest.mark.caged(...) has no effect: the test does not use caged_sandbox, whose options"
            " these are; use that fixture, or pass the options to caged.sandboxes.create and remove the marker"
        )
        outcome.force_exception(pytest.fail.Exception(text, pytrace=False))
