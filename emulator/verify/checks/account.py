"""The account, its keys and what they may do. A full and a read-only key are made, and revoked."""

from __future__ import annotations

from typing import Any

import httpx

from ..assertions import (
    assert_detail_contains,
    assert_equal,
    assert_error,
    assert_matches,
    assert_no_content,
    assert_reason,
    assert_status,
    assert_true,
    read_array,
    read_object,
)
from ..check import Group
from ..context import Context
from ..errors import SkipCheck
from ..raw_client import path_segment
from ..shapes import ACCOUNT, CREATED_KEY, KEY, LOGIN

group = Group("account")


def _made(context: Context, scope: str) -> httpx.Response:
    """The answer to making a key; one of each scope is made."""

    def make() -> httpx.Response:
        answer = context.post("/account/keys", json={"name": context.unique_name(), "scope": scope})
        if "plan_limit_reached" in answer.text:
            raise SkipCheck("the plan allows no more API keys; revoke one to have these checked")
        found = context.require_json(answer, "making a key")
        info = found.get("info") if isinstance(found, dict) else None
        if isinstance(info, dict):
            context.add_cleanup(
                "DELETE", f"/account/keys/{path_segment(str(info.get('id')))}", f"key {info.get('name')}"
            )
        return answer

    return context.shared(f"a key of scope {scope}", make)


def created(context: Context) -> httpx.Response:
    """The answer to making the shared key of scope `full`."""
    return _made(context, "full")


def _read_only(context: Context) -> str:
    return str(_made(context, "read_only").json().get("key"))


@group.contract("get", "The account has id, email, name, tier and whether its mail is verified.", "wire-contract 3.5")
def get(context: Context) -> None:
    read_object(context.get("/account"), ACCOUNT)


@group.contract("keys", "The keys have name, prefix and scope.", "wire-contract 3.5")
def keys(context: Context) -> None:
    assert_true(read_array(context.get("/account/keys"), KEY), "at least the key in use", "none")


@group.contract("create-key", "A new key is a 201 with the secret and what it is.", "wire-contract 3.5")
def create_key(context: Context) -> None:
    answer = _made(context, "full")
    assert_status(answer, 201)
    read_object(answer, CREATED_KEY)


@group.contract("key-form", "A secret begins with caged_sk_, and its prefix is its beginning.", "wire-contract 3.5")
def key_form(context: Context) -> None:
    made = read_object(_made(context, "full"))
    secret = made.get("key")
    assert_matches("key", secret, r"caged_sk_\S+")
    prefix = made["info"].get("prefix")
    assert_true(prefix and str(secret).startswith(prefix) and prefix != secret, "a prefix of the secret", repr(prefix))


@group.contract("key-scope", "A new key has the scope that was asked for.", "wire-contract 3.5")
def key_scope(context: Context) -> None:
    scopes = [read_object(_made(context, scope))["info"].get("scope") for scope in ("full", "read_only")]
    assert_equal("scopes", scopes, ["full", "read_only"])


@group.contract("key-shown-once", "The secret of a key is never shown again.", "wire-contract 3.5")
def key_shown_once(context: Context) -> None:
    secret = str(_made(context, "full").json().get("key"))
    answer = context.get("/account/keys")
    assert_status(answer, 200)
    assert_true(secret not in answer.text, "a list without secrets", "the secret is in it")


@group.contract("key-works", "A new key is good at once.", "wire-contract 3.5")
def key_works(context: Context) -> None:
    assert_status(context.get("/sandboxes", key=_read_only(context)), 200)


@group.contract("read-only-refused", "A read-only key that creates is a 403 that says why.", "wire-contract 3.1")
def read_only_refused(context: Context) -> None:
    answer = context.post(
        "/sandboxes", key=_read_only(context), json={"template": "minimal", "init_script": context.label}
    )
    assert_error(answer, 403)
    assert_detail_contains(answer, "read")


@group.decision("read-only-reason", "The reason is read_only_key.", "Part A, Auth")
def read_only_reason(context: Context) -> None:
    answer = context.post(
        "/sandboxes", key=_read_only(context), json={"template": "minimal", "init_script": context.label}
    )
    assert_status(answer, 403)
    assert_reason(answer, "read_only_key")


@group.decision("read-only-exec", "A read-only key runs no command.", "Part A, Auth")
def read_only_exec(context: Context) -> None:
    path = f"/sandboxes/{context.sandbox_id}/exec"
    assert_error(context.post(path, key=_read_only(context), json={"command": "true"}), 403)


@group.decision("read-only-write", "A read-only key writes no file.", "Part A, Auth")
def read_only_write(context: Context) -> None:
    path = context.files_path("/content")
    assert_error(context.put(path, key=_read_only(context), params={"path": "x"}, json={"content": ""}), 403)


@group.decision("read-only-terminal", "A read-only key opens no terminal: 403 before the upgrade.", "Part A, Auth")
def read_only_terminal(context: Context) -> None:
    path = f"/sandboxes/{context.sandbox_id}/terminal?rows=24&cols=80"
    assert_status(context.client.handshake(path, _read_only(context), "terminal"), 403)


@group.contract("last-used", "last_used is null until a key is used.", "wire-contract 3.5")
def last_used(context: Context) -> None:
    assert_equal("last_used", read_object(_made(context, "full"))["info"].get("last_used"), None)


@group.decision("bad-scope", "A scope that does not exist is a 400.", "Part A, Errors")
def bad_scope(context: Context) -> None:
    answer = context.post("/account/keys", json={"name": context.unique_name(), "scope": "caged-verify-none"})
    if answer.status_code < 300:
        found = answer.json()
        context.add_cleanup(
            "DELETE", f"/account/keys/{path_segment(str(found['info']['id']))}", "a key of an unknown scope"
        )
    assert_error(answer, 400)


def _revoked(context: Context) -> dict[str, Any]:
    """What came of making a key, revoking it, and using it."""

    def make() -> dict[str, Any]:
        answer = context.post("/account/keys", json={"name": context.unique_name(), "scope": "full"})
        if "plan_limit_reached" in answer.text:
            raise SkipCheck("the plan allows no more API keys; revoke one to have these checked")
        made = context.require_json(answer, "making a key")
        path = f"/account/keys/{path_segment(str(made['info']['id']))}"
        context.add_cleanup("DELETE", path, f"key {made['info']['id']}")
        context.require_success(context.get("/account", key=made["key"]), "using the new key")
        return {"delete": context.delete(path), "use": context.get("/account", key=made["key"])}

    return context.shared("a revoked key", make)


@group.contract("revoke-204", "Revoking a key answers 204 and nothing.", "wire-contract 3.5")
def revoke_204(context: Context) -> None:
    assert_no_content(_revoked(context)["delete"])


@group.contract("revoked-401", "A revoked key is a 401.", "platform-behaviour B3")
def revoked_401(context: Context) -> None:
    assert_error(_revoked(context)["use"], 401)


@group.contract("logins", "Dashboard logins have user agent, ip and when they end.", "wire-contract 3.5")
def logins(context: Context) -> None:
    read_array(context.get("/account/sessions"), LOGIN)


@group.contract("tier", "The tier is a plan's name.", "wire-contract 3.5")
def tier(context: Context) -> None:
    assert_matches("tier", read_object(context.get("/account"), ACCOUNT)["tier"], "free|pro|team|enterprise")
