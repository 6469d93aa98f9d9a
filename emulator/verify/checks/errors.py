"""Refusals: their shape, and which request gets which."""

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


@group.contract("problem-json", "A refusal is problem+json, its media type in lower case.", "wire-contract 2.3")
def problem_json(context: Context) -> None:
    answer = context.get("/sandboxes/caged-verify-nobody")
    assert_status(answer, 404)
    media = answer.headers.get("content-type", "").partition(";")[0]
    assert_equal("Content-Type", media, "application/problem+json")


@group.contract("problem-members", "A problem has type, title, status and detail.", "wire-contract 2.3")
def problem_members(context: Context) -> None:
    body = parse_json(context.get("/sandboxes/caged-verify-nobody"))
    assert_equal("title", body.get("title"), "Not Found")
    assert_equal("type", body.get("type"), "https://caged.dev/errors/Not Found")
    assert_equal("status", body.get("status"), 404)
    assert_true(isinstance(body.get("detail"), str) and body["detail"], "detail, a string", repr(body.get("detail")))


@group.contract("problem-error", "A problem has no `error`: that is the older form.", "wire-contract 2.3")
def problem_error(context: Context) -> None:
    body = parse_json(context.get("/sandboxes/caged-verify-nobody"))
    assert_true("error" not in body, "no key error", repr(body.get("error")))


@group.decision("problem-only", "A problem has no more than `reason` beside its four members.", "Part A, Errors")
def problem_only(context: Context) -> None:
    body = parse_json(context.get("/sandboxes/caged-verify-nobody"))
    extra = sorted(set(body) - {"type", "title", "status", "detail", "reason"})
    assert_true(not extra, "type, title, status, detail and perhaps reason", ", ".join(extra))


@group.contract("no-key", "A request without a key is a 401.", "platform-behaviour B3")
def no_key(context: Context) -> None:
    assert_error(context.get("/sandboxes", key=""), 401)


@group.contract("wrong-key", "A key that does not exist is a 401.", "platform-behaviour B3")
def wrong_key(context: Context) -> None:
    assert_error(context.get("/sandboxes", key="caged_sk_0000000000000000000000000000verify"), 401)


@group.decision("malformed-json", "A body that is no JSON is a 400.", "Part A, Errors")
def malformed_json(context: Context) -> None:
    path, headers = f"/sandboxes/{context.sandbox_id}/exec", {"Content-Type": "application/json"}
    assert_error(context.post(path, content=b'{"command": ', headers=headers), 400)


@group.decision("wrong-type", "A value of a wrong type is a 400 that names the field.", "Part A, Errors")
def wrong_type(context: Context) -> None:
    answer = context.post(f"/sandboxes/{context.sandbox_id}/exec", json={"command": 7})
    assert_error(answer, 400)
    assert_detail_contains(answer, "command")


@group.decision("out-of-range", "A number out of range is a 400 that names the field.", "Part A, Errors")
def out_of_range(context: Context) -> None:
    answer = context.create(cpus=99)
    assert_error(answer, 400)
    assert_detail_contains(answer, "cpus")


@group.decision("missing-field", "A body without what it needs is a 400 that names the field.", "Part A, Errors")
def missing_field(context: Context) -> None:
    answer = context.post(f"/sandboxes/{context.sandbox_id}/exec", json={})
    assert_error(answer, 400)
    assert_detail_contains(answer, "command")


@group.decision("too-large", "A body over 10 MiB is a 413.", "Part A, Errors")
def too_large(context: Context) -> None:
    assert_error(context.post(f"/sandboxes/{context.sandbox_id}/exec", content=b" " * (10 * _MIB + 1)), 413)


@group.contract("sandbox-not-found", "An unknown sandbox is a 404 that says so.", "wire-contract 3.1")
def sandbox_not_found(context: Context) -> None:
    answer = context.get("/sandboxes/caged-verify-nobody")
    assert_error(answer, 404)
    assert_contains("a text", read_detail(answer), "sandbox not found")


def _second(context: Context) -> str:
    if not context.second_key:
        raise SkipCheck("needs a key of another account; give --second-api-key")
    return context.second_key


