"""A preview forwards an application's credentials to the server in the sandbox, but never the emulator's (Guard 17)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Callable
from urllib.parse import quote

import httpx
import pytest
from cases import each
from net_testing import LONG, SECONDS, RawSite, emulator, site
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import InvalidStatus


@pytest.fixture(params=["API key", "read-only key", "another account's key", "admin key", "session", "ticket"])
def credential(site: RawSite, request: pytest.FixtureRequest) -> Iterator[str]:
    api, emulator = site.api, site.api.emulator
    if request.param == "API key":
        yield api.key
    elif request.param == "read-only key":
        yield api.post("/account/keys", json={"name": "r", "scope": "read_only"}).json()["key"]
    elif request.param == "another account's key":
        yield emulator.api_key
    elif request.param == "admin key":
        yield emulator.admin_key
    elif request.param == "ticket":
        yield api.post("/auth/socket-ticket").json()["ticket"]
    else:
        body = {"email": "visitor@example.com", "password": "correct horse"}
        made = httpx.post(f"{emulator.base_url}/signup", json=body, trust_env=False, verify=False, timeout=60).json()
        yield made["token"]
        emulator.remove_account(made["account"]["id"])


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


#: What a visitor sends: (headers, query) around a credential.
SHAPES: dict[str, Callable[[str], tuple[dict[str, str], str]]] = {
    "bearer": lambda key: ({"Authorization": f"Bearer {key}"}, ""),
    "bearer in odd letters": lambda key: ({"authorization": f"bEaReR   {key}"}, ""),
    "bare": lambda key: ({"Authorization": key}, ""),
    "basic password": lambda key: ({"Authorization": basic(f"user:{key}")}, ""),
    "basic user": lambda key: ({"Authorization": basic(f"{key}:")}, ""),
    "header of its own": lambda key: ({"X-API-Key": key}, ""),
    "cookie": lambda key: ({"Cookie": f"a=b; caged={key}; c=d"}, ""),
    "only cookie": lambda key: ({"Cookie": f"token={key}"}, ""),
    "quoted cookie": lambda key: ({"Cookie": f'token="{key}"'}, ""),
    "referrer": lambda key: ({"Referer": f"http://localhost/v1/x?token={key}&a=b"}, ""),
    "query": lambda key: ({}, f"a=b&token={key}&c=d"),
    "encoded query": lambda key: ({}, f"token={''.join(f'%{ord(letter):02x}' for letter in key)}"),
    "query without a name": lambda key: ({}, quote(key)),
    "referrer's path": lambda key: ({"Referer": f"http://localhost/x/{key}/y"}, ""),
    "brackets": lambda key: ({"X-Keys": f"[{key}]|{{{key}}}"}, ""),
    "part of a token": lambda key: ({"X-Token": f"v1.{key}.signature"}, ""),
    "behind a letter": lambda key: ({"X-Token": f"k{key}"}, ""),
    "encoded twice": lambda key: ({"X-Next": quote(quote(f"/?k={key}", safe=""), safe="")}, ""),
    "name of a header": lambda key: ({key: "1"}, ""),
    "path in a query": lambda key: ({}, f"next=/x/{key}/y"),
    "everywhere": lambda key: ({"Authorization": f"Bearer {key}", "Cookie": f"k={key}"}, f"api_key={key}"),
}


def seen(site: RawSite, headers: dict[str, str], query: str) -> str:
    """Return the head of the request as the server in the sandbox received it."""
    url = f"{site.url}/seen/{'?' if query else ''}{query}"
    answer = httpx.get(url, headers=headers, trust_env=False, verify=False, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    return answer.text


@each("shape", SHAPES if LONG else ("bearer", "basic password", "cookie", "query", "everywhere"))
def test_emulator_credential_is_not_forwarded(site: RawSite, credential: str, shape: str) -> None:
    headers, query = SHAPES[shape](credential)
    head = seen(site, headers, query)
    for written in (credential, base64.b64encode(credential.encode()).decode()[:12], quote(credential)):
        assert written.lower() not in head.lower()
    if shape == "encoded query":
        assert "%" not in head
    if shape.startswith("basic"):
        assert "authorization" not in head.lower()
    if shape == "cookie":
        assert "cookie: a=b; c=d" in head.lower()
    if shape == "query":
        assert "/seen/?a=b&c=d HTTP" in head


@each("shape", SHAPES)
def test_key_in_any_encoding_is_not_forwarded(site: RawSite, shape: str) -> None:
    headers, query = SHAPES[shape](site.api.key)
    assert site.api.key.lower() not in seen(site, headers, query).lower()


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Authorization": "Bearer mine"}, ""),
        ({"Authorization": "Bearer caged_sk_of_another_emulator"}, ""),
        ({"Authorization": basic("user:password")}, ""),
        ({"X-API-Key": "caged"}, ""),
        ({"Cookie": "session=abc; theme=dark"}, ""),
        ({}, "token=mine&x=%20y&empty=&flag"),
        ({"Authorization": "Basic \xa7"}, "a=%ff"),
    ],
)
def test_application_credentials_are_forwarded(site: RawSite, headers: dict[str, str], query: str) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = httpx.get(
        f"{site.url}/seen/{'?' if query else ''}{query}", headers=sent, trust_env=False, verify=False, timeout=60
    )
    for value in sent.values():
        assert value in answer.content
    assert query.encode() in answer.content


def test_key_is_not_forwarded_in_websocket_handshake(site: RawSite) -> None:
    """The key is in a header, in the query and in the subprotocol."""
    key = site.api.key

    async def ask() -> bytes:
        with pytest.raises(InvalidStatus) as caught:
            await open_socket(
                f"{site.url.replace('http://', 'ws://')}/seen/?token={key}&a=b",
                proxy=None,
                additional_headers={"Authorization": f"Bearer {key}"},
                subprotocols=["terminal", key],  # type: ignore[list-item]
            )
        return bytes(caught.value.response.body or b"")

    head = asyncio.run(ask())
    assert head.startswith(b"GET /seen/?a=b HTTP/1.1")
    assert key.encode() not in head
    assert b"terminal" in head
