"""Lets the package root be the address of its public classes."""

from typing import TypeVar

C = TypeVar("C", bound=type)


def public(cls: C) -> C:
    """Make a class read as ``caged.Name`` in tracebacks, reprs and pickles."""
    cls.__module__ = "caged"
    return cls
