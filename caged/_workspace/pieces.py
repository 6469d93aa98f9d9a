"""Bytes into a sandbox and out of it, in pieces; memory is bounded by a piece on both sides.

The API takes text and gives at most 1 MiB of a file, so bytes go as base64: in through `files.write`, out through the
output of commands.
"""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any, Callable, Optional, Union

from .._core import CallPlan, locally, perform
from .._errors import CagedError, CagedPathError
from .._resources.files import write
from .binding import Binding, decode_base64, new_name
from .path_scripts import number, removal, work_on
from .scratch import MAKE_SCRATCH, SCRATCH

Source = Union[bytes, IO[bytes], IO[str], Iterator[bytes]]

#: Bytes of a piece. The API takes requests of 10 MiB; larger pieces than this are hardly faster, and need more memory.
PIECE = 3 * 1024 * 1024


def put(binding: Binding, path: str, source: Source) -> CallPlan[int]:
    """Write a file of the SDK's own from its beginning. Returns its size in bytes."""
    yield from binding.execute("begin a file", f"{MAKE_SCRATCH}: >{shlex.quote(path)}")
    return (yield from append(binding, path, source, path))


def append(
    binding: Binding, path: str, source: Source, reported: str, progress: Optional[Callable[[int], object]] = None
) -> CallPlan[int]:
    """Append to a file of the sandbox, which exists. Returns the number of bytes.

    Args:
        path: Absolute.
        source: What to append: bytes, an open file, or pieces of at most `PIECE` bytes.
        reported: The path for errors.
        progress: Called after each piece with the number of bytes until then, and once where there is none.

    Raises:
        CagedPathError: The sandbox refuses it; its disk is full.
        CagedError: The source cannot be read.
    """
    sink = f">>{shlex.quote(path)}"
    reader: Iterator[bytes] = pieces(source) if isinstance(source, bytes) or hasattr(source, "read") else source
    size = 0
    yield from binding.execute("prepare", MAKE_SCRATCH)
    while True:
        piece = yield from locally(lambda: next(reader, b""))
        if not piece:
            if progress is not None and not size:
                progress(0)
            return size
        yield from send(binding, piece, f"base64 -d {sink}", reported)
        size += len(piece)
        if progress is not None:
            progress(size)


def send(binding: Binding, piece: bytes, script: str, reported: str) -> CallPlan[None]:
    """Send a piece, and run a script that reads it, in base64, on its standard input. The scratch directory exists.

    Raises:
        CagedPathError: The script failed.
    """
    name = new_name()
    encoded = f"{SCRATCH}/{name}.b"
    try:
        yield from binding.interruptible(_send(binding, piece, script, reported, encoded), f"rm -f {encoded}")
    except BaseException:
        # Where the request was interrupted, its file may come after it was removed.
        binding.finished.append(name)
        raise


def _send(binding: Binding, piece: bytes, script: str, reported: str, encoded: str) -> CallPlan[None]:
    text = yield from locally(lambda: base64.b64encode(piece).decode("ascii"))
    try:
        yield from perform(binding.settings, write(binding.sandbox_id, encoded, text))
        body = f'[ "$(wc -c <{encoded})" -eq {len(text)} ]||refuse "{encoded} was changed after it had been sent"\n'
        body += f"({script}) <{encoded};s=$?;rm -f {encoded};exit $s\n"
        yield from work_on(binding, "cannot write", reported, body)
    except Exception:
        yield from discard(binding, encoded)
        raise


def pieces(source: Any) -> Iterator[bytes]:
    """A source in pieces of at most `PIECE` bytes.

    Raises:
        CagedError: A file that cannot be read, or that gives neither text nor bytes.
    """
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    while True:
        try:
            data = file.read(PIECE)
        except (OSError, ValueError) as problem:
            raise CagedError(f"the file cannot be read: {problem}") from None
        if isinstance(data, str):
            try:
                data = data.encode()
            except UnicodeEncodeError as problem:
                raise CagedError(f"the file gives text that UTF-8 cannot encode: {problem}") from None
        elif not isinstance(data, (bytes, bytearray)):
            raise CagedError(f"the file gives {type(data).__name__}, not str or bytes")
        if not data:
            return
        # A text file counts characters, which may be 4 bytes each.
        for begin in range(0, len(data), PIECE):
            yield bytes(data[begin : begin + PIECE])


def discard(binding: Binding, *paths: str) -> CallPlan[None]:
    """Remove what a transfer that failed has left. Where that fails, too, the first error is the one to report."""
    try:
        yield from binding.execute("remove what is left", f"rm -rf -- {shlex.join(paths)}")
    except CagedError:
        pass


def make_place(binding: Binding, path: str, name: str, body: str) -> CallPlan[str]:
    """Make the place for what is to be written to `path`: a new file or directory of a temporary name. Returns it.

    Where the answer is lost, and with it the place, what was made is removed.

    Args:
        name: Part of the temporary name.
        body: Lines of shell that make the place and print it.
    """
    try:
        return (yield from work_on(binding, "cannot write", path, body))
    except CagedPathError:
        raise
    except CagedError:
        with suppress(CagedError):
            yield from binding.execute("remove what is left", f"{removal(path, name)};:")
        raise


def fetch(binding: Binding, path: str) -> CallPlan[bytes]:
    """Read a file of the sandbox, as long as it is when the reading begins."""
    size = number((yield from binding.execute(f"measure {path}", f"wc -c <{shlex.quote(path)}", repeatable=True)))
    content = bytearray()
    while len(content) < size:
        piece = yield from fetch_piece(binding, path, len(content) // PIECE)
        content += piece
        if len(piece) < PIECE and len(content) < size:
            raise CagedError(f"{path} became shorter while it was read: {len(content)} of {size} bytes")
    return bytes(content[:size])


def fetch_piece(binding: Binding, path: str, number: int) -> CallPlan[bytes]:
    """Read one piece of a file of the SDK's own, counted from 0; empty at the end of the file.

    `files.next_piece` is for a caller's path, whose errors are `CagedPathError`.
    """
    script = f"dd if={shlex.quote(path)} bs={PIECE} skip={number} count=1 2>/dev/null|base64"
    output = yield from binding.execute(f"read {path}", script, repeatable=True)
    return decode_base64(binding, output)
