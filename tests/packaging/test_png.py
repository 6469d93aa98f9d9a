"""scripts/_png.py, which makes screenshots smaller."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "_png.py"


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("_png", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(rows: list[bytes], width: int, colour_type: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, len(rows), 8, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + _chunk(b"IEND", b"")
    )


def _parts(png: bytes) -> dict[bytes, bytes]:
    at, found = 8, {}
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found[png[at + 4 : at + 8]] = png[at + 8 : at + 8 + length]
        at += length + 12
    return found


def _colours(png: bytes, width: int) -> list[bytes]:
    parts = _parts(png)
    raw = zlib.decompress(parts[b"IDAT"])
    rows = [raw[start + 1 : start + 1 + width] for start in range(0, len(raw), width + 1)]
    return [parts[b"PLTE"][index * 3 : index * 3 + 3] for row in rows for index in row]


@pytest.mark.parametrize("step", [3, 4])
def test_a_picture_with_few_colours_keeps_them_whatever_its_filters(step: int) -> None:
    # Each row is (10, 20, 30) and (11, 22, 33), written with each filter of the format.
    first, second, alpha = bytes([10, 20, 30]), bytes([11, 22, 33]), b"\xff" * (step - 3)
    nothing, less = b"\0" * step, bytes([1, 2, 3]) + b"\0" * (step - 3)
    half = bytes([5, 10, 15]) + bytes([128] * (step - 3))
    average = bytes([1, 1, 2]) + b"\0" * (step - 3)
    rows = [
        b"\0" + first + alpha + second + alpha,
        b"\1" + first + alpha + less,
        b"\2" + nothing + nothing,
        b"\3" + half + average,
        b"\4" + nothing + nothing,
    ]
    made = _module().with_palette(_png(rows, 2, 2 if step == 3 else 6))
    assert _colours(made, 2) == [first, second] * 5


def test_colours_beyond_256_become_the_nearest() -> None:
    shades = [bytes([one, one, one]) for one in range(256)] * 2
    made = _module().with_palette(_png([b"\0" + b"".join([*shades, bytes([9, 9, 10])])], 513, 2))
    assert _colours(made, 513) == [*shades, bytes([9, 9, 9])]


def test_another_kind_of_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="colour type 0"):
        _module().with_palette(_png([b"\0\1"], 1, 0))
