"""What checks say about answers. Everything here raises `Different` when it is not so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Optional

import httpx

from .check import Different
from .shapes import fault

_SHORT = 160


def short(value: object) -> str:
    """A value in one line of a table."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def same(what: str, got: object, expected: object) -> None:
    if got != expected or type(got) is not type(expected):
        raise Different(f"{what} {short(repr(expected))}", short(repr(got)))


def one_of(what: str, got: object, allowed: Iterable[object]) -> None:
    allowed = list(allowed)
    if got not in allowed:
        raise Different(f"{what} one of {', '.join(map(repr, allowed))}", short(repr(got)))


def holds(what: str, text: object, *words: str) -> None:
    """A text has all of these in it, in whatever case."""
    if not isinstance(text, str) or any(word.lower() not in text.lower() for word in words):
        raise Different(f"{what} with {', '.join(map(repr, words))}", short(repr(text)))


def matches(what: str, text: object, pattern: str) -> None:
    if not isinstance(text, str) or re.fullmatch(pattern, text) is None:
        raise Different(f"{what} like {pattern}", short(repr(text)))


def true(fact: object, expected: str, got: object) -> None:
    if not fact:
        raise Different(expected, short(got))


# --- answers


def said(answer: httpx.Response) -> str:
    """Status and what it said, short."""
    return short(f"HTTP {answer.status_code} {answer.text}")


def status(answer: httpx.Response, *wanted: int) -> None:
    if answer.status_code not in wanted:
        raise Different("HTTP " + " or ".join(map(str, wanted)), said(answer))


def success(answer: httpx.Response) -> None:
    if not 200 <= answer.status_code < 300:
        raise Different("success", said(answer))


def parsed(answer: httpx.Response) -> Any:
    """The JSON of a successful answer."""
    success(answer)
    return any_json(answer)


def any_json(answer: httpx.Response) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError:
        got = said(answer) if answer.content else f"HTTP {answer.status_code}, empty"
        raise Different("a JSON body", got) from None


def an_object(answer: httpx.Response, shape: Optional[Mapping[str, Any]] = None) -> dict[str, Any]:
    found = parsed(answer)
    if not isinstance(found, dict):
        raise Different("a JSON object", short(repr(found)))
    if shape is not None:
        shaped(found, shape)
    return found


def an_array(answer: httpx.Response, shape: Optional[Mapping[str, Any]] = None) -> list[Any]:
    """A bare one. `null` is an empty one to the platform's clients; a check of its own looks for that."""
    found = parsed(answer)
    if found is None:
        return []
    if not isinstance(found, list):
        raise Different("a bare JSON array", short(repr(found)))
    if shape is not None:
        for item in found:
            shaped(item, shape)
    return found


def shaped(value: object, shape: Mapping[str, Any]) -> None:
    found = fault(value, shape)
    if found is not None:
        raise Different(*map(short, found))


def text_of(answer: httpx.Response, key: str) -> str:
    found = an_object(answer).get(key)
    if not isinstance(found, str):
        raise Different(f"{key}, a string", short(repr(found)))
    return found


# --- refusals


def refused(answer: httpx.Response, *wanted: int) -> None:
    """With one of these statuses, in a form whose text the platform's clients show: a JSON object with a string under
    `detail` or `error`, or plain text."""
    status(answer, *wanted)
    if "json" not in answer.headers.get("content-type", ""):
        true(answer.text.strip(), "a refusal that says why", "an empty body")
        return
    body = any_json(answer)
    detail = body.get("detail") or body.get("error") if isinstance(body, dict) else None
    true(isinstance(detail, str) and detail, "a refusal with a detail", said(answer))


def says(answer: httpx.Response, *words: str) -> None:
    """The text of a refusal has these in it."""
    holds("a text", detail_of(answer), *words)


def detail_of(answer: httpx.Response) -> str:
    if "json" in answer.headers.get("content-type", ""):
        body = any_json(answer)
        if isinstance(body, dict):
            return str(body.get("detail") or body.get("error") or "")
    return answer.text


def reason(answer: httpx.Response, code: str) -> None:
    body = any_json(answer)
    found = body.get("reason") if isinstance(body, dict) else None
    same("reason.code", found.get("code") if isinstance(found, dict) else None, code)
