"""The files of `export` and `import_`: downloads to them and uploads of them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Callable, Optional, Union

from ..output_file import replacement
from .admin_client import AdminClient
from .transport import AdminRequestError

#: Time limit of an upload, and of each piece of a download, in seconds. Sandboxes may be large.
TRANSFER_SECONDS = 600.0


#: Is called with the number of bytes that were transferred so far.
OnProgress = Callable[[int], None]


def download(admin: AdminClient, target: Path, account: str, on_progress: Optional[OnProgress] = None) -> None:
    """Write an archive of an account to a file, which is complete or does not exist.

    Args:
        admin: The client of the emulator's admin API.
        target: The file to write.
        account: The account's id; `*` for all accounts.
        on_progress: Called with the bytes that were read so far, after each piece.

    Raises:
        ValueError: The archive cannot be made; the text says why.
        OSError: `target` cannot be written.
    """
    if not target.parent.is_dir():
        raise ValueError(f"{target.parent} is not a directory; create it first")
    if target.is_dir():
        raise ValueError(f"{target} is a directory; name a file, such as {target / 'state.tar.gz'}")
    try:
        with replacement(target, f"{secrets.token_hex(4)}.part") as beside:
            with open(beside, "xb", opener=_owner_only) as file:
                with admin.download("/export", account=account, timeout=TRANSFER_SECONDS) as pieces:
                    for piece in pieces:
                        file.write(piece)
                        if on_progress is not None:
                            on_progress(file.tell())
                file.flush()
                os.fsync(file.fileno())
    except AdminRequestError as error:
        if error.status != 404:
            raise
        raise ValueError(f"account {account} is unknown; nothing was exported") from None


def send(admin: AdminClient, source: Union[str, os.PathLike[str]], path: str) -> None:
    """Upload an archive file to a path below the admin prefix. Raises as `upload`."""
    if not os.path.exists(source):
        raise ValueError(f"{os.fspath(source)} does not exist; name a file that `export` has written")
    with open(source, "rb") as file:
        admin.upload(path, _pieces(file, None), account="*", timeout=TRANSFER_SECONDS)


def upload(admin: AdminClient, source: Union[str, os.PathLike[str]], on_progress: Optional[OnProgress] = None) -> None:
    """Add the accounts of an archive file to the emulator.

    Args:
        admin: The client of the emulator's admin API.
        source: The file to read.
        on_progress: Called with the bytes that were read so far, before each piece is sent.

    Raises:
        ValueError: The file does not exist, or cannot be imported; the text says why.
        OSError: The file cannot be read.
    """
    if not os.path.exists(source):
        raise ValueError(f"{os.fspath(source)} does not exist; name a file that `export` has written")
    with open(source, "rb") as file:
        content = _pieces(file, on_progress)
        try:
            admin.upload("/import", content, account="*", timeout=TRANSFER_SECONDS)
        except ValueError as error:
            raise ValueError(f"{os.fspath(source)}: {error}") from None


def _pieces(file: BinaryIO, on_progress: Optional[OnProgress]) -> Iterator[bytes]:
    count = 0
    while piece := file.read(1 << 20):
        count += len(piece)
        if on_progress is not None:
            on_progress(count)
        yield piece


def _owner_only(path: str, flags: int) -> int:
    """Open a file that only its owner may read, whatever the umask."""
    return os.open(path, flags, 0o600)
