"""The account, its keys and what they may do. A full and a read-only key are made, and revoked."""

from __future__ import annotations

from typing import Any

import httpx

from ..check import Group, Unchecked
from ..context import Context
from ..expect import an_array, an_object, matches, reason, refused, same, says, status, true
from ..shapes import ACCOUNT, CREATED_KEY, KEY, LOGIN
from ..wire import segment

group = Group("account")


def _made(bench: Context, scope: str) -> httpx.Response:
    """The answer to making a key; one of each scope is made."""

    def make() -> httpx.Response:
        answer = bench.post("/account/keys", json={"name": bench.name(), "scope": scope})
        if "plan_limit_reached" in answer.text:
            raise Unchecked("the plan allows no more API keys; revoke one to have these checked")
        found = bench.needed(answer, "making a key")
        info = found.get("info") if isinstance(found, dict) else None
        if isinstance(info, dict):
            bench.undo("DELETE", f"/account/keys/{segment(str(info.get('id')))}", f"key {info.get('name')}")
        return answer

    return bench.shared(f"a key of scope {scope}", make)


def created(bench: Context) -> httpx.Response:
    """The answer to making the shared key of scope `full`."""
    return _made(bench, "full")


def _read_only(bench: Context) -> str:
    return str(_made(bench, "read_only").json().get("key"))


@group.contract("get", "The account has id, email, name, tier and whether its mail is verified.", "wire-contract 3.5")
def get(bench: Context) -> None:
    an_object(bench.get("/account"), ACCOUNT)


@group.contract("keys", "The keys have name, prefix and scope.", "wire-contract 3.5")
def keys(bench: Context) -> None:
    true(an_array(bench.get("/account/keys"), KEY), "at least the key in use", "none")


@group.contract("create-key", "A new key is a 201 with the secret and what it is.", "wire-contract 3.5")
def create_key(bench: Context) -> None:
    answer = _made(bench, "full")
    status(answer, 201)
    an_object(answer, CREATED_KEY)


@group.contract("key-form", "A secret begins with caged_sk_, and its prefix is its beginning.", "wire-contract 3.5")
def key_form(bench: Context) -> None:
    made = an_object(_made(bench, "full"))
    secret = made.get("key")
    matches("key", secret, r"caged_sk_\S+")
    prefix = made["info"].get("prefix")
    true(prefix and str(secret).startswith(prefix) and prefix != secret, "a prefix of the secret", repr(prefix))


@group.contract("key-scope", "A new key has the scope that was asked for.", "wire-contract 3.5")
def key_scope(bench: Context) -> None:
    scopes = [an_object(_made(bench, scope))["info"].get("scope") for scope in ("full", "read_only")]
    same("scopes", scopes, ["full", "read_only"])


@group.contract("key-shown-once", "The secret of a key is never shown again.", "wire-contract 3.5")
def key_shown_once(bench: Context) -> None:
    secret = str(_made(bench, "full").json().get("key"))
    answer = bench.get("/account/keys")
    status(answer, 200)
    true(secret not in answer.text, "a list without secrets", "the secret is in it")


@group.contract("key-works", "A new key is good at once.", "wire-contract 3.5")
def key_works(bench: Context) -> None:
    status(bench.get("/sandboxes", key=_read_only(bench)), 200)


@group.contract("read-only-refused", "A read-only key that creates is a 403 that says why.", "wire-contract 3.1")
def read_only_refused(bench: Context) -> None:
    answer = bench.post("/sandboxes", key=_read_only(bench), json={"template": "minimal", "init_script": bench.label})
    refused(answer, 403)
    says(answer, "read")


@group.decision("read-only-reason", "The reason is read_only_key.", "Part A, Auth")
def read_only_reason(bench: Context) -> None:
    answer = bench.post("/sandboxes", key=_read_only(bench), json={"template": "minimal", "init_script": bench.label})
    status(answer, 403)
    reason(answer, "read_only_key")


@group.decision("read-only-exec", "A read-only key runs no command.", "Part A, Auth")
def read_only_exec(bench: Context) -> None:
    path = f"/sandboxes/{bench.box}/exec"
    refused(bench.post(path, key=_read_only(bench), json={"command": "true"}), 403)


@group.decision("read-only-write", "A read-only key writes no file.", "Part A, Auth")
def read_only_write(bench: Context) -> None:
    path = bench.files("/content")
    refused(bench.put(path, key=_read_only(bench), params={"path": "x"}, json={"content": ""}), 403)


@group.decision("read-only-terminal", "A read-only key opens no terminal: 403 before the upgrade.", "Part A, Auth")
def read_only_terminal(bench: Context) -> None:
    path = f"/sandboxes/{bench.box}/terminal?rows=24&cols=80"
    status(bench.wire.handshake(path, _read_only(bench), "terminal"), 403)


@group.contract("last-used", "last_used is null until a key is used.", "wire-contract 3.5")
def last_used(bench: Context) -> None:
    same("last_used", an_object(_made(bench, "full"))["info"].get("last_used"), None)


@group.decision("bad-scope", "A scope that does not exist is a 400.", "Part A, Errors")
def bad_scope(bench: Context) -> None:
    answer = bench.post("/account/keys", json={"name": bench.name(), "scope": "caged-verify-none"})
    if answer.status_code < 300:
        found = answer.json()
        bench.undo("DELETE", f"/account/keys/{segment(str(found['info']['id']))}", "a key of an unknown scope")
    refused(answer, 400)


def _revoked(bench: Context) -> dict[str, Any]:
    """What came of making a key, revoking it, and using it."""

    def make() -> dict[str, Any]:
        answer = bench.post("/account/keys", json={"name": bench.name(), "scope": "full"})
        if "plan_limit_reached" in answer.text:
            raise Unchecked("the plan allows no more API keys; revoke one to have these checked")
        made = bench.needed(answer, "making a key")
        path = f"/account/keys/{segment(str(made['info']['id']))}"
        bench.undo("DELETE", path, f"key {made['info']['id']}")
        bench.need(bench.get("/account", key=made["key"]), "using the new key")
        return {"delete": bench.delete(path), "use": bench.get("/account", key=made["key"])}

    return bench.shared("a revoked key", make)


@group.contract("revoke-204", "Revoking a key answers 204 and nothing.", "wire-contract 3.5")
def revoke_204(bench: Context) -> None:
    answer = _revoked(bench)["delete"]
    status(answer, 204)
    same("the body", answer.content, b"")


@group.contract("revoked-401", "A revoked key is a 401.", "platform-behaviour B3")
def revoked_401(bench: Context) -> None:
    refused(_revoked(bench)["use"], 401)


@group.contract("logins", "Dashboard logins have user agent, ip and when they end.", "wire-contract 3.5")
def logins(bench: Context) -> None:
    an_array(bench.get("/account/sessions"), LOGIN)


@group.contract("tier", "The tier is a plan's name.", "wire-contract 3.5")
def tier(bench: Context) -> None:
    matches("tier", an_object(bench.get("/account"), ACCOUNT)["tier"], "free|pro|team|enterprise")
