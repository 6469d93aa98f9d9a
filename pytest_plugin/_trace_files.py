"""Where traces are written: names from node ids, and the files of the run before, which are removed.

The directory may be one of the user's, with files of theirs. So a marker in it lists the files that the plugin has
written, and only these are ever removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Optional

import pytest

from ._policy import POLICY

MARKER = ".caged-traces"
_FIRST_LINE = "# Written by the pytest plugin of caged, which removes these files when it runs again:\n"
#: The directory in pytest's cache directory.
CACHED = "caged-traces"
#: Characters of a name that a person reads.
NAME_CHARACTERS = 80
#: Names of one test: of its attempts, and of workers that all run it.
MOST_NAMES = 1000
_SUFFIXES = (".html", ".jsonl")


def file_name(nodeid: str, attempt: int = 1) -> str:
    """The name of a trace without its suffix: the end of the node id, made safe, and a hash of all of it.

    Args:
        attempt: 1, or more where a test was run again.
    """
    file, _colons, rest = nodeid.partition("::")
    readable = f"{Path(file).stem}-{rest}"
    readable = re.sub(r"[^A-Za-z0-9_.]+", "-", readable).strip("-.")[-NAME_CHARACTERS:].lstrip("-.")
    digest = hashlib.sha256(nodeid.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return "-".join(filter(None, (readable, digest, f"attempt{attempt}" if attempt > 1 else "")))


def directory(config: pytest.Config, create: bool = False) -> Optional[Path]:
    """The directory of the traces; None where there is none: pytest has no cache directory, and none was chosen."""
    chosen = config.stash[POLICY].trace_dir
    if chosen is not None:
        if create:
            chosen.mkdir(parents=True, exist_ok=True)
        return chosen
    cache = getattr(config, "cache", None)
    if cache is None:
        return None
    if create:
        return Path(cache.mkdir(CACHED))
    # Without `mkdir`, which would make the cache directory in every run of every suite.
    cached: Path = cache._cachedir / "d" / CACHED
    return cached


def remove_earlier(config: pytest.Config) -> None:
    """Remove the traces of earlier runs. What cannot be removed stays."""
    where = directory(config)
    if where is None:
        return
    try:
        lines = (where / MARKER).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return  # nothing was written there
    for name in lines:
        if name == os.path.basename(name) and name.endswith(_SUFFIXES) and not name.startswith((".", "#")):
            _remove_file(where / name)
    _remove_file(where / MARKER)


def reserve(config: pytest.Config, nodeid: str, attempt: int) -> Optional[Path]:
    """Make the file of a trace, so that its name is known before it is written.

    Returns:
        The path of its page; None where there is no directory for traces.

    Raises:
        OSError: It cannot be made.
    """
    where = directory(config, create=True)
    if where is None:
        return None
    name = file_name(nodeid, attempt)
    for number in range(1, MOST_NAMES):
        unique = name if number == 1 else f"{name}-{number}"
        page = where / f"{unique}.html"
        try:
            os.close(os.open(page, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        _add_to_marker(where, [page.name, f"{unique}.jsonl"])
        return page
    raise FileExistsError(f"{where} has {MOST_NAMES} traces of this test")


def _add_to_marker(where: Path, names: list[str]) -> None:
    """Add names to the marker, with one call, because several workers may do it at a time."""
    flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(where / MARKER, flags, 0o666)
    try:
        first = _FIRST_LINE if os.fstat(descriptor).st_size == 0 else ""
        os.write(descriptor, (first + "".join(f"{name}\n" for name in names)).encode())
    finally:
        os.close(descriptor)


def _remove_file(path: Path) -> None:
    """Remove a regular file; links and directories stay, which the plugin has not made."""
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            path.unlink()
    except OSError:
        pass
