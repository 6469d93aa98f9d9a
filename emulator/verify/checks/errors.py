"""Error answers: their form, and the status of each kind of error."""

from __future__ import annotations

from typing import Any, Optional

from ..assertions import (
    assert_contains,
    assert_detail_contains,
    assert_equal,
    assert_error,
    assert_status,
    assert_true,
    parse_json,
    read_detail,
)
from ..check import Group
from ..context import Context
from ..errors import SkipCheck

group = Group("errors")

_MIB = 1024 * 1024


@group.contract(
    "problem-json", "An error has the media type application/problem+json, in lower case.", "wire-contract 2.3"
)
def problem_json(context: Context) -> None:
    answer = context.get("/sandboxes/caged-verify-unknown")
    assert_status(answer, 404)
    media = answer.headers.get("content-type", "").partition(";")[0]
    assert_equal("Content-Type", media, "application/problem+json")


@group.contract("problem-members", "A problem document has type, title, status and detail.", "wire-contract 2.3")
def problem_members(context: Context) -> None:
    body = parse_json(context.get("/sandboxes/caged-verify-unknown"))
    assert_equal("title", body.get("title"), "Not Found")
    assert_equal("type", body.get("type"), "https://caged.dev/errors/Not Found")
    assert_equal("status", body.get("status"), 404)
    assert_true(isinstance(body.get("detail"), str) and body["detail"], "detail, a string", repr(body.get("detail")))


@group.contract("problem-error", "A problem document does not have the older key `error`.", "wire-contract 2.3")
def problem_error(context: Context) -> None:
    body = parse_json(context.get("/sandboxes/caged-verify-unknown"))
    assert_true("error" not in body, "no member `error`", repr(body.get("error")))


@group.decision(
    "problem-only", "A problem document has no other keys than its four members and `reason`.", "Part A, Errors"
)
def problem_only(context: Context) -> None:
    body = parse_json(context.get("/sandboxes/caged-verify-unknown"))
    extra = sorted(set(body) - {"type", "title", "status", "detail", "reason"})
    assert_true(not extra, "type, title, status, detail and perhaps reason", ", ".join(extra))


@group.contract("no-key", "A request without an API key returns 401.", "platform-behaviour B3")
def no_key(context: Context) -> None:
    assert_error(context.get("/sandboxes", key=""), 401)


@group.contract("wrong-key", "A request with an unknown API key returns 401.", "platform-behaviour B3")
def wrong_key(context: Context) -> None:
    assert_error(context.get("/sandboxes", key="caged_sk_0000000000000000000000000000verify"), 401)


@group.decision("malformed-json", "A body that is not JSON returns 400.", "Part A, Errors")
def malformed_json(context: Context) -> None:
    path, headers = f"/sandboxes/{context.sandbox_id}/exec", {"Content-Type": "application/json"}
    assert_error(context.post(path, content=b'{"command": ', headers=headers), 400)


@group.decision("wrong-type", "A value of the wrong type returns 400 with the name of the field.", "Part A, Errors")
def wrong_type(context: Context) -> None:
    answer = context.post(f"/sandboxes/{context.sandbox_id}/exec", json={"command": 7})
    assert_error(answer, 400)
    assert_detail_contains(answer, "command")


@group.decision("out-of-range", "A number out of range returns 400 with the name of the field.", "Part A, Errors")
def out_of_range(context: Context) -> None:
    answer = context.create(cpus=99)
    assert_error(answer, 400)
    assert_detail_contains(answer, "cpus")


@group.decision(
    "missing-field", "A body without a required field returns 400 with the name of the field.", "Part A, Errors"
)
def missing_field(context: Context) -> None:
    answer = context.post(f"/sandboxes/{context.sandbox_id}/exec", json={})
    assert_error(answer, 400)
    assert_detail_contains(answer, "command")


@group.decision("too-large", "A body larger than 10 MiB returns 413.", "Part A, Errors")
def too_large(context: Context) -> None:
    assert_error(context.post(f"/sandboxes/{context.sandbox_id}/exec", content=b" " * (10 * _MIB + 1)), 413)


@group.contract(
    "sandbox-not-found", "An unknown sandbox returns 404 with the text `sandbox not found`.", "wire-contract 3.1"
)
def sandbox_not_found(context: Context) -> None:
    answer = context.get("/sandboxes/caged-verify-unknown")
    assert_error(answer, 404)
    assert_contains("a text", read_detail(answer), "sandbox not found")


