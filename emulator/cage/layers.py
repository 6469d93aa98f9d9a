"""Layers: what a sandbox has changed in its file system, kept for others, which see it and cannot change it.

A layer is a directory of the shape of a sandbox's own:

    root, workspace, tmp   its /root, /workspace and /tmp
    changed/NAME           what was changed below /NAME: the upper layer of an overlay
    top                    new entries of the root itself, and what was done to those that every sandbox has there

Parts in which nothing was changed are missing. Where sandboxes have a root of their own, a layer is mounted below what
the sandbox changes itself; elsewhere, and where a sandbox has to outlive the layer, it is copied into the sandbox's
directory. /workspace and /tmp are always copied, because what reads them reads them on the host's disk.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from . import copies, disk, host_view, overlay_marks
from .paths import MOUNT_POINTS, Layout
from .tree_copy import copy_tree

#: The parts that are never mounted.
_COPIED = ("workspace", "tmp")
#: A path that can stand in the options of a mount, where `:` and `,` separate.
_MOUNTABLE = re.compile(r"[^:,\\]+\Z")


def freeze(
    layout: Layout,
    layer: Path,
    parts: Collection[str],
    has_system: bool,
    leave_out: Collection[str] = (),
    has_hosts: bool = False,
) -> None:
    """Make a layer of what a sandbox has changed. No process may run in it any more. Blocks.

    Args:
        layout: The sandbox's directory.
        layer: The empty directory of the layer.
        parts: Of `root`, `workspace` and `tmp`, those that belong to it.
        has_system: Whether what was changed elsewhere belongs to it, too.
        leave_out: Paths below /root that do not, such as `.cache`.
        has_hosts: Whether /etc/hosts does; see `hosts_files`.

    Raises:
        OSError: Something cannot be read, or there is no space.
    """
    for name in parts:
        _copy(layout.roots()[name], str(layer / name), leave_out if name == "root" else ())
    if not has_system:
        return
    (layer / "changed").mkdir(mode=0o755)
    for name in host_view.overlaid_directories():
        target = layer / "changed" / name
        own = [file for file in host_view.OWN_FILES.get(name, ()) if not (has_hosts and file == "hosts")]
        _copy(str(layout.changed / name), str(target), own)
        _remove_if_empty(target)
    _remove_if_empty(layer / "changed")
    elsewhere = (*MOUNT_POINTS, *host_view.overlaid_directories(), *host_view.links())
    unchanged = [name for name in host_view.EMPTY_DIRECTORIES if _is_as_made(layout, name)]
    _copy(str(layout.top), str(layer / "top"), (*elsewhere, *unchanged))
    for name in host_view.EMPTY_DIRECTORIES:
        if not os.path.lexists(layout.top / name) and _topmost(layout.layers, name) is None:
            overlay_marks.make_whiteout(str(layer / "top" / name))
    _remove_if_empty(layer / "top")


def _is_as_made(layout: Layout, name: str) -> bool:
    """Whether a directory that every sandbox has in its root is as it is in a new sandbox, over no layer's."""
    path = layout.top / name
    if not os.path.lexists(path) or _topmost(layout.layers, name) is not None:
        return False
    status, of_root = path.lstat(), layout.top.stat()
    is_new = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o755 and not os.listdir(path)
    return is_new and (status.st_uid, status.st_gid) == (of_root.st_uid, of_root.st_gid)


def _topmost(layers: Sequence[Path], name: str) -> Optional[Path]:
    """What layers, topmost first, have in place of a directory that every sandbox has in its root, if anything."""
    return next((layer / "top" / name for layer in layers if os.path.lexists(layer / "top" / name)), None)


def uncover(layers: Sequence[Path], layout: Layout) -> None:
    """Remove the empty directories of a new sandbox's root in whose place the mounted layers have something else.

    Args:
        layers: Directories of layers, topmost first.
        layout: The sandbox's directory. Nothing has run in it.
    """
    for name in host_view.EMPTY_DIRECTORIES:
        if _topmost(layers, name) is not None:
            (layout.top / name).rmdir()


def _copy(source: str, target: str, leave_out: Collection[str] = (), is_lowest: bool = False) -> None:
    copy_tree(source, target, leave_out, is_lowest, keep_pipes=True)


def _remove_if_empty(directory: Path) -> None:
    if directory.is_dir() and not os.listdir(directory):
        directory.rmdir()


def hosts_files(layers: Sequence[Path]) -> list[Path]:
    """Return where layers may have an /etc/hosts, topmost first. A sandbox gets a copy with its own name."""
    return [layer / "changed" / "etc" / "hosts" for layer in layers]


