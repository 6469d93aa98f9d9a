"""What pip and npm have downloaded, kept in the cache for the next installation by the emulator.

It comes from the emulator's own sandboxes only, and goes to them only, so that no sandbox of an account can put
something there. Nor can a package:

- What a run of pip has downloaded is kept only if pip has built nothing, since building runs code of the package.
  Before version 25.0, a wheel could replace modules that pip imports after the installation, so that nothing is kept
  of an earlier pip.
- An installation by npm runs code of packages in every case. What is kept is that of a run before it, without scripts
  and without git, in a sandbox of which nothing else is kept.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Optional

from ..cache.cache import MEBIBYTE, Cache
from ..cache.entries import Key, UsedEntry
from ..cage.paths import Layout
from ..cage.toolchains import Toolchain
from ..cage.tree_copy import copy_tree

#: Where the installers keep downloads, below the home.
PIP, NPM = ".cache/pip", ".npm/_cacache"
#: The command that downloads what `npm install` needs. A dependency in a git repository, whose scripts npm may run all
#: the same, makes it fail.
NPM_DOWNLOAD = "npm install -g --ignore-scripts --git=/bin/false --no-audit --no-fund --fetch-retries=0"
#: Downloads that are larger than this are not kept with new ones.
MOST_MB = 512
#: The first version of pip that imports all of its modules before it installs anything.
OLDEST_PIP = (25, 0)
#: What `pip --version` prints.
_VERSION = re.compile(rb"pip (\d+)\.(\d+)")
#: Lines of pip's output about running code of a package.
_BUILDING = re.compile(
    rb"Preparing metadata|Building wheel|Running setup\.py|build dependencies|editable", re.IGNORECASE
)


class PackageDownloads:
    """All functions block.

    Args:
        cache: Where they are kept.
        isolation: What tells layers of different kinds of isolation apart.
        place: `PIP` or `NPM`.
    """

    def __init__(self, cache: Cache, isolation: list[Any], place: str) -> None:
        self._cache = cache
        self._place = place
        name = {PIP: "pip", NPM: "npm"}[place]
        self._key = Key("downloads", name, {"isolation": isolation, name: OLDEST_PIP if place == PIP else NPM_DOWNLOAD})

    def find(self) -> Optional[UsedEntry]:
        """The downloads so far, as a layer that is in use until it is released. Raises OSError."""
        return self._cache.find(self._key)

    def keep(self, layout: Layout, output: bytes, found: Optional[UsedEntry]) -> None:
        """Keep what a run of an installer has downloaded.

        Args:
            layout: The directory of the sandbox in which it ran. It has ended.
            output: What it has printed.
            found: The downloads that it began with. They are released.

        Raises:
            OSError: The downloads cannot be copied.
        """
        source = layout.home / self._place
        try:
            if not _is_directory(source) or (self._place == PIP and _BUILDING.search(output)):
                return
            builder = self._cache.begin(self._key)
            if builder is None:
                return  # another emulator keeps its own
            try:
                target = builder.content / "root" / self._place
                target.mkdir(parents=True, mode=0o755)
                if found is not None and found.description.size < MOST_MB * MEBIBYTE:
                    copy_tree(str(found.content / "root" / self._place), str(target), is_lowest=True)
                copy_tree(str(source), str(target), is_lowest=True)
                if found is not None:
                    found.release()
                published = builder.publish({})
                if published is not None:
                    published.release()
            finally:
                builder.abandon()
        finally:
            if found is not None:
                found.release()


def reason_not_kept(version_output: bytes) -> Optional[str]:
    """Return why the downloads of a pip cannot be kept; None if they can be.

    Args:
        version_output: What its `--version` has printed.
    """
    version = _VERSION.match(version_output)
    if version is None:
        return "the version of pip is not known"
    if tuple(map(int, version.groups())) >= OLDEST_PIP:
        return None
    oldest = ".".join(map(str, OLDEST_PIP))
    return f"{version.group().decode()} is older than {oldest}, and would run code of a wheel that replaces its modules"


def reason_not_kept_of(chain: Toolchain) -> str:
    """Return why the downloads of the pip of a template cannot be kept; "" if they can be, and without pip."""
    return (reason_not_kept(f"pip {chain.pip}".encode()) or "") if chain.pip else ""


def _is_directory(path: Path) -> bool:
    """Whether a path below the home is a directory, with nothing but directories on the way."""
    return all(one.is_dir() and not one.is_symlink() for one in (path.parent, path))