@group.decision("foreign-sandbox", "Another account's sandbox is a 404, never a 403.", "Part A, Auth")
def foreign_sandbox(context: Context) -> None:
    assert_error(context.get(f"/sandboxes/{context.sandbox_id}", key=_second(context)), 404)


@group.decision("foreign-exec", "Nobody runs a command in another account's sandbox.", "Part A, Auth")
def foreign_exec(context: Context) -> None:
    path = f"/sandboxes/{context.sandbox_id}/exec"
    assert_error(context.post(path, key=_second(context), json={"command": "true"}), 404)


@group.contract("foreign-list", "A list of sandboxes has the account's own only.", "platform-behaviour B1")
def foreign_list(context: Context) -> None:
    answer = context.get("/sandboxes", key=_second(context))
    assert_status(answer, 200)
    assert_true(f'"{context.sandbox_id}"' not in answer.text, "not the other account's sandbox", context.sandbox_id)


@group.decision("foreign-delete", "Another account cannot destroy a sandbox.", "Part A, Auth")
def foreign_delete(context: Context) -> None:
    assert_error(context.delete(f"/sandboxes/{context.sandbox_id}", key=_second(context)), 404)


#: (name, method, path, body) of calls with an id that nobody has; all are 404.
_UNKNOWN: tuple[tuple[str, str, str, Optional[dict[str, Any]]], ...] = (
    ("destroy", "DELETE", "/sandboxes/nobody", None),
    ("pause", "POST", "/sandboxes/nobody/pause", None),
    ("resume", "POST", "/sandboxes/nobody/resume", None),
    ("exec", "POST", "/sandboxes/nobody/exec", {"command": "true"}),
    ("logs", "GET", "/sandboxes/nobody/logs", None),
    ("ports", "GET", "/sandboxes/nobody/ports", None),
    ("files", "GET", "/sandboxes/nobody/files?path=/workspace", None),
    ("read", "GET", "/sandboxes/nobody/files/content?path=/workspace/x", None),
    ("write", "PUT", "/sandboxes/nobody/files/content?path=/workspace/x", {"content": ""}),
    ("git-diff", "GET", "/sandboxes/nobody/git/diff", None),
    ("trust", "GET", "/trust/sandboxes/nobody", None),
    ("snapshots", "GET", "/sandboxes/nobody/snapshots", None),
    ("snapshot-create", "POST", "/sandboxes/nobody/snapshots", {}),
    ("snapshot", "GET", "/snapshots/nobody", None),
    ("snapshot-delete", "DELETE", "/snapshots/nobody", None),
    ("snapshot-download", "GET", "/snapshots/nobody/download", None),
    ("snapshot-restore", "POST", "/snapshots/nobody/restore", {"target_sandbox_id": "nobody"}),
    ("key-revoke", "DELETE", "/account/keys/nobody", None),
    ("login-revoke", "DELETE", "/account/sessions/nobody", None),
    ("sandbox-sessions", "GET", "/sandboxes/nobody/sessions", None),
    ("session", "GET", "/sessions/nobody", None),
    ("replay", "GET", "/sessions/nobody/replay", None),
    ("replay-summary", "GET", "/sessions/nobody/replay/summary", None),
    ("alert", "GET", "/alerts/nobody", None),
    ("alert-resolve", "POST", "/alerts/nobody/resolve", None),
    ("rule-update", "PUT", "/alerts/rules/nobody", {"enabled": True}),
    ("notification-read", "POST", "/notifications/nobody/read", None),
)


def _unknown(name: str, method: str, path: str, body: Optional[dict[str, Any]]) -> None:
    @group.contract(f"unknown-{name}", f"{method} {path.partition('?')[0]} is a 404.", "platform-behaviour B3")
    def look(context: Context) -> None:
        options: dict[str, Any] = {} if body is None else {"json": body}
        answer = context.client.request(method, path, **options)
        assert_error(answer, 404)
        assert_true(
            answer.text.strip() != "404 page not found", "the resource's own 404", "the router's: no such route"
        )


for _one in _UNKNOWN:
    _unknown(*_one)
