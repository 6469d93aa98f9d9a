"""Removing what belongs to subordinate ids of the emulator's user, also after the emulator that made it has ended."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from .subordinate_ids import SubordinateIds, find
from .zygote import library_path, python_words

logger = logging.getLogger(__name__)

LIMIT = 600.0


def remove_as_root(path: str) -> bool:
    """Remove a tree as root of a user namespace with the users that a sandbox may have had. Blocks.

    Args:
        path: The tree.

    Returns:
        Whether it is gone. It is not where an ordinary user has no subordinate ids (any more).
    """
    if os.geteuid() == 0 or not sys.executable or sys.platform != "linux":
        return False
    ids = find()
    if not isinstance(ids, SubordinateIds):
        logger.warning("what other users own in %s cannot be removed: %s. %s", path, ids.reason, ids.fix)
        return False
    call = f"it.main([{os.path.abspath(path)!a}], {ids.as_json()!a})"
    words = python_words(sys.executable, str(Path(__file__).parent), "id_mapping", call)
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.defpath, **library_path()},
            timeout=LIMIT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("what other users own in %s cannot be removed: %s", path, error)
        return False
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip()[-300:]
        logger.warning("what other users own in %s cannot be removed: %s", path, reason)
    return not os.path.lexists(path)
