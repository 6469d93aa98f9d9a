"""Compressing a tar file while it is sent."""

from __future__ import annotations

import gzip
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

from .tar_reader import CHUNK


class GzipStream:
    """A tar file compressed as `.tar.gz`, to iterate in pieces. The same file gives the same bytes.

    The caller closes it, also when it was not read to its end.

    Args:
        source: The tar file.

    Raises:
        FileNotFoundError: There is no such file.
    """

    def __init__(self, source: Path) -> None:
        self._archive = open(source, "rb")  # noqa: SIM115  until `close`
        self._pieces = _compressed(self._archive)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._pieces.close()
        self._archive.close()


def _compressed(archive: IO[bytes]) -> Generator[bytes, None, None]:
    out = _Buffer()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=1, mtime=0) as compressor:
        while True:
            chunk = archive.read(CHUNK)
            if not chunk:
                break
            compressor.write(chunk)
            yield from out.take()
    yield from out.take()


class _Buffer:
    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None: ...

    def take(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces
