"""The sandboxes of failed tests, kept so that they can be inspected (`--caged-keep-failed`)."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import _summary
from ._target import TARGET

if TYPE_CHECKING:
    from caged.emulator.control_client.base_emulator import AccountView

#: Archives that one run writes at most.
MOST = 20
_COUNT = pytest.StashKey[int]()
#: The archive in which each sandbox of a failed test is, by the sandbox's id.
KEPT = pytest.StashKey[dict[str, str]]()


def clear(config: pytest.Config) -> None:
    """Remove what earlier runs kept.

    Raises:
        pytest.UsageError: pytest has no cache directory.
    """
    if not hasattr(config, "cache"):
        raise pytest.UsageError(
            "--caged-keep-failed keeps sandboxes in pytest's cache directory; run without -p no:cacheprovider"
        )
    shutil.rmtree(_directory(config), ignore_errors=True)


def _directory(config: pytest.Config) -> Path:
    assert config.cache is not None
    return Path(config.cache.mkdir("caged")) / "kept"


def keep(item: pytest.Item, account: AccountView) -> None:
    """Write an archive of the account, and list at the end of the run how to open a shell in each of its sandboxes."""
    from caged.emulator import EmulatorError

    try:
        boxes = account.inventory.sandboxes()
        if not boxes or not _may_keep(item.config):
            return
        directory = _directory(item.config)
        directory.mkdir(mode=0o700, exist_ok=True)
        path = directory / f"{_file_name(item.nodeid)}.tar.gz"
        account.export(path)
    except (EmulatorError, OSError, ValueError) as error:
        _summary.add(item.config, _summary.KEPT, item.nodeid, [f"could not be kept: {error}"])
        return
    item.stash[KEPT] = {box.id: str(path) for box in boxes}
    commands = [f"caged-emulator shell {box.id} --from {shlex.quote(str(path))}" for box in boxes]
    _summary.add(item.config, _summary.KEPT, item.nodeid, commands)


def report(item: pytest.Item, sandboxes: Sequence[str]) -> None:
    """Report the sandboxes that a live run keeps: the end of the run says how to open and how to destroy them."""
    target = item.config.stash[TARGET]
    lines = [f"CAGED_BASE_URL={target.base_url} caged-emulator shell {id}" for id in sandboxes]
    lines.append(f"they cost money until: caged-emulator sweep --live --run {target.run} --destroy")
    _summary.add(item.config, _summary.KEPT, item.nodeid, lines)


def _may_keep(config: pytest.Config) -> bool:
    """Count one more archive; False when there are enough."""
    count = config.stash[_COUNT] = config.stash.get(_COUNT, 0) + 1
    if count == MOST + 1:
        _summary.add(config, _summary.KEPT, "more failed tests", [f"not kept: there are {MOST} already"])
    return count <= MOST


def _file_name(nodeid: str) -> str:
    """A file name for a test: the end of its id, so that the name of its function is always part of it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", nodeid).strip("-.")[-120:]
