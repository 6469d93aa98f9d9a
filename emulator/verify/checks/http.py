"""HTTP in general: bodies, routes, methods, headers."""

from __future__ import annotations

from ..assertions import (
    assert_contains,
    assert_equal,
    assert_error,
    assert_status,
    assert_success,
    assert_true,
    parse_json,
)
from ..check import Group
from ..context import Context

group = Group("http")

_RATE = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
#: Paths whose answers are bare arrays, and objects. `{sandbox}` is the id of the shared sandbox.
ARRAYS = (
    "/sandboxes",
    "/sandboxes/{sandbox}/ports",
    "/sandboxes/{sandbox}/logs",
    "/sandboxes/{sandbox}/files?path=/workspace",
    "/sandboxes/{sandbox}/snapshots",
    "/sandboxes/{sandbox}/sessions",
    "/trust/sandboxes/{sandbox}",
    "/account/keys",
    "/account/sessions",
    "/alerts/rules",
)
OBJECTS = (
    "/sandboxes/{sandbox}",
    "/sandboxes/{sandbox}/git/diff?path=/workspace",
    "/account",
    "/sessions?page=1",
    "/alerts",
    "/notifications",
    "/notifications/unread-count",
    "/notifications/config",
    "/billing/subscription",
    "/billing/usage",
)


@group.contract("bodyless-post", "A POST request without a body and a Content-Type is accepted.", "wire-contract 1.3")
def bodyless_post(context: Context) -> None:
    assert_success(context.post("/auth/socket-ticket"))


@group.contract(
    "raw-routing", "%2F in an id is part of the id and does not start a new path segment.", "wire-contract 1.4"
)
def raw_routing(context: Context) -> None:
    assert_error(context.get(f"/sandboxes/{context.sandbox_id}%2Flogs"), 404)


@group.contract("encoded-id", "A percent-encoded id is decoded after routing.", "wire-contract 1.4")
def encoded_id(context: Context) -> None:
    encoded = "".join(f"%{ord(letter):02X}" for letter in context.sandbox_id)
    assert_status(context.get(f"/sandboxes/{encoded}"), 200)


@group.contract("unknown-route", "An unknown route returns the router's 404 as plain text.", "wire-contract 2.3")
def unknown_route(context: Context) -> None:
    answer = context.get("/caged-verify-nothing-here")
    assert_status(answer, 404)
    assert_contains("Content-Type", answer.headers.get("content-type"), "text/plain")
    assert_equal("the text", answer.text.strip(), "404 page not found")


@group.decision(
    "wrong-method", "A wrong method on a known path returns 405 and lists the allowed methods.", "Part A, Errors"
)
def wrong_method(context: Context) -> None:
    answer = context.client.request("PATCH", "/sandboxes")
    assert_status(answer, 405)
    assert_contains("Allow", answer.headers.get("allow"), "GET", "POST")


@group.contract("arrays", "Lists of a sandbox or of the account are bare JSON arrays.", "wire-contract 11")
def arrays(context: Context) -> None:
    for path in ARRAYS:
        answer = context.get(path.format(sandbox=context.sandbox_id))
        assert_status(answer, 200)
        assert_true(isinstance(parse_json(answer), (list, type(None))), f"{path}: an array", answer.text)


@group.decision("no-null-lists", "An empty list is [], not null.", "Part A, Profile")
def no_null_lists(context: Context) -> None:
    for path in ARRAYS:
        answer = context.get(path.format(sandbox=context.sandbox_id))
        assert_true(parse_json(answer) is not None, f"{path}: []", "null")


@group.contract("objects", "Pages, settings and single resources are JSON objects.", "wire-contract 11")
def objects(context: Context) -> None:
    for path in OBJECTS:
        answer = context.get(path.format(sandbox=context.sandbox_id))
        assert_status(answer, 200)
        assert_true(isinstance(parse_json(answer), dict), f"{path}: an object", answer.text)


@group.contract("rate-headers", "Every response has the X-RateLimit headers, errors included.", "platform-behaviour B2")
def rate_headers(context: Context) -> None:
    for answer in (context.get("/account"), context.get("/sandboxes/unknown"), context.get("/account", key="")):
        for name in _RATE:
            value = answer.headers.get(name)
            assert_true(
                value is not None and value.isdigit(), f"{name}, a number (HTTP {answer.status_code})", repr(value)
            )


@group.contract("rate-reset", "X-RateLimit-Reset is a time in Unix seconds.", "platform-behaviour B2")
def rate_reset(context: Context) -> None:
    value = context.get("/account").headers.get("x-ratelimit-reset", "")
    assert_true(value.isdigit() and len(value) == 10, "10 digits", repr(value))


@group.decision("request-id", "Every response has a unique X-Request-Id, errors included.", "Part A, Errors")
def request_id(context: Context) -> None:
    answers = [
        context.get("/account"),
        context.get("/sandboxes/unknown"),
        context.get("/account", key=""),
        context.get("/x"),
    ]
    found = [answer.headers.get("x-request-id") for answer in answers]
    assert_true(all(found) and len(set(found)) == len(found), "four different ids", repr(found))


@group.decision("unknown-keys", "An unknown key in a request body is ignored.", "Part A, Profile")
def unknown_keys(context: Context) -> None:
    answer = context.post(f"/sandboxes/{context.sandbox_id}/exec", json={"command": "true", "caged_verify": 1})
    assert_status(answer, 200)
