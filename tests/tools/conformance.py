"""Checks that a response of the emulator conforms to its OpenAPI document and to the platform's contract."""

from __future__ import annotations

import functools
import re
from typing import Any, Optional
from urllib.parse import quote

import contract_answers
import httpx
from jsonschema_rs import Draft202012Validator, Registry, ValidationError

from caged.emulator.wire.all_operations import all_operations
from caged.emulator.wire.openapi import document

_DOCUMENT = "urn:openapi"


@functools.cache
def described() -> dict[str, Any]:
    return document(all_operations())


@functools.cache
def _routes() -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path, description) of every operation, those with the fewest parameters first."""
    found = [
        (method.upper(), path, operation)
        for path, methods in described()["paths"].items()
        for method, operation in methods.items()
    ]
    return sorted(found, key=lambda route: route[1].count("{"))


@functools.cache
def _routes_of(method: str, segments: int) -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """(path, description) of the operations with so many segments in their path: a few of them all."""
    return [
        (re.compile(re.sub(r"{\w+}", "[^/]+", path) + r"\Z"), operation)
        for name, path, operation in _routes()
        if name == method and path.count("/") == segments
    ]


def operation_of(method: str, path: str) -> Optional[dict[str, Any]]:
    """Return the description of the operation at a raw path, None if there is none."""
    routes = _routes_of("GET" if method == "HEAD" else method, path.count("/"))
    return next((found for shape, found in routes if shape.match(path)), None)


@functools.cache
def _registry() -> Registry:
    """The document, parsed once for the validators of all answers, which refer to it."""
    return Registry([(_DOCUMENT, described())])


@functools.cache
def _validator(operation_id: str, status: int, media: str) -> Draft202012Validator:
    method, path = next(
        (method, path)
        for path, methods in described()["paths"].items()
        for method, operation in methods.items()
        if operation["operationId"] == operation_id
    )
    keys = ("paths", path, method, "responses", str(status), "content", media, "schema")
    pointer = "/".join(key.replace("~", "~0").replace("/", "~1") for key in keys)
    return Draft202012Validator({"$ref": f"{_DOCUMENT}#/{quote(pointer)}"}, registry=_registry())


def _json_path(error: ValidationError) -> str:
    return ".".join(["$", *map(str, error.instance_path)])


def check(response: httpx.Response) -> None:
    """Fail if the status, the headers, the content type or the body of a response is not in the document.

    A body that was not read is not checked.
    """
    path = response.request.url.raw_path.decode("ascii").partition("?")[0]
    operation = operation_of(response.request.method, path)
    if operation is None:
        return
    name = operation["operationId"]
    answer = operation["responses"].get(str(response.status_code))
    assert answer is not None, (
        f"{name} answered {response.status_code}, which is not in the OpenAPI document: name it in `errors=` (or as"
        f" `status=`) where the operation is added. It said: {response.text[:500]}"
    )
    for header in answer.get("headers", ()):
        assert header in response.headers, f"{name} answered {response.status_code} without {header}"
    media = response.headers.get("content-type", "").partition(";")[0]
    assert media in answer.get("content", {"": {}}), f"{name} answered {response.status_code} as {media!r}"
    if not response.is_stream_consumed or response.request.method == "HEAD":
        return
    if media.endswith("json"):
        body, validator = response.json(), _validator(name, response.status_code, media)
        try:
            fault = next(validator.iter_errors(body), None)
        except ValueError:  # the release for Python 3.9 takes no integer of more than 64 bits
            fault = next(validator.iter_errors(response.json(parse_int=float)), None)
        assert fault is None, f"{name} answered {response.status_code} with {_json_path(fault)}: {fault.message}"
        if path.startswith("/v1/"):
            contract_answers.check(name, response, body=body)
    elif not answer.get("content"):
        assert response.content == b"", f"{name} answered {response.status_code} with a body"
