"""Makes PNG files of screenshots smaller, by a palette of 256 colours."""

import struct
import zlib
from collections import Counter

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Colours of the palette.
_COLOURS = 256


def with_palette(png: bytes) -> bytes:
    """The picture with at most 256 colours: the most frequent ones; each other one becomes the nearest of them.

    Args:
        png: A PNG of 8 bits per channel, RGB or RGBA (which is taken as opaque), not interlaced.
    """
    width, height, pixels = _read(png)
    counts = Counter(pixels)
    palette = [colour for colour, _ in counts.most_common(_COLOURS)]
    indexes = {colour: index for index, colour in enumerate(palette)}
    for colour in counts:
        if colour not in indexes:
            indexes[colour] = min(range(len(palette)), key=lambda one: _distance(palette[one], colour))
    data = bytes(indexes[colour] for colour in pixels)
    rows = b"".join(b"\0" + data[start : start + width] for start in range(0, width * height, width))
    return (
        _SIGNATURE
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + _chunk(b"PLTE", b"".join(palette))
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _read(png: bytes) -> "tuple[int, int, list[bytes]]":
    """Width, height, and the three bytes of each pixel."""
    at, packed, header = len(_SIGNATURE), b"", b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        header = data if kind == b"IHDR" else header
        packed += data if kind == b"IDAT" else b""
        at += length + 12
    width, height, depth, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if depth != 8 or colour_type not in (2, 6) or interlaced:
        raise ValueError(f"not a PNG of 8 bits RGB or RGBA: depth {depth}, colour type {colour_type}")
    step = 3 if colour_type == 2 else 4
    raw, stride = zlib.decompress(packed), width * step
    above, pixels = bytearray(stride), []
    for start in range(0, len(raw), stride + 1):
        row = bytearray(raw[start + 1 : start + 1 + stride])
        _unfilter(raw[start], row, above, step)
        pixels += [bytes(row[x : x + 3]) for x in range(0, stride, step)]
        above = row
    return width, height, pixels


def _unfilter(kind: int, row: bytearray, above: bytearray, step: int) -> None:
    """Undo the filter of a row, in place (PNG specification, section 9)."""
    for x in range(len(row)) if kind else ():
        left = row[x - step] if x >= step else 0
        up = above[x]
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        else:
            corner = above[x - step] if x >= step else 0
            guess = _paeth(left, up, corner)
        row[x] = (row[x] + guess) & 255


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda one: abs(estimate - one))