def require_present(layers: Sequence[Path]) -> None:
    """Check that layers exist. Their parts may be missing, and so are not looked for without this check.

    Raises:
        OSError: One does not.
    """
    for layer in layers:
        if not layer.is_dir():
            raise FileNotFoundError(
                errno.ENOENT,
                "the layer of the sandbox's packages or preparation was removed; create a new sandbox",
                str(layer),
            )


def are_mountable(layers: Sequence[Path]) -> bool:
    """Whether the paths of the layers can stand in the options of a mount."""
    return all(_MOUNTABLE.match(str(layer)) for layer in layers)


def mounted_parts(layers: Sequence[Path]) -> dict[str, list[str]]:
    """Return the lower directories of each overlay, topmost first: by `root`, `top`, or the name of a top-level
    directory.

    Args:
        layers: Directories of layers, topmost first.

    Raises:
        OSError: A layer is missing.
    """
    require_present(layers)
    found: dict[str, list[str]] = {}
    for layer in layers:
        parts = {"root": layer / "root", "top": layer / "top"}
        parts.update((name, layer / "changed" / name) for name in host_view.overlaid_directories())
        for name, directory in parts.items():
            if directory.is_dir():
                found.setdefault(name, []).append(str(directory))
    return found


def copy_into(layers: Sequence[Path], layout: Layout, everything: bool) -> None:
    """Copy layers into the directory of a sandbox that is not started yet. Blocks.

    Args:
        layers: Directories of layers, topmost first.
        layout: The sandbox's directory.
        everything: Whether to copy also what can be mounted.

    Raises:
        OSError: A layer is missing, or there is no space.
    """
    require_present(layers)
    for layer in reversed(layers):
        for name in ("root", *_COPIED) if everything else _COPIED:
            if (layer / name).is_dir():
                _copy(str(layer / name), layout.roots()[name], is_lowest=True)
        if not everything or not layout.own_root:
            continue
        for name in host_view.overlaid_directories():
            if (layer / "changed" / name).is_dir():
                if copies.are_made(layout):  # the layer has complete ones, too
                    disk.remove(layout.changed / name)
                own = host_view.OWN_FILES.get(name, ())
                _copy(str(layer / "changed" / name), str(layout.changed / name), own)
        if (layer / "top").is_dir():
            _copy(str(layer / "top"), str(layout.top), is_lowest=True)


@contextmanager
def flattened(layout: Layout, names: Collection[str]) -> Iterator[Layout]:
    """Yield a sandbox's paths, among them directories that hold what the sandbox sees of its layers, too. Blocks.

    Args:
        layout: The sandbox's directory.
        names: The directories that are wanted: of `root`, `workspace`, `tmp` and `system`.

    Raises:
        OSError: A directory cannot be read, or there is no space for a copy.
    """
    copied = [name for name in ("root", "system") if name in names] if layout.layers else []
    if not copied:
        yield layout
        return
    place = Path(tempfile.mkdtemp(prefix="merged-", dir=layout.directory))
    try:
        for name in copied:
            (place / name).mkdir()
            if name == "root":
                _merge(layout, Path("root"), Path(layout.roots()["root"]), place / name, is_lowest=True)
        if "system" in copied:
            _merge(layout, Path("top"), layout.top, place / "system" / "top", is_lowest=True)
            (place / "system" / "changed").mkdir()
            for name in host_view.overlaid_directories():
                own, merged = layout.changed / name, place / "system" / "changed" / name
                _merge(layout, Path("changed", name), own, merged, is_lowest=False)
        yield layout.with_places(**{name: place / name for name in copied})
    finally:
        disk.remove(place)


def _merge(layout: Layout, part: Path, own: Path, target: Path, is_lowest: bool) -> None:
    require_present(layout.layers)
    below = [layer / part for layer in reversed(layout.layers) if (layer / part).is_dir()]
    for source in (*below, own):
        _copy(str(source), str(target), is_lowest=is_lowest)


def require_replaceable(layout: Layout) -> None:
    """Check that the files of a sandbox can be replaced while it runs. The root itself cannot be mounted again.

    Raises:
        OSError: A layer has entries of the root.
    """
    if any((layer / "top").is_dir() for layer in layout.layers):
        raise OSError(
            errno.EBUSY,
            "it was created from a prepared sandbox that has new, changed or deleted top-level directories, which"
            " cannot be replaced while it runs; restore into another sandbox",
        )
