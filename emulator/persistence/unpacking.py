"""The archive as a file: into it, and out of it with everything that could lead elsewhere refused. All block."""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import tarfile
from pathlib import Path

from ..cage import archive
from ..cage.paths import Layout
from .database import NAME

FORMAT, VERSION = "caged-state", 1
MANIFEST = "manifest.json"
PLACES = ("workspace", "root", "tmp")
IDENTIFIER = re.compile(r"[a-z]{1,16}_[a-z0-9]{1,32}")
_MEMBER = re.compile(
    rf"{re.escape(MANIFEST)}|{re.escape(NAME)}|sandboxes/{IDENTIFIER.pattern}/(?:{'|'.join(PLACES)})\.tar"
    rf"|snapshots/{IDENTIFIER.pattern}\.tar"
)


class TransferError(ValueError):
    """An export or an import that cannot be; the text says why. Nothing has changed."""


def pack_up(work: Path, target: Path) -> None:
    """All that is in `work`, the manifest first, as `.tar.gz`. On the disk when this returns."""
    with open(target, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:  # it holds keys
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as packed:
            names = sorted(path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file())
            for name in sorted(names, key=lambda name: name != MANIFEST):
                member = packed.gettarinfo(work / name, name)
                member.uid = member.gid = 0
                member.uname = member.gname = "root"
                with open(work / name, "rb") as content:
                    packed.addfile(member, content)
        file.flush()
        os.fsync(file.fileno())


def unpack(source: Path, work: Path) -> None:
    """Puts the archive's files into `work`. TransferError for one that is none of ours, damaged, or newer."""
    try:
        with tarfile.open(source, "r:gz") as packed:
            _check_manifest(packed)
            for member in packed:
                if not member.isreg() or not _MEMBER.fullmatch(member.name):
                    raise TransferError(f"the archive is not an export of an emulator: it holds {member.name!r}")
                content = packed.extractfile(member)
                assert content is not None
                target = work / member.name
                target.parent.mkdir(exist_ok=True)
                with open(target, "xb") as file:
                    shutil.copyfileobj(content, file, archive.CHUNK)
    except FileNotFoundError:
        raise TransferError("there is no archive to import") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise TransferError(f"the archive cannot be read as an export of an emulator: {error}") from error
    if not (work / NAME).is_file():
        raise TransferError("the archive is damaged: its records are missing")


def _check_manifest(packed: tarfile.TarFile) -> None:
    first = packed.next()
    content = packed.extractfile(first) if first is not None and first.name == MANIFEST and first.isreg() else None
    try:
        manifest = json.loads(content.read(1 << 20)) if content is not None else None
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise TransferError("the archive is not an export of an emulator")
    if manifest.get("version") != VERSION:
        raise TransferError(
            f"the archive has version {manifest.get('version')!r}; this release reads {VERSION}. Use the release"
            " that wrote it"
        )


def furnish(layout: Layout, source: Path) -> None:
    """The directory of a sandbox with the places as they are packed in `source`."""
    layout.make()
    for place, path in layout.roots().items():
        packed = source / f"{place}.tar"
        if packed.is_file():
            _refuse_leading_out(packed)
            top = archive.extract(packed, Path(path), layout)
            os.chmod(path, top.mode & 0o7777)
            os.utime(path, ns=archive.times_of(top))


def _refuse_leading_out(packed: Path) -> None:
    """An archive may come from anywhere: no entry of it may be put outside, by its name or through a link."""
    links: set[str] = set()
    try:
        with tarfile.open(packed, "r:") as members:
            for member in members:
                parts = member.name.split("/")
                above = {posixpath.join(*parts[:depth]) for depth in range(1, len(parts))}
                if parts[0] != "." or ".." in parts or "" in parts or above & links or member.name in links:
                    raise TransferError(f"the archive is damaged: {member.name!r} leads out of its sandbox")
                if member.issym():
                    links.add(member.name)
                elif member.islnk():
                    target = member.linkname.split("/")
                    if target[0] != "." or ".." in target or member.linkname in links:
                        raise TransferError(f"the archive is damaged: {member.name!r} leads out of its sandbox")
    except tarfile.TarError as error:
        raise TransferError(f"the archive is damaged ({error})") from error
