"""The account, its API keys and their scopes. A few keys are created, and revoked."""

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
from ..terminal_screen import terminal_path

group = Group("account")


def _create_key(context: Context, scope: str) -> httpx.Response:
    """Create a key that is revoked at the end, or skip the check. Returns the answer."""
    answer = context.post("/account/keys", json={"name": context.unique_name(), "scope": scope})
    if "plan_limit_reached" in answer.text:
        raise SkipCheck("the plan allows no more API keys; revoke one to have these checked")
    body = context.require_json(answer, "creating a key")
    info = body.get("info") if isinstance(body, dict) else None
    if isinstance(info, dict):
        context.add_cleanup("DELETE", _key_path(info), f"key {info.get('name')}")
    return answer


def _key_path(info: dict[str, Any]) -> str:
    return f"/account/keys/{path_segment(str(info.get('id')))}"


def create_shared_key(context: Context, scope: str = "full") -> httpx.Response:
    """Create a key once for each scope, and return the answer."""
    return context.shared(f"a key of scope {scope}", lambda: _create_key(context, scope))


def _read_only_key(context: Context) -> str:
    return str(create_shared_key(context, "read_only").json().get("key"))


def _create_sandbox_read_only(context: Context) -> httpx.Response:
    fields = {"template": "minimal", "init_script": context.label}
    return context.post("/sandboxes", key=_read_only_key(context), json=fields)


@group.contract("get", "The account has id, email, name, tier and email_verified.", "wire-contract 3.5")
def get(context: Context) -> None:
    read_object(context.get("/account"), ACCOUNT)


@group.contract("keys", "API keys have name, prefix and scope.", "wire-contract 3.5")
def keys(context: Context) -> None:
    assert_true(read_array(context.get("/account/keys"), KEY), "at least the key in use", "none")


@group.contract(
    "create-key", "Creating a key returns 201 with the secret and the key's description.", "wire-contract 3.5"
)
def create_key(context: Context) -> None:
    answer = create_shared_key(context)
    assert_status(answer, 201)
    read_object(answer, CREATED_KEY)


@group.contract("key-form", "A secret begins with caged_sk_, and the prefix is its beginning.", "wire-contract 3.5")
def key_form(context: Context) -> None:
    created = read_object(create_shared_key(context))
    secret = created.get("key")
    assert_matches("key", secret, r"caged_sk_\S+")
    prefix = created["info"].get("prefix")
    assert_true(prefix and str(secret).startswith(prefix) and prefix != secret, "a prefix of the secret", repr(prefix))


@group.contract("key-scope", "A created key has the requested scope.", "wire-contract 3.5")
def key_scope(context: Context) -> None:
    scopes = [read_object(create_shared_key(context, scope))["info"].get("scope") for scope in ("full", "read_only")]
    assert_equal("scopes", scopes, ["full", "read_only"])


@group.contract("key-shown-once", "The secret of a key is not in the list of keys.", "wire-contract 3.5")
def key_shown_once(context: Context) -> None:
    secret = str(create_shared_key(context).json().get("key"))
    answer = context.get("/account/keys")
    assert_status(answer, 200)
    assert_true(secret not in answer.text, "a list without secrets", "the secret is in it")


@group.contract("key-works", "A created key works immediately.", "wire-contract 3.5")
def key_works(context: Context) -> None:
    assert_status(context.get("/sandboxes", key=_read_only_key(context)), 200)


@group.contract(
    "read-only-refused", "Creating a sandbox with a read-only key returns 403 with an explanation.", "wire-contract 3.1"
)
def read_only_refused(context: Context) -> None:
    answer = _create_sandbox_read_only(context)
    assert_error(answer, 403)
    assert_detail_contains(answer, "read")


@group.decision("read-only-reason", "The reason for rejecting a read-only key is read_only_key.", "Part A, Auth")
def read_only_reason(context: Context) -> None:
    answer = _create_sandbox_read_only(context)
    assert_status(answer, 403)
    assert_reason(answer, "read_only_key")


@group.decision("read-only-exec", "Running a command with a read-only key returns 403.", "Part A, Auth")
def read_only_exec(context: Context) -> None:
    path = f"/sandboxes/{context.sandbox_id}/exec"
    assert_error(context.post(path, key=_read_only_key(context), json={"command": "true"}), 403)


@group.decision("read-only-write", "Writing a file with a read-only key returns 403.", "Part A, Auth")
def read_only_write(context: Context) -> None:
    path = context.files_path("/content")
    assert_error(context.put(path, key=_read_only_key(context), params={"path": "x"}, json={"content": ""}), 403)


@group.decision(
    "read-only-terminal", "Opening a terminal with a read-only key returns 403 before the upgrade.", "Part A, Auth"
)
def read_only_terminal(context: Context) -> None:
    assert_status(context.client.handshake(terminal_path(context), _read_only_key(context), "terminal"), 403)


@group.contract("last-used", "last_used is null until the key is used.", "wire-contract 3.5")
def last_used(context: Context) -> None:
    assert_equal("last_used", read_object(create_shared_key(context))["info"].get("last_used"), None)


@group.decision("bad-scope", "An unknown scope returns 400.", "Part A, Errors")
def bad_scope(context: Context) -> None:
    answer = context.post("/account/keys", json={"name": context.unique_name(), "scope": "caged-verify-none"})
    if answer.status_code < 300:
        context.add_cleanup("DELETE", _key_path(answer.json()["info"]), "a key of an unknown scope")
    assert_error(answer, 400)


def _revoke_key(context: Context) -> dict[str, httpx.Response]:
    """Create a key, use it, revoke it, and use it again. Done once.

    Returns:
        The answers to revoking the key (`delete`) and to using it afterwards (`use`).
    """

    def make() -> dict[str, httpx.Response]:
        created = _create_key(context, "full").json()
        context.require_success(context.get("/account", key=created["key"]), "using the new key")
        return {
            "delete": context.delete(_key_path(created["info"])),
            "use": context.get("/account", key=created["key"]),
        }

    return context.shared("a revoked key", make)


@group.contract("revoke-204", "Revoking a key returns 204 with an empty body.", "wire-contract 3.5")
def revoke_204(context: Context) -> None:
    assert_no_content(_revoke_key(context)["delete"])


@group.contract("revoked-401", "A revoked key returns 401.", "platform-behaviour B3")
def revoked_401(context: Context) -> None:
    assert_error(_revoke_key(context)["use"], 401)


@group.contract("logins", "Dashboard logins have user agent, IP address and expiry time.", "wire-contract 3.5")
def logins(context: Context) -> None:
    read_array(context.get("/account/sessions"), LOGIN)


@group.contract("tier", "The tier is the name of a plan.", "wire-contract 3.5")
def tier(context: Context) -> None:
    assert_matches("tier", read_object(context.get("/account"), ACCOUNT)["tier"], "free|pro|team|enterprise")
