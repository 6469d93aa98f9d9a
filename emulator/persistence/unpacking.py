"""The archive as a file: into it, and out of it with everything that could lead elsewhere refused. All block."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import tarfile
import warnings
import zlib
from pathlib import Path
from typing import IO, cast

from ..cage import tar_extractor
from ..cage.paths import Layout
from ..cage.tar_reader import ArchiveError, TarMember, TarReader, shown
from ..workers import Stoppable
from .database import NAME
from .foreign import MOST_RECORD_BYTES

FORMAT, VERSION = "caged-state", 1
MANIFEST = "manifest.json"
PLACES = ("workspace", "root", "tmp")
#: Of all that an archive holds, unpacked.
MOST_BYTES = 64 * 1024**3
_MOST_MANIFEST = 16 << 20
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
                    packed.addfile(member, Stoppable(content))
        file.flush()
        os.fsync(file.fileno())


def unpack(source: Path, work: Path) -> None:
    """Put the archive's files into `work`, the trees in them tested. TransferError for one that is not an export,
    damaged, or newer."""
    try:
        with gzip.open(source, "rb") as packed:
            _unpack(TarReader(cast(IO[bytes], packed), tree=False), work)
    except FileNotFoundError:
        raise TransferError("there is no archive to import") from None
    except FileExistsError as error:
        name = Path(error.filename).relative_to(work)
        raise TransferError(f"the archive is damaged: it holds {str(name)!r} twice") from None
    except (ArchiveError, EOFError, OSError, zlib.error) as error:
        raise TransferError(f"the archive cannot be read as an export of an emulator: {error}") from error
    if not (work / NAME).is_file():
        raise TransferError("the archive is damaged: its records are missing")


def _unpack(packed: TarReader, work: Path) -> None:
    total = 0
    for number, member in enumerate(packed):
        name = member.parts[0].decode("ascii", "replace")
        if number == 0:
            _check_manifest(name, member, packed)
            continue
        if member.kind != "file" or name == MANIFEST or not _MEMBER.fullmatch(name):
            raise TransferError(f"the archive is not an export of an emulator: it holds {shown(member.parts[0])}")
        total += member.size
        free = shutil.disk_usage(work).free
        if total > MOST_BYTES or member.size > free or (name == NAME and member.size > MOST_RECORD_BYTES):
            raise TransferError(
                f"the archive is too large: {name!r} has {member.size:,} bytes; {free:,} are free on the disk, and"
                f" {MOST_BYTES:,} in all, {MOST_RECORD_BYTES:,} of them for the records, are allowed"
            )
        target = work / name
        target.parent.mkdir(exist_ok=True)
        with open(target, "xb") as file:
            for piece in packed.content():
                file.write(piece)
        if name.endswith(".tar"):
            try:
                tar_extractor.check(target)
            except ArchiveError as error:
                raise TransferError(f"the archive is damaged: {name}: {error}") from error


def warn_of_left_out(path: Path) -> None:
    """Warn (UserWarning) of each sandbox that an export could not hold, with the reason. Harmless for other files."""
    try:
        with tarfile.open(path, "r:gz") as packed:
            first = packed.next()
            content = packed.extractfile(first) if first is not None and first.name == MANIFEST else None
            manifest = json.loads(content.read(_MOST_MANIFEST)) if content is not None else {}
    except (OSError, ValueError, tarfile.TarError):
        return
    for identifier, why in manifest.get("left_out", {}).items():
        warnings.warn(f"sandbox {identifier} is not in {path}: {why}", UserWarning, stacklevel=3)


def _check_manifest(name: str, member: TarMember, packed: TarReader) -> None:
    manifest = None
    if name == MANIFEST and member.kind == "file" and member.size <= _MOST_MANIFEST:
        try:
            manifest = json.loads(b"".join(packed.content()))
        except (ValueError, RecursionError):
            pass
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise TransferError("the archive is not an export of an emulator")
    if manifest.get("version") != VERSION:
        raise TransferError(
            f"the archive has version {repr(manifest.get('version'))[:40]}; this release reads {VERSION}. Use the"
            " release that wrote it"
        )


def furnish(layout: Layout, source: Path) -> None:
    """The directory of a sandbox with the places as they are packed in `source`."""
    layout.make()
    for place, path in layout.roots().items():
        packed = source / f"{place}.tar"
        if packed.is_file():
            try:
                top = tar_extractor.extract(packed, Path(path), layout)
            except ArchiveError as error:
                raise TransferError(f"the archive is damaged: {layout.directory.name}, {place}.tar: {error}") from error
            os.chmod(path, top.mode)
            os.utime(path, ns=top.times)
