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
#: The first group that matched is kept.
_CREDENTIAL = re.compile(
    rb'("(?:' + b"|".join(_FIELDS) + rb')"\s*:\s*")[^"\\]*(?:\\.[^"\\]*)*'
    # JSON in JSON, or in a shell's word: each quote has backslashes before it.
    rb'|(\\{1,7}"(?:' + b"|".join(_FIELDS) + rb')\\{1,7}"\s*:\s*\\{1,7}")[^"\\]*(?:\\{1,7}[^"\\][^"\\]*)*'
    rb"|(caged_(?:sk|ses|wst|adm)_)[A-Za-z0-9._-]+"
    rb"|(signature=)[A-Za-z0-9]+"
    # Also Proxy-Authorization, as a header, in JSON and in a program's source.
    rb"|((?:uthorization|UTHORIZATION)[\\\"'\s:,=]{1,40}(?:[Bb]asic|BASIC)[\\\s]{1,9})(?:[A-Za-z0-9+=_-]|\\?/)+"
    rb"|(/billing/(?:checkout|portal)/)[A-Za-z0-9_-]+",
    re.S,
)
#: Each match of the expression contains one of these; searching for them takes a fraction of its time.
_HINTS = (
    *(name + end for name in (b"password", b"token", b"device_code", b"ticket") for end in (b'"', b"\\")),
    *(b"caged_", b"signature=", b"_webhook_url", b"/billing/", b"uthorization", b"UTHORIZATION"),
)
_TEXT_HINTS = tuple(hint.decode() for hint in _HINTS)
#: What a URL has in front of its host. Up to the last "@", because a password may contain one that is not escaped.
_USER_INFO = re.compile(rb"://([^\s/?#\"'\\<>`]+)@")


def redact_credentials(text: Text) -> Text:
    """Replace passwords, API keys, tickets, tokens of sessions and devices, webhooks, and signatures, passwords and
    tokens in URLs by ***, and what headers of basic authentication hold."""
    if isinstance(text, str):
        if not ("://" in text and "@" in text):
            for hint in _TEXT_HINTS:  # any() with a generator takes three times as long
                if hint in text:
                    break
            else:
                return text
        return redact_credentials(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    if b"://" in text and b"@" in text:
        text = _USER_INFO.sub(_redact_user_info, text)
    for encoded in _HINTS:
        if encoded in text:
            break
    else:
        return text
    return _CREDENTIAL.sub(lambda found: found[found.lastindex or 0] + b"***", text)


def _redact_user_info(found: re.Match[bytes]) -> bytes:
    """Of https and http, all of it: the user may be the token. Of others, such as ssh, only the password."""
    scheme = found.string[max(0, found.start() - 5) : found.start()].lower()
    user, colon, _password = found[1].partition(b":")
    if scheme.endswith((b"https", b"http")):
        return b"://***@"
    return b"://" + user + b":***@" if colon else found[0]
