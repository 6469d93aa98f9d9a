"""Parse what a request carries: its body, and its query as far as operations do not read it themselves."""

from __future__ import annotations

from collections.abc import Iterator

from ...platform.errors import invalid
from ..bodies import UNKNOWN_NAMED, parse_and_redact, parse_body, unknown_keys
from ..value_errors import NAME_CHARACTERS
from .exchange import HttpExchange


async def parse(exchange: HttpExchange) -> None:
    """Parse the body of a platform's operation, which ignores what it does not know; the journal gets a warning."""
    journal = exchange.platform.journal
    body = parse_and_redact(exchange.raw_body, exchange.served, journal, exchange.account.id)
    if body.model_extra:
        exchange.record.warnings += unknown_keys(body)
    exchange.record.warnings += _ignored_parts(exchange)
    exchange.body = body


async def parse_strictly(exchange: HttpExchange) -> None:
    """Parse the body of an admin call, which rejects unknown keys."""
    exchange.body = parse_body(exchange.raw_body, exchange.served, unknown_keys=False)


async def check_query(exchange: HttpExchange) -> None:
    """Reject an unknown query parameter of an admin call, and one that is given twice, with 400."""
    known = exchange.served.query
    seen: set[str] = set()
    for name, _ in exchange.request.query_params.multi_items():
        if name not in known:
            raise invalid(f"{name}: is not a query parameter of this call; known are {', '.join(known)}")
        if name in seen:
            raise invalid(f"{name}: is given more than once; send one request for each value")
        seen.add(name)


async def check_no_body(exchange: HttpExchange) -> None:
    """Reject a body of an admin call that takes none, with 400: its keys would have no effect."""
    if exchange.served.body is not None or exchange.served.upload:
        return
    start = b""
    async for chunk in exchange.request.stream():
        start = (start + chunk.strip())[:3]
    if start not in (b"", b"{}"):
        raise invalid("the call takes no body; an account is named in the query: ?account=ID, or * for all")


def _ignored_parts(exchange: HttpExchange) -> Iterator[str]:
    """A warning for each unknown query parameter, and for a body where the operation takes none."""
    request, served = exchange.request, exchange.served
    if request.scope["query_string"]:
        known = f"known: {', '.join(served.query)}" if served.query else "the call has none"
        names = [name[:NAME_CHARACTERS] for name in request.query_params if name not in served.query]
        for name in names[:UNKNOWN_NAMED]:
            yield f"unknown query parameter {name!r} is ignored ({known})"
    if served.body is None and not served.upload:
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > len("{}"):
            yield "the body is ignored: the call takes none"
