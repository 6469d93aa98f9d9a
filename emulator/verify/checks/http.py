"""HTTP itself: bodies, routes, methods, headers."""

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
#: Lists that stand alone in their answer, and objects. `{box}` is the shared sandbox.
ARRAYS = (
    "/sandboxes",
    "/sandboxes/{box}/ports",
    "/sandboxes/{box}/logs",
    "/sandboxes/{box}/files?path=/workspace",
    "/sandboxes/{box}/snapshots",
    "/sandboxes/{box}/sessions",
    "/trust/sandboxes/{box}",
    "/account/keys",
    "/account/sessions",
    "/alerts/rules",
)
OBJECTS = (
    "/sandboxes/{box}",
    "/sandboxes/{box}/git/diff?path=/workspace",
    "/account",
    "/sessions?page=1",
    "/alerts",
    "/notifications",
    "/notifications/unread-count",
    "/notifications/config",
    "/billing/subscription",
    "/billing/usage",
)


@group.contract("bodyless-post", "A POST without body and Content-Type is taken.", "wire-contract 1.3")
def bodyless_post(context: Context) -> None:
    assert_success(context.post("/auth/socket-ticket"))


@group.contract("raw-routing", "%2F in an id is a part of the id, and makes no new segment.", "wire-contract 1.4")
def raw_routing(context: Context) -> None:
    assert_error(context.get(f"/sandboxes/{context.sandbox_id}%2Flogs"), 404)


@group.contract("encoded-id", "An id is decoded after routing.", "wire-contract 1.4")
def encoded_id(context: Context) -> None:
    encoded = "".join(f"%{ord(letter):02X}" for letter in context.sandbox_id)
    assert_status(context.get(f"/sandboxes/{encoded}"), 200)


@group.contract("unknown-route", "An unknown route is the router's 404, as plain text.", "wire-contract 2.3")
def unknown_route(context: Context) -> None:
    answer = context.get("/caged-verify-nothing-here")
    assert_status(answer, 404)
    assert_contains("Content-Type", answer.headers.get("content-type"), "text/plain")
    assert_equal("the text", answer.text.strip(), "404 page not found")


@group.decision("wrong-method", "A known path with a wrong method is 405 and names the right ones.", "Part A, Errors")
def wrong_method(context: Context) -> None:
    answer = context.client.request("PATCH", "/sandboxes")
    assert_status(answer, 405)
    assert_contains("Allow", answer.headers.get("allow"), "GET", "POST")


@group.contract("arrays", "Lists of a sandbox or of the account stand alone in their answer.", "wire-contract 11")
def arrays(context: Context) -> None:
    for path in ARRAYS:
        answer = context.get(path.format(box=context.sandbox_id))
        assert_status(answer, 200)
        assert_true(isinstance(parse_json(answer), (list, type(None))), f"{path}: an array", answer.text)


@group.decision("no-null-lists", "An empty list is [], never null.", "Part A, Profile")
def no_null_lists(context: Context) -> None:
    for path in ARRAYS:
        answer = context.get(path.format(box=context.sandbox_id))
        assert_true(parse_json(answer) is not None, f"{path}: []", "null")


@group.contract("objects", "Pages, settings and single things are objects.", "wire-contract 11")
def objects(context: Context) -> None:
    for path in OBJECTS:
        answer = context.get(path.format(box=context.sandbox_id))
        assert_status(answer, 200)
        assert_true(isinstance(parse_json(answer), dict), f"{path}: an object", answer.text)


@group.contract("rate-headers", "Every answer carries the X-RateLimit headers, refusals too.", "platform-behaviour B2")
def rate_headers(context: Context) -> None:
    for answer in (context.get("/account"), context.get("/sandboxes/nobody"), context.get("/account", key="")):
        for name in _RATE:
            value = answer.headers.get(name)
            assert_true(
                value is not None and value.isdigit(), f"{name}, a number (HTTP {answer.status_code})", repr(value)
            )


@group.contract("rate-reset", "X-RateLimit-Reset is a time in Unix seconds.", "platform-behaviour B2")
def rate_reset(context: Context) -> None:
    value = context.get("/account").headers.get("x-ratelimit-reset", "")
    assert_true(value.isdigit() and len(value) == 10, "10 digits", repr(value))


@group.decision("request-id", "Every answer has an X-Request-Id of its own, refusals too.", "Part A, Errors")
def request_id(context: Context) -> None:
    answers = [
        context.get("/account"),
        context.get("/sandboxes/nobody"),
        context.get("/account", key=""),
        context.get("/x"),
    ]
    found = [answer.headers.get("x-request-id") for answer in answers]
    assert_true(all(found) and len(set(found)) == len(found), "four different ids", repr(found))


@group.decision("unknown-keys", "A key that nobody knows does not fail a request.", "Part A, Profile")
def unknown_keys(context: Context) -> None:
    answer = context.post(f"/sandboxes/{context.sandbox_id}/exec", json={"command": "true", "caged_verify": 1})
    assert_status(answer, 200)
