"""Credentials in requests and answers, which the journal redacts wherever they stand."""

from __future__ import annotations

import re
from typing import TypeVar

Text = TypeVar("Text", str, bytes)

#: No credential of the platform is longer.
LONGEST_CREDENTIAL = 4096
_FIELDS = (
    b"password",
    b"token",
    b"access_token",
    b"repo_token",
    b"device_code",
    b"ticket",
    b"slack_webhook_url",
    b"discord_webhook_url",
)
#: The group of each expression is kept. One that begins with a text is searched for several times as fast as several
#: in one.
_FIELD = re.compile(rb'("(?:' + b"|".join(_FIELDS) + rb')"\s*:\s*")[^"\\]*(?:\\.[^"\\]*)*', re.S)
#: JSON in JSON, or in a shell's word: each quote has backslashes before it. A value ends at a quote with as many as the
#: one before it; one of the value itself has more.
_ESCAPED_FIELD = re.compile(rb'\\{1,7}"(?:' + b"|".join(_FIELDS) + rb')\\{1,7}"\s*:\s*(\\{1,7})"')
_ESCAPED_QUOTE = re.compile(rb'(?<!\\)(\\*)"')
_PAGE = re.compile(rb"(/billing/(?:checkout|portal)/)[A-Za-z0-9_-]+")
_KEY = re.compile(rb"(caged_(?:sk|ses|wst|adm)_)[A-Za-z0-9._-]+")
_SIGNATURE = re.compile(rb"(signature=)[A-Za-z0-9]+")
#: Slower than the others. Where the name of a signature is the end of a key, what comes first decides.
_PAGE_KEY_OR_SIGNATURE = re.compile(b"|".join((_PAGE.pattern, _KEY.pattern, _SIGNATURE.pattern)))
#: Also Proxy-Authorization, as a header, in JSON and in a program's source.
_BASIC = re.compile(
    rb"((?:uthorization|UTHORIZATION)[\\\"'\s:,=]{1,40}(?:[Bb]asic|BASIC)[\\\s]{1,9})(?:[A-Za-z0-9+=_-]|\\?/)+"
)
#: Each match contains one of these, which are found in a fraction of the time. The name of each field has one.
_FIELD_HINTS = (b"password", b"token", b"device_code", b"ticket", b"_webhook_url")
_OTHER_HINTS = (b"/billing/", b"caged_", b"signature=", b"uthorization", b"UTHORIZATION")
_TEXT_FIELD_HINTS = tuple(hint.decode() for hint in _FIELD_HINTS)
_TEXT_OTHER_HINTS = tuple(hint.decode() for hint in _OTHER_HINTS)
#: What a URL has in front of its host. Up to the last "@", because a password may contain one that is not escaped.
_USER_INFO = re.compile(rb"://([^\s/?#\"'\\<>`]+)@")


def redact_credentials(text: Text) -> Text:
    """Replace passwords, API keys, tickets, tokens of sessions and devices, webhooks, and signatures, passwords and
    tokens in URLs by ***, and what headers of basic authentication hold."""
    if isinstance(text, str):
        if not (("://" in text and "@" in text) or _has_hint(text)):
            return text
        return redact_credentials(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    if b"://" in text and b"@" in text:
        text = _USER_INFO.sub(_redact_user_info, text)
    if b"uthorization" in text or b"UTHORIZATION" in text:
        text = _BASIC.sub(_redact_rest, text)
    if b'"' in text:
        for hint in _FIELD_HINTS:
            if hint in text:
                text = _FIELD.sub(_redact_rest, text)
                if b'\\"' in text:
                    text = _redact_escaped_fields(text)
                break
    page, key, signature = b"/billing/" in text, b"caged_" in text, b"signature=" in text
    if signature and (page or key):
        return _PAGE_KEY_OR_SIGNATURE.sub(_redact_rest, text)
    if page:
        text = _PAGE.sub(_redact_rest, text)
    if key:
        text = _KEY.sub(_redact_rest, text)
    if signature:
        text = _SIGNATURE.sub(_redact_rest, text)
    return text


def _has_hint(text: str) -> bool:
    for hint in _TEXT_OTHER_HINTS:  # any() with a generator takes three times as long
        if hint in text:
            return True
    if '"' in text:
        for hint in _TEXT_FIELD_HINTS:
            if hint in text:
                return True
    return False


def _redact_escaped_fields(text: bytes) -> bytes:
    pieces, done = [], 0
    for field in _ESCAPED_FIELD.finditer(text):
        if field.start() < done:
            continue  # in the value of another
        quotes = _ESCAPED_QUOTE.finditer(text, field.end())
        end = next((quote.start() for quote in quotes if quote[1] == field[1]), len(text))
        pieces += [text[done : field.end()], b"***"]
        done = end
    return b"".join((*pieces, text[done:]))


def _redact_rest(found: re.Match[bytes]) -> bytes:
    return found[found.lastindex or 0] + b"***"


def _redact_user_info(found: re.Match[bytes]) -> bytes:
    """Of https and http, all of it: the user may be the token. Of others, such as ssh, only the password."""
    scheme = found.string[max(0, found.start() - 5) : found.start()].lower()
    user, colon, _password = found[1].partition(b":")
    if scheme.endswith((b"https", b"http")):
        return b"://***@"
    return b"://" + user + b":***@" if colon else found[0]
