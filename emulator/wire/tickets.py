"""Tickets for WebSockets: POST /v1/auth/socket-ticket (wire-contract.md 3.11)."""

from __future__ import annotations

from starlette.responses import Response

from ..control.clock import rfc3339
from ..platform.tickets import TICKET_SECONDS
from .operation import Call, EmptyBody, Model, Operations, json_reply

operations = Operations()


class TicketOut(Model):
    ticket: str
    expires_in: int
    expires_at: str


@operations.add("POST", "/v1/auth/socket-ticket", "socket_ticket", reply=TicketOut)
async def mint(call: Call[EmptyBody]) -> Response:
    assert call.key is not None
    ticket = call.platform.tickets.mint(call.key)
    return json_reply(TicketOut(ticket=ticket.secret, expires_in=TICKET_SECONDS, expires_at=rfc3339(ticket.expires)))
