"""A self-signed certificate for the server of fake repositories, made when it is first needed.

Git in a sandbox is configured not to check it: everything that git reaches there is this server. Python's `ssl` cannot
make one, and the emulator has no other dependency that could, so the few steps (a key on the curve P-256, one ECDSA
signature, DER) are here. The key exists only in the memory of one emulator.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import ssl
import tempfile
from typing import Optional

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_Point = Optional[tuple[int, int]]
_EC_KEY = bytes.fromhex("06072a8648ce3d0201")
_P256 = bytes.fromhex("06082a8648ce3d030107")
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_COMMON_NAME = bytes.fromhex("0603550403")
_NAME = "fake repositories of caged-emulator"


def server_context() -> ssl.SSLContext:
    """Make the TLS context of a server with a new certificate. Blocks for some milliseconds."""
    key, certificate = _make()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    # `ssl` loads keys from files only; this one is readable for its owner, and gone at once.
    handle, path = tempfile.mkstemp(prefix="caged-certificate-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_pem("PRIVATE KEY", key) + _pem("CERTIFICATE", certificate))
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
    return context


def _make() -> tuple[bytes, bytes]:
    """A private key (PKCS #8) and a certificate for it, in DER."""
    secret = secrets.randbelow(_N - 1) + 1
    x, y = _multiplied(secret)
    public = b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")
    algorithm = _tagged(0x30, _EC_KEY + _P256)
    inner = _integer(1) + _tagged(0x04, secret.to_bytes(32, "big"))
    key = _integer(0) + algorithm + _tagged(0x04, _tagged(0x30, inner))
    name = _tagged(0x30, _tagged(0x31, _tagged(0x30, _COMMON_NAME + _tagged(0x0C, _NAME.encode()))))
    valid = _tagged(0x30, _tagged(0x17, b"000101000000Z") + _tagged(0x17, b"491231235959Z"))
    body = _tagged(
        0x30,
        _tagged(0xA0, _integer(2))
        + _integer(secrets.randbits(120) + 1)
        + _ECDSA_SHA256
        + name
        + valid
        + name
        + _tagged(0x30, algorithm + _tagged(0x03, b"\0" + public)),
    )
    signature = _tagged(0x03, b"\0" + _signature(secret, body))
    return _tagged(0x30, key), _tagged(0x30, body + _ECDSA_SHA256 + signature)


def _signature(secret: int, message: bytes) -> bytes:
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    while True:
        nonce = secrets.randbelow(_N - 1) + 1
        r = _multiplied(nonce)[0] % _N
        s = pow(nonce, -1, _N) * (digest + r * secret) % _N
        if r and s:
            return _tagged(0x30, _integer(r) + _integer(s))


def _multiplied(factor: int) -> tuple[int, int]:
    """The base point times a factor from 1 to the order of the curve."""
    total: _Point = None
    power: _Point = _G
    while factor:
        if factor & 1:
            total = _added(total, power)
        power = _added(power, power)
        factor >>= 1
    assert total is not None
    return total


def _added(one: _Point, other: _Point) -> _Point:
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % _P == 0:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, _P) if one == other else (y2 - y1) * pow(x2 - x1, -1, _P)
    x = (slope * slope - x1 - x2) % _P
    return x, (slope * (x1 - x) - y1) % _P


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    count = (size.bit_length() + 7) // 8
    return bytes([tag, 128 + count]) + size.to_bytes(count, "big") + content


def _integer(number: int) -> bytes:
    return _tagged(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _pem(kind: str, content: bytes) -> bytes:
    text = base64.encodebytes(content).decode()
    return f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n".encode()
