"""Each row of `differences.py` is true at each isolation level, and README has the same table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from differences import (
    BEHAVIOURS,
    IF_MAPPED,
    IF_ROOT,
    IF_ROOT_WITH_LANDLOCK,
    IF_USER_WITHOUT_LANDLOCK,
    NO,
    YES,
    Behaviour,
    table,
)
from levels import Served, SharedBoxes, has_landlock_scopes, is_mapped

from caged import CagedValidationError

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.says)
def test_behaviour_is_as_documented(anywhere: Served, shared_boxes: SharedBoxes, behaviour: Behaviour) -> None:
    root, landlock = os.geteuid() == 0, has_landlock_scopes()
    # An ordinary user's level `namespace` is in the column of root when the suite runs as that user.
    mapped = anywhere.level.startswith("namespace") and is_mapped(anywhere.client, shared_boxes.get(anywhere))
    conditions = {
        IF_MAPPED: mapped,
        IF_ROOT: root or mapped,
        IF_ROOT_WITH_LANDLOCK: root and landlock,
        IF_USER_WITHOUT_LANDLOCK: not root and not landlock,
    }
    expected = behaviour.expected(anywhere.level)
    if expected in conditions:
        expected = YES if conditions[expected] else NO
    assert try_behaviour(anywhere, shared_boxes, behaviour) == expected


def try_behaviour(served: Served, boxes: SharedBoxes, behaviour: Behaviour) -> str:
    other = boxes.get(served, env={"IS": "another"})
    served.client.files.write(other, "file", "of another sandbox")
    outside = served.home / "project"
    outside.mkdir(exist_ok=True)
    outside.chmod(0o777)
    places = {
        "home": served.home,
        "tmp": served.tmp,
        "other": served.sandbox_dir(other),
        "run_dir": served.run_dir,
        "outside": outside,
    }
    # Level `process` rewrites /tmp/... in a command to the sandbox's own, unless it contains a quote.
    words = {name: f"/''{str(path)[1:]}" for name, path in places.items()}
    command = behaviour.command.format(pid=served.process.pid, port=served.base_url.rpartition(":")[2], **words)
    try:
        box = boxes.get(served, **behaviour.create)
    except CagedValidationError:
        return NO
    return YES if served.client.sandboxes.exec(box, command).exit_code == 0 else NO


def test_readme_has_this_table() -> None:
    assert table() in README.read_text(encoding="utf-8"), "run scripts/isolation-table"
