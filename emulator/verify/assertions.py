"""Assertions about answers. Each function raises `Mismatch` when the answer is not as expected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Optional

import httpx

from ..truncation import truncate
from .errors import Mismatch
from .shapes import find_mismatch

_SHORT_CHARACTERS = 160


def shorten(value: object) -> str:
    """Return a value as one line of bounded length."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return truncate(text, _SHORT_CHARACTERS, includes_mark=True)


def assert_equal(what: str, got: object, expected: object) -> None:
    """Require equal values of the same type."""
    if got != expected or type(got) is not type(expected):
        raise Mismatch(f"{what} {shorten(repr(expected))}", shorten(repr(got)))


def assert_one_of(what: str, got: object, allowed: Iterable[object]) -> None:
    """Require one of the allowed values."""
    allowed = list(allowed)
    if got not in allowed:
        raise Mismatch(f"{what} one of {', '.join(map(repr, allowed))}", shorten(repr(got)))


def assert_contains(what: str, text: object, *words: str) -> None:
    """Require a text that contains all of the words, in upper or lower case."""
    if not isinstance(text, str) or any(word.lower() not in text.lower() for word in words):
        raise Mismatch(f"{what} with {', '.join(map(repr, words))}", shorten(repr(text)))


def assert_matches(what: str, text: object, pattern: str) -> None:
    """Require a text that matches a regular expression as a whole."""
    if not isinstance(text, str) or re.fullmatch(pattern, text) is None:
        raise Mismatch(f"{what} like {pattern}", shorten(repr(text)))


def assert_true(condition: object, expected: str, got: object) -> None:
    """Require a condition; `expected` and `got` describe it in the report."""
    if not condition:
        raise Mismatch(expected, shorten(got))


# --- successful answers


def describe(answer: httpx.Response) -> str:
    """Return the status and the text of an answer, shortened."""
    return shorten(f"HTTP {answer.status_code} {answer.text}")


def assert_status(answer: httpx.Response, *expected: int) -> None:
    """Require one of the statuses."""
    if answer.status_code not in expected:
        raise Mismatch("HTTP " + " or ".join(map(str, expected)), describe(answer))


def assert_success(answer: httpx.Response) -> None:
    """Require a status from 200 to 299."""
    if not 200 <= answer.status_code < 300:
        raise Mismatch("success", describe(answer))


def assert_no_content(answer: httpx.Response) -> None:
    """Require the status 204 and an empty body."""
    assert_status(answer, 204)
    assert_equal("the body", answer.content, b"")


def parse_json(answer: httpx.Response) -> Any:
    """Return the JSON of an answer of any status."""
    try:
        return json.loads(answer.content)
    except ValueError:
        got = describe(answer) if answer.content else f"HTTP {answer.status_code}, empty"
        raise Mismatch("a JSON body", got) from None


def read_json(answer: httpx.Response) -> Any:
    """Return the JSON of a successful answer."""
    assert_success(answer)
    return parse_json(answer)


def read_object(answer: httpx.Response, shape: Optional[Mapping[str, Any]] = None) -> dict[str, Any]:
    """Return the JSON object of a successful answer, which must have the shape if one is given."""
    value = read_json(answer)
    if not isinstance(value, dict):
        raise Mismatch("a JSON object", shorten(repr(value)))
    if shape is not None:
        assert_shape(value, shape)
    return value


def read_array(answer: httpx.Response, shape: Optional[Mapping[str, Any]] = None) -> list[Any]:
    """Return the bare JSON array of a successful answer, whose items must have the shape if one is given.

    `null` counts as an empty array, as in the platform's clients; `http.no-null-lists` is about the difference.
    """
    value = read_json(answer)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Mismatch("a bare JSON array", shorten(repr(value)))
    if shape is not None:
        for item in value:
            assert_shape(item, shape)
    return value


def read_text(answer: httpx.Response, key: str) -> str:
    """Return the string under a key of the JSON object of a successful answer."""
    value = read_object(answer).get(key)
    if not isinstance(value, str):
        raise Mismatch(f"{key}, a string", shorten(repr(value)))
    return value


def assert_shape(value: object, shape: Mapping[str, Any]) -> None:
    """Require a value of a shape (`shapes.py`)."""
    mismatch = find_mismatch(value, shape)
    if mismatch is not None:
        raise Mismatch(*map(shorten, mismatch))


# --- error answers


def assert_error(answer: httpx.Response, *expected: int) -> None:
    """Require an error with one of the statuses, in a form whose text the platform's clients show: a JSON object with
    a string under `detail` or `error`, or plain text."""
    assert_status(answer, *expected)
    if "json" not in answer.headers.get("content-type", ""):
        assert_true(answer.text.strip(), "an error that says why", "an empty body")
        return
    body = parse_json(answer)
    detail = body.get("detail") or body.get("error") if isinstance(body, dict) else None
    assert_true(isinstance(detail, str) and detail, "an error with a detail", describe(answer))


def read_detail(answer: httpx.Response) -> str:
    """Return the text of an error."""
    if "json" in answer.headers.get("content-type", ""):
        body = parse_json(answer)
        if isinstance(body, dict):
            return str(body.get("detail") or body.get("error") or "")
    return answer.text


def assert_detail_contains(answer: httpx.Response, *words: str) -> None:
    """Require an error whose text contains all of the words, in upper or lower case."""
    assert_contains("a text", read_detail(answer), *words)


def assert_reason(answer: httpx.Response, code: str) -> None:
    """Require an error whose `reason.code` is this."""
    body = parse_json(answer)
    reason = body.get("reason") if isinstance(body, dict) else None
    assert_equal("reason.code", reason.get("code") if isinstance(reason, dict) else None, code)


def assert_error_code(reply: Mapping[str, Any], code: int) -> None:
    """Require a JSON-RPC reply that is an error with this code."""
    error = reply.get("error")
    assert_equal("error.code", error.get("code") if isinstance(error, dict) else None, code)
