"""What the tests of files share."""

from __future__ import annotations


def paths_of(entries):
    return [entry.path for entry in entries]


def names_of(entries):
    return [entry.name for entry in entries]
