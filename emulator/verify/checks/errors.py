"""Refusals: their shape, and which request gets which."""

from __future__ import annotations

from typing import Any, Optional

from ..check import Group, Unchecked
from ..context import Context
from ..expect import any_json, detail_of, holds, refused, same, says, status, true

group = Group("errors")

_MIB = 1024 * 1024


@group.contract("problem-json", "A refusal is problem+json, its media type in lower case.", "wire-contract 2.3")
def problem_json(bench: Context) -> None:
    answer = bench.get("/sandboxes/caged-verify-nobody")
    status(answer, 404)
    media = answer.headers.get("content-type", "").partition(";")[0]
    same("Content-Type", media, "application/problem+json")


@group.contract("problem-members", "A problem has type, title, status and detail.", "wire-contract 2.3")
def problem_members(bench: Context) -> None:
    body = any_json(bench.get("/sandboxes/caged-verify-nobody"))
    same("title", body.get("title"), "Not Found")
    same("type", body.get("type"), "https://caged.dev/errors/Not Found")
    same("status", body.get("status"), 404)
    true(isinstance(body.get("detail"), str) and body["detail"], "detail, a string", repr(body.get("detail")))


@group.contract("problem-error", "A problem has no `error`: that is the older form.", "wire-contract 2.3")
def problem_error(bench: Context) -> None:
    body = any_json(bench.get("/sandboxes/caged-verify-nobody"))
    true("error" not in body, "no key error", repr(body.get("error")))


@group.decision("problem-only", "A problem has no more than `reason` beside its four members.", "Part A, Errors")
def problem_only(bench: Context) -> None:
    body = any_json(bench.get("/sandboxes/caged-verify-nobody"))
    extra = sorted(set(body) - {"type", "title", "status", "detail", "reason"})
    true(not extra, "type, title, status, detail and perhaps reason", ", ".join(extra))


@group.contract("no-key", "A request without a key is a 401.", "platform-behaviour B3")
def no_key(bench: Context) -> None:
    refused(bench.get("/sandboxes", key=""), 401)


@group.contract("wrong-key", "A key that does not exist is a 401.", "platform-behaviour B3")
def wrong_key(bench: Context) -> None:
    refused(bench.get("/sandboxes", key="caged_sk_0000000000000000000000000000verify"), 401)


@group.decision("malformed-json", "A body that is no JSON is a 400.", "Part A, Errors")
def malformed_json(bench: Context) -> None:
    path, headers = f"/sandboxes/{bench.box}/exec", {"Content-Type": "application/json"}
    refused(bench.post(path, content=b'{"command": ', headers=headers), 400)


@group.decision("wrong-type", "A value of a wrong type is a 400 that names the field.", "Part A, Errors")
def wrong_type(bench: Context) -> None:
    answer = bench.post(f"/sandboxes/{bench.box}/exec", json={"command": 7})
    refused(answer, 400)
    says(answer, "command")


@group.decision("out-of-range", "A number out of range is a 400 that names the field.", "Part A, Errors")
def out_of_range(bench: Context) -> None:
    answer = bench.create(cpus=99)
    refused(answer, 400)
    says(answer, "cpus")


@group.decision("missing-field", "A body without what it needs is a 400 that names the field.", "Part A, Errors")
def missing_field(bench: Context) -> None:
    answer = bench.post(f"/sandboxes/{bench.box}/exec", json={})
    refused(answer, 400)
    says(answer, "command")


@group.decision("too-large", "A body over 10 MiB is a 413.", "Part A, Errors")
def too_large(bench: Context) -> None:
    refused(bench.post(f"/sandboxes/{bench.box}/exec", content=b" " * (10 * _MIB + 1)), 413)


@group.contract("sandbox-not-found", "An unknown sandbox is a 404 that says so.", "wire-contract 3.1")
def sandbox_not_found(bench: Context) -> None:
    answer = bench.get("/sandboxes/caged-verify-nobody")
    refused(answer, 404)
    holds("a text", detail_of(answer), "sandbox not found")


def _second(bench: Context) -> str:
    if not bench.second_key:
        raise Unchecked("needs a key of another account; give --second-api-key")
    return bench.second_key


@group.decision("foreign-sandbox", "Another account's sandbox is a 404, never a 403.", "Part A, Auth")
def foreign_sandbox(bench: Context) -> None:
    refused(bench.get(f"/sandboxes/{bench.box}", key=_second(bench)), 404)


@group.decision("foreign-exec", "Nobody runs a command in another account's sandbox.", "Part A, Auth")
def foreign_exec(bench: Context) -> None:
    path = f"/sandboxes/{bench.box}/exec"
    refused(bench.post(path, key=_second(bench), json={"command": "true"}), 404)


@group.contract("foreign-list", "A list of sandboxes has the account's own only.", "platform-behaviour B1")
def foreign_list(bench: Context) -> None:
    answer = bench.get("/sandboxes", key=_second(bench))
    status(answer, 200)
    true(f'"{bench.box}"' not in answer.text, "not the other account's sandbox", bench.box)


@group.decision("foreign-delete", "Another account cannot destroy a sandbox.", "Part A, Auth")
def foreign_delete(bench: Context) -> None:
    refused(bench.delete(f"/sandboxes/{bench.box}", key=_second(bench)), 404)


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
    def look(bench: Context) -> None:
        options: dict[str, Any] = {} if body is None else {"json": body}
        answer = bench.wire.request(method, path, **options)
        refused(answer, 404)
        true(answer.text.strip() != "404 page not found", "the resource's own 404", "the router's: no such route")


for _one in _UNKNOWN:
    _unknown(*_one)
