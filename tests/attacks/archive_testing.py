"""Archives that no emulator would write: tar files from raw headers, and exports with a part replaced."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Callable, Optional, Union

Entry = Union[bytes, tuple[str, str], tuple[str, str, str]]


def header(name: bytes, kind: bytes = b"0", size: int = 0, target: bytes = b"", **fields: bytes) -> bytes:
    """One header block. `fields`: prefix, magic, mode, sized (the size field as raw bytes), checksum."""
    block = bytearray(512)
    block[0 : len(name[:100])] = name[:100]
    block[100:108] = fields.get("mode", b"0000644\0")
    block[108:124] = b"0000000\x000000000\0"
    block[124:136] = fields.get("sized", b"%011o\0" % size)
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[157 : 157 + len(target[:100])] = target[:100]
    block[257:265] = fields.get("magic", b"ustar\x0000")
    prefix = fields.get("prefix", b"")
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b" " * 8
    block[148:156] = fields.get("checksum", b"%06o\0 " % sum(block))
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 512)


def file(name: bytes, content: bytes = b"evil", **fields: bytes) -> bytes:
    return header(name, b"0", len(content), **fields) + padded(content)


def directory(name: bytes) -> bytes:
    return header(name, b"5")


def link(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", target=target)


def hard(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", target=target)


def records(**pairs: bytes) -> bytes:
    return b"".join(record(key.encode(), value) for key, value in pairs.items())


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def extended(content: bytes, kind: bytes = b"x") -> bytes:
    return header(b"pax", kind, len(content)) + padded(content)


END = bytes(1024)
TOP = directory(b"./")


def tree(*members: bytes) -> bytes:
    return TOP + b"".join(members) + END


def rewrite(source: Path, target: Path, change: Callable[[str, bytes], Optional[bytes]], *more: bytes) -> Path:
    """Copy the export `source`. `change` returns the new content of a member, or None to omit it. `more`: raw blocks
    to append."""
    plain = io.BytesIO()
    with tarfile.open(source) as old, tarfile.open(fileobj=plain, mode="w") as new:
        for member in old:
            found = old.extractfile(member)
            content = change(member.name, found.read() if found is not None else b"")
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
        end = new.offset
    import gzip

    target.write_bytes(gzip.compress(plain.getvalue()[:end] + b"".join(more) + END, 1))
    return target
