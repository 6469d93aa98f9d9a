"""The archive as a file: a `.tar.gz` of records, sandboxes' files and snapshots. All functions block.

manifest.json                            format, version and content
state.db                                 the records, as in a state directory
sandboxes/<id>/<workspace|root|tmp>.tar  with paths and owners as they are inside the sandbox
sandboxes/<id>/system.tar                what was changed elsewhere in its file system (cage/archive_form.py)
snapshots/<id>.tar

An archive to import may come from anywhere, so anything but these members is rejected.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import tarfile
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Optional, cast

from ..cage import archive_form, disk, restore, tar_extractor
from ..cage.paths import Layout
from ..cage.tar_reader import ArchiveError, TarMember, TarReader, printable
from ..store import Store
from ..workers import StoppableFile
from .archive_database import MOST_RECORD_BYTES
from .database import NAME
from .field_validation import IDENTIFIER

FORMAT, VERSION = "caged-state", 1
MANIFEST = "manifest.json"
PLACES = ("workspace", "root", "tmp")
SYSTEM = "system"
#: Why a sandbox's other changes are left out, in its log.
WITHOUT_OVERLAYS = (
    "without overlays, an archive has only /workspace, /root and /tmp of a sandbox (see `caged-emulator doctor`)"
)
#: Of the unpacked content.
MOST_BYTES = 64 * 1024**3
_MOST_MANIFEST_BYTES = 16 << 20
_MEMBER = re.compile(
    rf"{re.escape(MANIFEST)}|{re.escape(NAME)}|sandboxes/{IDENTIFIER.pattern}/(?:{'|'.join((*PLACES, SYSTEM))})\.tar"
    rf"|snapshots/{IDENTIFIER.pattern}\.tar"
)


class TransferError(ValueError):
    """An export or an import is not possible; the text says why. Nothing has changed."""


@dataclass
class Contents:
    """The content of an archive.

    Attributes:
        accounts: Ids.
        sandboxes: Ids.
        snapshots: Ids.
        left_out: Sandboxes whose files could not be saved, with the reason.
    """

    accounts: list[str] = field(default_factory=list)
    sandboxes: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store) -> Contents:
        return cls(list(store.accounts), list(store.sandboxes), list(store.snapshots))


def write_manifest(work: Path, contents: Contents) -> None:
    """Write the manifest of an archive into the directory of its members."""
    manifest = {"format": FORMAT, "version": VERSION, **vars(contents)}
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def pack(work: Path, target: Path) -> None:
    """Write all files in a directory to a `.tar.gz`, the manifest first. It is on the disk when this returns."""
    with open(target, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:  # it contains API keys
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as packed:
            names = sorted(path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file())
            for name in sorted(names, key=lambda name: name != MANIFEST):
                member = packed.gettarinfo(work / name, name)
                member.uid = member.gid = 0
                member.uname = member.gname = "root"
                with open(work / name, "rb") as content:
                    packed.addfile(member, StoppableFile(content))
        file.flush()
        os.fsync(file.fileno())


def unpack(source: Path, work: Path) -> None:
    """Write the members of an archive into a directory, and check the tar files among them.

    Raises:
        TransferError: The file is not an export, is damaged, too large, or from a newer release.
    """
    try:
        with gzip.open(source, "rb") as packed:
            _unpack_members(TarReader(cast(IO[bytes], packed), tree=False), work)
    except FileNotFoundError:
        raise TransferError("there is no archive to import") from None
    except FileExistsError as error:
        name = Path(error.filename).relative_to(work)
        raise TransferError(f"the archive is damaged: it holds {str(name)!r} twice") from None
    except (ArchiveError, EOFError, OSError, zlib.error) as error:
        raise TransferError(f"the archive cannot be read as an export of an emulator: {error}") from error
    if not (work / NAME).is_file():
        raise TransferError("the archive is damaged: its records are missing")


def _unpack_members(packed: TarReader, work: Path) -> None:
    total = 0
    for number, member in enumerate(packed):
        name = member.parts[0].decode("ascii", "replace")
        if number == 0:
            _check_manifest(name, member, packed)
            continue
        if member.kind != "file" or name == MANIFEST or not _MEMBER.fullmatch(name):
            raise TransferError(f"the archive is not an export of an emulator: it holds {printable(member.parts[0])}")
        total += member.size
        _check_size(name, member.size, total, shutil.disk_usage(work).free)
        target = work / name
        target.parent.mkdir(exist_ok=True)
        with open(target, "xb") as file:
            for piece in packed.content():
                file.write(piece)
        if name.endswith(".tar"):
            try:
                tar_extractor.check(target, _form_of(name))
            except ArchiveError as error:
                raise TransferError(f"the archive is damaged: {name}: {error}") from error


def _form_of(name: str) -> Optional[bytes]:
    """Return the form that a tar file in the archive must have; None for any."""
    if name.startswith("snapshots/"):
        return None
    return archive_form.WHOLE if name.endswith(f"/{SYSTEM}.tar") else archive_form.ONE_DIRECTORY


def _check_size(name: str, size: int, total: int, free: int) -> None:
    if total > MOST_BYTES or size > free or (name == NAME and size > MOST_RECORD_BYTES):
        raise TransferError(
            f"the archive is too large: {name!r} has {size:,} bytes; {free:,} are free on the disk, and"
            f" {MOST_BYTES:,} in all, {MOST_RECORD_BYTES:,} of them for the records, are allowed"
        )


def _check_manifest(name: str, member: TarMember, packed: TarReader) -> None:
    manifest = None
    if name == MANIFEST and member.kind == "file" and member.size <= _MOST_MANIFEST_BYTES:
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


def warn_of_missing_sandboxes(path: Path) -> None:
    """Warn (UserWarning) of each sandbox that an archive does not contain, with the reason. Ignores other files."""
    try:
        with tarfile.open(path, "r:gz") as packed:
            first = packed.next()
            content = packed.extractfile(first) if first is not None and first.name == MANIFEST else None
            manifest = json.loads(content.read(_MOST_MANIFEST_BYTES)) if content is not None else {}
    except (OSError, ValueError, tarfile.TarError):
        return
    for identifier, why in manifest.get("left_out", {}).items():
        warnings.warn(f"sandbox {identifier} is not in {path}: {why}", UserWarning, stacklevel=3)


def extract_sandbox(layout: Layout, source: Path) -> list[str]:
    """Make the directory of a sandbox from its tar files in `source`.

    Returns:
        Names in the root, such as "etc", whose changes the sandbox cannot have, because its root has no overlays.
    """
    layout.make()
    for place, path in layout.roots().items():
        packed = source / f"{place}.tar"
        if packed.is_file():
            top = _extract(packed, Path(path), layout).top
            if layout.keeps_owners:
                os.chown(path, *top.owner)
            os.chmod(path, top.mode)
            os.utime(path, ns=top.times)
    packed = source / f"{SYSTEM}.tar"
    if not packed.is_file():
        return []
    if not layout.overlays:
        return _changed_names(packed)
    _extract_system(packed, layout)
    return []


def _changed_names(packed: Path) -> list[str]:
    """Return the names in the root with changes. Each archive has some directories, and /etc/hosts."""
    names = set()
    with open(packed, "rb") as file:
        for member in TarReader(file):
            top = member.parts[0] if member.parts else b""
            is_expected = len(member.parts) == 1 and top in archive_form.EXPECTED
            if top and not is_expected and member.parts != (b"etc", b"hosts"):
                names.add(os.fsdecode(top[len(archive_form.WHITEOUT) :] if archive_form.is_marked((top,)) else top))
    return sorted(names)


def _extract(packed: Path, target: Path, layout: Layout) -> tar_extractor.ExtractionResult:
    try:
        return tar_extractor.extract(packed, target, layout)
    except ArchiveError as error:
        raise TransferError(f"the archive is damaged: {layout.directory.name}, {packed.name}: {error}") from error


def _extract_system(packed: Path, layout: Layout) -> None:
    disk.remove(layout.system)
    layout.system.mkdir()
    tree = layout.system / "tree"
    tree.mkdir()
    extracted = _extract(packed, tree, layout)
    restore.stage_system(tree, layout.system, extracted)
    layout.make_system()  # what something is mounted on
    os.chmod(layout.top, extracted.top.mode)
    os.utime(layout.top, ns=extracted.top.times)