def _second_key(context: Context) -> str:
    if not context.second_key:
        raise SkipCheck("needs a key of another account; give --second-api-key")
    return context.second_key


@group.decision("foreign-sandbox", "A sandbox of another account returns 404, not 403.", "Part A, Auth")
def foreign_sandbox(context: Context) -> None:
    assert_error(context.get(f"/sandboxes/{context.sandbox_id}", key=_second_key(context)), 404)


@group.decision("foreign-exec", "A command in a sandbox of another account returns 404.", "Part A, Auth")
def foreign_exec(context: Context) -> None:
    path = f"/sandboxes/{context.sandbox_id}/exec"
    assert_error(context.post(path, key=_second_key(context), json={"command": "true"}), 404)


@group.contract("foreign-list", "The list of sandboxes has those of the account only.", "platform-behaviour B1")
def foreign_list(context: Context) -> None:
    answer = context.get("/sandboxes", key=_second_key(context))
    assert_status(answer, 200)
    assert_true(f'"{context.sandbox_id}"' not in answer.text, "not the other account's sandbox", context.sandbox_id)


@group.decision("foreign-delete", "Destroying a sandbox of another account returns 404.", "Part A, Auth")
def foreign_delete(context: Context) -> None:
    assert_error(context.delete(f"/sandboxes/{context.sandbox_id}", key=_second_key(context)), 404)


#: Name, method, path and body of requests with an unknown id; all return 404.
_UNKNOWN: tuple[tuple[str, str, str, Optional[dict[str, Any]]], ...] = (
    ("destroy", "DELETE", "/sandboxes/unknown", None),
    ("pause", "POST", "/sandboxes/unknown/pause", None),
    ("resume", "POST", "/sandboxes/unknown/resume", None),
    ("exec", "POST", "/sandboxes/unknown/exec", {"command": "true"}),
    ("logs", "GET", "/sandboxes/unknown/logs", None),
    ("ports", "GET", "/sandboxes/unknown/ports", None),
    ("files", "GET", "/sandboxes/unknown/files?path=/workspace", None),
    ("read", "GET", "/sandboxes/unknown/files/content?path=/workspace/x", None),
    ("write", "PUT", "/sandboxes/unknown/files/content?path=/workspace/x", {"content": ""}),
    ("git-diff", "GET", "/sandboxes/unknown/git/diff", None),
    ("trust", "GET", "/trust/sandboxes/unknown", None),
    ("snapshots", "GET", "/sandboxes/unknown/snapshots", None),
    ("snapshot-create", "POST", "/sandboxes/unknown/snapshots", {}),
    ("snapshot", "GET", "/snapshots/unknown", None),
    ("snapshot-delete", "DELETE", "/snapshots/unknown", None),
    ("snapshot-download", "GET", "/snapshots/unknown/download", None),
    ("snapshot-restore", "POST", "/snapshots/unknown/restore", {"target_sandbox_id": "unknown"}),
    ("key-revoke", "DELETE", "/account/keys/unknown", None),
    ("login-revoke", "DELETE", "/account/sessions/unknown", None),
    ("sandbox-sessions", "GET", "/sandboxes/unknown/sessions", None),
    ("session", "GET", "/sessions/unknown", None),
    ("replay", "GET", "/sessions/unknown/replay", None),
    ("replay-summary", "GET", "/sessions/unknown/replay/summary", None),
    ("alert", "GET", "/alerts/unknown", None),
    ("alert-resolve", "POST", "/alerts/unknown/resolve", None),
    ("rule-update", "PUT", "/alerts/rules/unknown", {"enabled": True}),
    ("notification-read", "POST", "/notifications/unknown/read", None),
)


def _check_unknown_id(name: str, method: str, path: str, body: Optional[dict[str, Any]]) -> None:
    @group.contract(
        f"unknown-{name}", f"{method} {path.partition('?')[0]} with an unknown id returns 404.", "platform-behaviour B3"
    )
    def check(context: Context) -> None:
        options: dict[str, Any] = {} if body is None else {"json": body}
        answer = context.client.request(method, path, **options)
        assert_error(answer, 404)
        assert_true(
            answer.text.strip() != "404 page not found",
            "the resource's own 404",
            "the router's 404: the route does not exist",
        )


for _request in _UNKNOWN:
    _check_unknown_id(*_request)
