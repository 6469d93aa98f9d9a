"""The emulator's own credentials (API keys, session tokens, tickets, the admin key) kept from servers in sandboxes.

A visitor may send one to a preview without meaning to: an HTTP client with default headers, a copied curl command, a
browser that sends the cookies of this host. Credentials of the application in the sandbox pass.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from ..platform.platform import Platform
from ..platform.tickets import PREFIX

_SEPARATORS = re.compile(rb"[\s,;=&?#\"'<>()]+")
#: The shapes of our own keys, whatever is around them. (Others can be any text: a test may choose its key.)
_KEY = re.compile(rb"caged_(?:sk|ses|wst|adm)_[A-Za-z0-9]+")
_WORD = re.compile(rb"[A-Za-z0-9_-]+")
#: How often a value may be percent-encoded.
_ENCODED = 3
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}={0,2}")


class Credentials:
    """Tells the emulator's credentials from other text."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def is_ours(self, token: bytes) -> bool:
        text = token.decode("latin-1")
        store = self._platform.store
        return (
            text in store.keys
            or text in store.logins
            or text.startswith(PREFIX)
            or secrets.compare_digest(token, self._platform.admin_key.encode())
        )

    def are_in(self, value: bytes) -> bool:
        """Whether a header's value, or part of a query, holds one: as it is, percent-encoded, or in base64 as Basic
        authentication and the WebSocket subprotocols of some clients have it."""
        return any(self.is_ours(token) for token in _tokens(value))

    def without(self, scope: Scope) -> Scope:
        """A copy of a request's scope whose headers, query and subprotocols hold none of them. A cookie or a parameter
        that is one goes alone, any other header as a whole."""
        headers = []
        for name, value in scope["headers"]:
            if name == b"cookie":
                value = b"; ".join(part for part in _parts(value, b";") if not self.are_in(part))
                if not value:
                    continue
            elif self.are_in(value) or self.are_in(name):
                continue
            headers.append((name, value))
        changed = {**scope, "headers": headers, "query_string": self._query(scope["query_string"])}
        if "subprotocols" in scope:
            # Older releases of uvicorn give all of them as one text.
            offered = [name.strip() for text in scope["subprotocols"] or () for name in text.split(",")]
            changed["subprotocols"] = [name for name in offered if not self.are_in(name.encode("latin-1", "replace"))]
        return changed

    def _query(self, query: bytes) -> bytes:
        if not self.are_in(query):
            return query
        return b"&".join(part for part in query.split(b"&") if not self.are_in(part))


def _parts(value: bytes, separator: bytes) -> Iterator[bytes]:
    return (part.strip() for part in value.split(separator))


def _tokens(value: bytes) -> Iterator[bytes]:
    forms = [value]
    while len(forms) <= _ENCODED and b"%" in forms[-1]:
        forms.append(unquote_to_bytes(forms[-1]))
    for written in dict.fromkeys(forms):
        yield from _split(written)
        for found in _BASE64.findall(written):
            try:
                decoded = base64.b64decode(found + b"=" * (-len(found) % 4), altchars=b"-_" if b"_" in found else None)
            except (binascii.Error, ValueError):
                continue
            yield from _split(decoded)


def _split(text: bytes) -> Iterator[bytes]:
    yield text.strip()
    yield from _KEY.findall(text)
    yield from _WORD.findall(text)
    for mark in (b" ", b"="):  # a key may hold what separates others
        yield text.partition(mark)[2].strip()
    for token in _SEPARATORS.split(text):
        yield token
        if b":" in token:
            yield from token.split(b":")
