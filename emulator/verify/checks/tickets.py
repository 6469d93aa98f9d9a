"""Socket tickets."""

from __future__ import annotations

from ..assertions import assert_equal, assert_error, assert_matches, assert_status, read_object
from ..check import Group
from ..context import Context
from ..shapes import TICKET
from ..terminal_screen import TERMINAL_QUERY, terminal_path

group = Group("tickets")


@group.contract("mint", "A ticket has its lifetime, 60 seconds, and its expiry time.", "wire-contract 3.11")
def mint(context: Context) -> None:
    answer = context.post("/auth/socket-ticket")
    assert_status(answer, 200)
    assert_equal("expires_in", read_object(answer, TICKET)["expires_in"], 60)


@group.contract("form", "A ticket has the form caged_wst_<x>.<y>.", "wire-contract 3.11")
def form(context: Context) -> None:
    assert_matches("ticket", read_object(context.post("/auth/socket-ticket")).get("ticket"), r"caged_wst_[^.]+\.\S+")


@group.contract("single-use", "A ticket opens one socket only.", "wire-contract 3.11")
def single_use(context: Context) -> None:
    ticket = context.ticket()
    with context.socket("terminal", TERMINAL_QUERY, token=ticket):
        pass
    answer = context.client.handshake(terminal_path(context), ticket, "terminal")
    assert_status(answer, 401, 403)


@group.contract("sockets-only", "A ticket is not accepted as an API key.", "wire-contract 3.11")
def sockets_only(context: Context) -> None:
    assert_error(context.get("/sandboxes", key=context.ticket()), 401)


@group.contract("api-key", "An API key opens a socket, too.", "wire-contract 4.1")
def api_key(context: Context) -> None:
    with context.socket("terminal", TERMINAL_QUERY, token=context.client.api_key):
        pass


@group.decision("bad-token", "An unknown token returns 401 before the upgrade.", "Part A, Sockets")
def bad_token(context: Context) -> None:
    assert_status(context.client.handshake(terminal_path(context), "caged_wst_un.known", "terminal"), 401)


@group.decision(
    "foreign-origin", "A handshake with the Origin of another site returns 403 before the upgrade.", "Part A, Sockets"
)
def foreign_origin(context: Context) -> None:
    answer = context.client.handshake(
        terminal_path(context), context.ticket(), "terminal", origin="https://caged-verify.example"
    )
    assert_status(answer, 403)


@group.decision("unknown-sandbox", "A socket of an unknown sandbox returns 404 before the upgrade.", "Part A, Sockets")
def unknown_sandbox(context: Context) -> None:
    path = f"/sandboxes/unknown/terminal{TERMINAL_QUERY}"
    assert_status(context.client.handshake(path, context.ticket(), "terminal"), 404)
