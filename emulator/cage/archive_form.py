"""The form of a tar file that holds what a sandbox has changed anywhere in its file system (docs/snapshots.md).

Paths are those of the sandbox: `./workspace/…`, `./root/…`, `./tmp/…`, `./etc/…`, `./app/…`. Below the directories
that a sandbox shares with its host (LAYERED), the archive has only what was changed. There an empty file `.wh.NAME`
says that NAME was deleted, and an empty file `.wh..wh..opq` that the directory has nothing but what the archive has in
it, as in OCI's image format. The first member has one of two comments; an archive without it is of one directory.
"""

from __future__ import annotations

from . import host_view
from .paths import WRITABLE

#: The comment of the first member of an archive of the whole file system, and of one that has only /workspace, /root
#: and /tmp, because the sandbox's root has no overlays.
WHOLE, WRITABLE_ONLY = b"caged: file system", b"caged: workspace, root, tmp"
#: What `TarReader.form` has for any other archive.
ONE_DIRECTORY = b""
#: The beginning of the name of a deleted entry's mark, and the name of the mark of a directory that hides all below.
WHITEOUT, OPAQUE = b".wh.", b".wh..wh..opq"
#: Top-level directories that are the sandbox's own alone.
OWN = frozenset(name.encode() for name in WRITABLE)
#: Top-level directories of which the archive has only changes.
LAYERED = frozenset(name.encode() for name in (*host_view.PROGRAM_DIRECTORIES, *host_view.FILTERED_DIRECTORIES))
#: Of these, those that no host has as a link to another directory.
_NEVER_LINKS = frozenset(name.encode() for name in (*host_view.FILTERED_DIRECTORIES, "usr")) | OWN
#: Top-level entries that every sandbox has, so that their absence is a change, too.
EXPECTED = LAYERED | frozenset(name.encode() for name in host_view.EMPTY_DIRECTORIES)
#: Directories that are never part of a sandbox's files.
_NEVER = frozenset({(b"dev",), (b"proc",), (b"run",), (b"sys",), (b"opt", b"caged"), (b"opt", WHITEOUT + b"caged")})


def describe(form: bytes) -> str:
    """Return what an archive of this form holds, for messages."""
    return {WHOLE: "a whole file system", WRITABLE_ONLY: "/workspace, /root and /tmp"}.get(form, "one directory")


def refusal(parts: tuple[bytes, ...], kind: str, size: int, form: bytes) -> str:
    """Return why an archive of this form must not have a member; "" when it may.

    Args:
        parts: The member's path.
        kind: Its kind, as in `TarMember`.
        size: Bytes of its content.
        form: WHOLE or WRITABLE_ONLY.
    """
    top = parts[0]
    if parts[:1] in _NEVER or parts[:2] in _NEVER:
        return "is not part of a sandbox's files"
    if form == WRITABLE_ONLY and top not in OWN:
        return "is in an archive of /workspace, /root and /tmp alone"
    if len(parts) == 1 and kind != "directory":
        if top in _NEVER_LINKS:
            return "must be a directory"
        if top.startswith(WHITEOUT):
            deleted = top[len(WHITEOUT) :]
            return _whiteout_refusal(top, kind, size) or (
                "" if deleted in EXPECTED else "marks a deletion of what sandboxes do not have"
            )
        return ""
    if top not in LAYERED:
        return ""
    if parts[1:] == (OPAQUE,):
        return "marks a directory in which something is mounted"
    if any(part.startswith(WHITEOUT) for part in parts[:-1]):
        return "is below a mark of a deletion"
    return _whiteout_refusal(parts[-1], kind, size) if parts[-1].startswith(WHITEOUT) else ""


def _whiteout_refusal(name: bytes, kind: str, size: int) -> str:
    if kind != "file" or size:
        return "has the name of a deletion's mark, and is not an empty file"
    deleted = name[len(WHITEOUT) :]
    if name != OPAQUE and (deleted in (b"", b".", b"..") or deleted.startswith(WHITEOUT)):
        return "marks no name that a file can have"
    return ""


def is_marked(parts: tuple[bytes, ...]) -> bool:
    """Whether a member marks a deletion, or an opaque directory."""
    return parts[-1].startswith(WHITEOUT) and (parts[0] in LAYERED or len(parts) == 1)
