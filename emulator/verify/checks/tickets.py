"""Tickets: what opens a socket."""

from __future__ import annotations

from ..check import Group
from ..context import Context
from ..expect import an_object, matches, refused, same, status
from ..shapes import TICKET

group = Group("tickets")


def _path(bench: Context) -> str:
    return f"/sandboxes/{bench.box}/terminal?rows=24&cols=80"


@group.contract("mint", "A ticket has the seconds that it lives, 60, and when it ends.", "wire-contract 3.11")
def mint(bench: Context) -> None:
    answer = bench.post("/auth/socket-ticket")
    status(answer, 200)
    same("expires_in", an_object(answer, TICKET)["expires_in"], 60)


@group.contract("form", "A ticket looks like caged_wst_<x>.<y>.", "wire-contract 3.11")
def form(bench: Context) -> None:
    matches("ticket", an_object(bench.post("/auth/socket-ticket")).get("ticket"), r"caged_wst_[^.]+\.\S+")


@group.contract("single-use", "A ticket opens one socket.", "wire-contract 3.11")
def single_use(bench: Context) -> None:
    ticket = bench.ticket()
    with bench.socket("terminal", "?rows=24&cols=80", token=ticket):
        pass
    answer = bench.wire.handshake(_path(bench), ticket, "terminal")
    status(answer, 401, 403)


@group.contract("sockets-only", "A ticket is no API key.", "wire-contract 3.11")
def sockets_only(bench: Context) -> None:
    refused(bench.get("/sandboxes", key=bench.ticket()), 401)


@group.contract("api-key", "An API key opens a socket too.", "wire-contract 4.1")
def api_key(bench: Context) -> None:
    with bench.socket("terminal", "?rows=24&cols=80", token=bench.wire.key):
        pass


@group.decision("bad-token", "A token that nobody has is a 401 before the upgrade.", "Part A, Sockets")
def bad_token(bench: Context) -> None:
    status(bench.wire.handshake(_path(bench), "caged_wst_no.body", "terminal"), 401)


@group.decision("foreign-origin", "A page of another site opens no socket: 403 before the upgrade.", "Part A, Sockets")
def foreign_origin(bench: Context) -> None:
    answer = bench.wire.handshake(_path(bench), bench.ticket(), "terminal", origin="https://caged-verify.example")
    status(answer, 403)


@group.decision("unknown-sandbox", "A socket of an unknown sandbox is a 404 before the upgrade.", "Part A, Sockets")
def unknown_sandbox(bench: Context) -> None:
    path = "/sandboxes/nobody/terminal?rows=24&cols=80"
    status(bench.wire.handshake(path, bench.ticket(), "terminal"), 404)
