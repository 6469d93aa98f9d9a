"""Remove the emulator's own credentials (API keys, session tokens, tickets, the admin key, sessions of the inspector)
from previews' requests.

A visitor may send one by accident: an HTTP client with default headers, a copied curl command, a browser that sends the
cookies of this host. Credentials of the application in the sandbox are passed on.
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
#: The form of the emulator's own keys, within any text. A key that the user has chosen may have any other form.
_KEY = re.compile(rb"caged_(?:sk|ses|wst|adm)_[A-Za-z0-9]+")
_WORD = re.compile(rb"[A-Za-z0-9_-]+")
#: How many times a value may be percent-encoded.
_MOST_ENCODINGS = 3
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}={0,2}")


class CredentialFilter:
    """Finds the emulator's credentials in requests, and removes them."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def is_credential(self, token: bytes) -> bool:
        """Whether a text is one of the emulator's credentials."""
        text = token.decode("latin-1")
        store = self._platform.store
        return (
            text in store.keys
            or text in store.logins
            or text.startswith(PREFIX)
            or self._platform.inspector_logins.is_session(text)
            or secrets.compare_digest(token, self._platform.admin_key.encode())
        )

    def is_in(self, value: bytes) -> bool:
        """Whether a header's value, or part of a query, contains a credential: in plain text, percent-encoded, or in
        base64 as in Basic authentication and in the WebSocket subprotocols of some clients."""
        return any(self.is_credential(token) for token in _tokens(value))

    def filter(self, scope: Scope) -> Scope:
        """A copy of a request's scope without credentials in headers, query and subprotocols.

        Of cookies and of the query, only the part with the credential is removed; any other header as a whole.
        """
        headers = []
        for name, value in scope["headers"]:
            if name == b"cookie":
                value = b"; ".join(part for part in _parts(value, b";") if not self.is_in(part))
                if not value:
                    continue
            elif self.is_in(value) or self.is_in(name):
                continue
            headers.append((name, value))
        changed = {**scope, "headers": headers, "query_string": self._query(scope["query_string"])}
        if "subprotocols" in scope:
            # Older releases of uvicorn have all names in one text.
            offered = [name.strip() for text in scope["subprotocols"] or () for name in text.split(",")]
            changed["subprotocols"] = [name for name in offered if not self.is_in(name.encode("latin-1", "replace"))]
        return changed

    def _query(self, query: bytes) -> bytes:
        if not self.is_in(query):
            return query
        return b"&".join(part for part in query.split(b"&") if not self.is_in(part))


def _parts(value: bytes, separator: bytes) -> Iterator[bytes]:
    return (part.strip() for part in value.split(separator))


def _tokens(value: bytes) -> Iterator[bytes]:
    forms = [value]
    while len(forms) <= _MOST_ENCODINGS and b"%" in forms[-1]:
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
