"""Tickets: what opens a socket."""

from __future__ import annotations

from ..assertions import assert_equal, assert_error, assert_matches, assert_status, read_object
from ..check import Group
from ..context import Context
from ..shapes import TICKET

group = Group("tickets")


def _path(context: Context) -> str:
    return f"/sandboxes/{context.sandbox_id}/terminal?rows=24&cols=80"


@group.contract("mint", "A ticket has the seconds that it lives, 60, and when it ends.", "wire-contract 3.11")
def mint(context: Context) -> None:
    answer = context.post("/auth/socket-ticket")
    assert_status(answer, 200)
    assert_equal("expires_in", read_object(answer, TICKET)["expires_in"], 60)


@group.contract("form", "A ticket looks like caged_wst_<x>.<y>.", "wire-contract 3.11")
def form(context: Context) -> None:
    assert_matches("ticket", read_object(context.post("/auth/socket-ticket")).get("ticket"), r"caged_wst_[^.]+\.\S+")


@group.contract("single-use", "A ticket opens one socket.", "wire-contract 3.11")
def single_use(context: Context) -> None:
    ticket = context.ticket()
    with context.socket("terminal", "?rows=24&cols=80", token=ticket):
        pass
    answer = context.client.handshake(_path(context), ticket, "terminal")
    assert_status(answer, 401, 403)


@group.contract("sockets-only", "A ticket is no API key.", "wire-contract 3.11")
def sockets_only(context: Context) -> None:
    assert_error(context.get("/sandboxes", key=context.ticket()), 401)


@group.contract("api-key", "An API key opens a socket too.", "wire-contract 4.1")
def api_key(context: Context) -> None:
    with context.socket("terminal", "?rows=24&cols=80", token=context.client.api_key):
        pass


@group.decision("bad-token", "A token that nobody has is a 401 before the upgrade.", "Part A, Sockets")
def bad_token(context: Context) -> None:
    assert_status(context.client.handshake(_path(context), "caged_wst_no.body", "terminal"), 401)


@group.decision("foreign-origin", "A page of another site opens no socket: 403 before the upgrade.", "Part A, Sockets")
def foreign_origin(context: Context) -> None:
    answer = context.client.handshake(
        _path(context), context.ticket(), "terminal", origin="https://caged-verify.example"
    )
    assert_status(answer, 403)


@group.decision("unknown-sandbox", "A socket of an unknown sandbox is a 404 before the upgrade.", "Part A, Sockets")
def unknown_sandbox(context: Context) -> None:
    path = "/sandboxes/nobody/terminal?rows=24&cols=80"
    assert_status(context.client.handshake(path, context.ticket(), "terminal"), 404)
