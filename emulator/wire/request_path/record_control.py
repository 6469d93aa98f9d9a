"""Record a call that changes a control, such as a fault or the clock, as a step."""

from __future__ import annotations

import json
from typing import Any

from ...control.credentials import redact_credentials
from ...control.current_account import ALL_ACCOUNTS
from ...control.step import set_current
from .exchange import HttpExchange

#: Calls that only look, or whose body is not JSON.
_NOT_RECORDED = ("emulator.import", "emulator.journal.clear")
#: Bytes of a body that are recorded.
BODY_BYTES = 16 * 1024


async def begin(exchange: HttpExchange) -> None:
    """Begin the step of a call that changes something. It belongs to the account that the call names; a call for all
    accounts belongs to none."""
    served = exchange.served
    if exchange.is_read or served.name in _NOT_RECORDED:
        return
    account = _account(exchange)
    body = _body(exchange, account)
    exchange.step = exchange.platform.steps.begin(
        "control",
        f"{_title(exchange, account)}{_moved(served.name, body)}",
        account="" if account == ALL_ACCOUNTS else account,
        parent="",
        operation=served.name,
        path=exchange.platform.journal.redacted_path(account, exchange.record.path),
        body=body,
        all_accounts=account == ALL_ACCOUNTS,
    )
    set_current(exchange.step)


async def finish(exchange: HttpExchange) -> None:
    """End the step with the status of the answer, and with the id of the control that was added."""
    step, response = exchange.step, exchange.response
    if step is None or response is None:
        return
    failed = response.status_code >= 400
    added = "" if failed else _added(getattr(response, "body", b""))
    step.controls = [added] if added and exchange.request.method == "POST" else []
    exchange.platform.steps.finish(step, "error" if failed else "ok", status=response.status_code)


def _account(exchange: HttpExchange) -> str:
    """The id of the account that a call is about: the one of the query, or of what the path names."""
    platform, named = exchange.platform, exchange.id_in_path
    if named and exchange.request.query_params.get("account") in (None, ALL_ACCOUNTS):
        for registry in platform.registries:
            control = registry.get(named)
            if control is not None:
                return str(control.account)
        sandbox = platform.store.sandboxes.get(named)
        if sandbox is not None:
            return sandbox.account_id
    return exchange.account.id


def _title(exchange: HttpExchange, account: str) -> str:
    """The operation in words, with the id that the path names: `faults remove fault_ab12`."""
    name = exchange.served.name.partition(".")[2].replace(".", " ").replace("_", " ")
    named = exchange.platform.journal.redacted_path(account, exchange.id_in_path)
    return f"{name} {named}".strip()


def _moved(operation: str, body: Any) -> str:
    """By how much time a call moves the clock, or to which, to follow its title."""
    given = body if isinstance(body, dict) else {}
    if operation == "emulator.clock.tick" and not given:
        return " by 1 second"
    if operation in ("emulator.clock.tick", "emulator.clock.advance"):
        parts = [
            f"{value:g} {name if value != 1 else name.rstrip('s')}"
            for name, value in given.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value
        ]
        return f" by {', '.join(parts)}" if parts else ""
    if operation == "emulator.clock.freeze" and given.get("at") is not None:
        return f" at {given['at']}"
    return ""


def _body(exchange: HttpExchange, account: str) -> Any:
    """The body, redacted; an empty text where there is none, or where it is too long."""
    raw = exchange.raw_body
    if not raw or len(raw) > BODY_BYTES:
        return "" if not raw else f"({len(raw)} bytes)"
    redactor = exchange.platform.journal.redactor_of(account)
    try:
        return json.loads(redact_credentials(redactor.redact(raw)))
    except ValueError:
        return ""


def _added(body: bytes) -> str:
    if not body.startswith(b"{"):
        return ""
    try:
        return str(json.loads(body).get("id", ""))
    except ValueError:
        return ""
