"""Find out which account a request is for, by its credential."""

from __future__ import annotations

import secrets

from ...control.current_account import OWNER_HEADER, act_for, set_owner
from ...platform.errors import ApiError
from . import journal
from .exchange import UNAUTHENTICATED, HttpExchange, SocketExchange

#: Characters of an owner's name that are kept.
OWNER_CHARACTERS = 200


async def by_api_key(exchange: HttpExchange) -> None:
    """Select the account of the API key or session token. A public operation needs none; it may have an owner."""
    platform, served = exchange.platform, exchange.served
    if served.owner is not None:
        exchange.account = served.owner(platform, exchange.id_in_path) or UNAUTHENTICATED
        act_for(exchange.account.id)
    elif not served.public:
        exchange.account, exchange.key = platform.accounts.authenticate(_bearer(exchange))
    if exchange.account.id:
        journal.assign(exchange)


async def by_ticket(exchange: SocketExchange) -> None:
    """Select the account of the ticket or API key in the query of a WebSocket's URL."""
    token = exchange.socket.query_params.get("token", "")
    exchange.account, exchange.key = exchange.platform.tickets.admit(token)
    journal.assign(exchange)


async def by_admin_key(exchange: HttpExchange) -> None:
    """Check the admin key."""
    if not secrets.compare_digest(_bearer(exchange).encode(), exchange.platform.admin_key.encode()):
        raise ApiError(401, "not the admin key; `caged-emulator serve` prints it, and --admin-key sets it")


async def select_account(exchange: HttpExchange) -> None:
    """Select the account that `?account=` names in an admin call, and the owner of what it adds."""
    set_owner(exchange.request.headers.get(OWNER_HEADER, "")[:OWNER_CHARACTERS])
    exchange.account = exchange.platform.accounts.administered(exchange.request.query_params.get("account"))


def _bearer(exchange: HttpExchange) -> str:
    scheme, _, secret = exchange.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise ApiError(401, "no API key: send `Authorization: Bearer <key>`")
    return secret.strip()
