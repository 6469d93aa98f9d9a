"""Every public class, function, method and property has a docstring, which explains each argument."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Callable, Optional

import pytest

import caged
import caged.emulator

#: The section of arguments, and in it the name before a colon.
ARGS = re.compile(r"^Args:\n((?: {4}.*\n?|\n)*)", re.MULTILINE)
NAME = re.compile(r"^ {4}\*{0,2}(\w+):", re.MULTILINE)
#: A method of an asynchronous class may refer to the blocking one.
REFERENCE = re.compile(r"See `(\w+)\.(\w+)`")


def classes_by_name(module: ModuleType) -> dict[str, type]:
    """The public classes of a module and the bases that they are made of."""
    public = [getattr(module, name) for name in module.__all__]
    bases = {base for one in public if isinstance(one, type) for base in one.__mro__}
    return {base.__name__: base for base in bases}


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public members of a class that this project defines, as they stand in the class."""
    for name in dir(cls):
        owner: Optional[type] = next((base for base in cls.__mro__ if name in vars(base)), None)
        if not name.startswith("_") and owner is not None and owner.__module__.split(".")[0] in ("caged", __name__):
            yield name, vars(owner)[name]


def parameters(function: Callable[..., Any], is_method: bool) -> list[str]:
    return list(inspect.signature(function).parameters)[1 if is_method else 0 :]


def problem(function: Callable[..., Any], is_method: bool, classes: dict[str, type]) -> str:
    """What the docstring of a function lacks; empty if it lacks nothing."""
    text = inspect.getdoc(function)
    if not text:
        return "has no docstring"
    wanted = parameters(function, is_method)
    reference = REFERENCE.match(text)
    if reference:
        target = getattr(classes.get(reference[1]), reference[2], None)
        if target is None or parameters(target, True) != wanted:
            return f"refers to {reference[0]}, which does not exist or has other arguments"
        return problem(target, True, {})
    section = ARGS.search(text)
    missing = set(wanted) - set(NAME.findall(section[1] if section else ""))
    return f"has no line in Args: for {', '.join(sorted(missing))}" if missing else ""


def problems(cls: type, classes: dict[str, type]) -> Iterator[str]:
    """Yield what the docstrings of a class lack."""
    text = vars(cls).get("__doc__") or ""
    if not text or text.startswith(f"{cls.__name__}("):  # what a dataclass writes by itself
        yield f"{cls.__name__} has no docstring"
    for name, member in members(cls):
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        getter = getattr(member, "fget", None) or getattr(member, "func", None)
        if getter is not None:
            found = "" if inspect.getdoc(getter) else "has no docstring"
        elif inspect.isfunction(function):
            found = problem(function, not isinstance(member, staticmethod), classes)
        else:
            continue
        if found:
            yield f"{cls.__name__}.{name} {found}"


@pytest.mark.parametrize("module", [caged, caged.emulator], ids=lambda module: module.__name__)
def test_docstrings_of_public_names_are_complete(module: ModuleType) -> None:
    classes = classes_by_name(module)
    found: list[str] = []
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type):
            found += problems(value, classes)
        elif inspect.isfunction(value) and problem(value, False, classes):
            found.append(f"{name} {problem(value, False, classes)}")
    assert not found, "\n".join(found)


class Complete:
    """A class of this test."""

    @property
    def size(self) -> int:
        """The size."""
        return 0

    def both(self, one: int, **two: int) -> None:
        """Do it.

        Args:
            one: The first.
            two: The others.
        """

    @classmethod
    def make(cls) -> None:
        """Make one."""


class AsyncComplete:
    """A class that refers to the other."""

    def both(self, one: int, **two: int) -> None:
        """See `Complete.both`."""


class Incomplete:
    @property
    def size(self) -> int:
        return 0

    def nothing(self) -> None:
        pass

    def one_of_two(self, one: int, two: int) -> None:
        """Do it.

        Args:
            one: The first.
        """

    def both(self, one: int) -> None:
        """See `Complete.both`."""

    def other(self) -> None:
        """See `Complete.gone`."""


def test_incomplete_docstrings_are_found() -> None:
    classes = {"Complete": Complete}
    assert [*problems(Complete, classes), *problems(AsyncComplete, classes)] == []
    assert list(problems(Incomplete, classes)) == [
        "Incomplete has no docstring",
        "Incomplete.both refers to See `Complete.both`, which does not exist or has other arguments",
        "Incomplete.nothing has no docstring",
        "Incomplete.one_of_two has no line in Args: for two",
        "Incomplete.other refers to See `Complete.gone`, which does not exist or has other arguments",
        "Incomplete.size has no docstring",
    ]
