"""Fixtures of the tests of files: an empty directory of the test's own, in one sandbox or another."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

_numbers = itertools.count()


@pytest.fixture
def folder(box: Any) -> str:
    """An empty directory of the test's own."""
    return empty_directory(box)


@pytest.fixture
def cheap(process_box: Any) -> str:
    """The same, in the cheapest sandbox alone: for what does not depend on the level."""
    return empty_directory(process_box)


@pytest.fixture
def single(namespace_box: Any) -> str:
    """The same, in the sandbox that sees no processes but its own alone."""
    return empty_directory(namespace_box)


def empty_directory(box: Any) -> str:
    """Make a directory, and remove that of the test before: one command takes half of the time of two helpers."""
    name = f"folder-{next(_numbers)}"
    made = box.exec(f"rm -rf folder-*; mkdir {name}")
    assert made.ok, made.output
    return f"/workspace/{name}"
