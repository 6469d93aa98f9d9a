"""Record a request as a step: of the account's trace, with all that it causes below it."""

from __future__ import annotations

import re

from ...control.steps import StepStatus, one_line, set_current
from .exchange import SANDBOX_PATHS, Exchange, HttpExchange

#: The header by which a client says which of its spans a request belongs to (W3C Trace Context): the span's id.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-([0-9a-f]{16})-[0-9a-f]{2}\Z")


def begin(exchange: Exchange) -> None:
    """Begin the step of a request, for no account yet. Its title has no query, which may hold a credential."""
    record = exchange.record
    path = exchange.platform.journal.shown_path("", record.path)
    found = _TRACEPARENT.match(exchange.connection.headers.get("traceparent", ""))
    exchange.step = exchange.platform.steps.begin(
        "request",
        f"{record.method} {path}",
        account="",
        sandbox=record.sandbox or (exchange.id_in_path if path.startswith(SANDBOX_PATHS) else ""),
        parent=found[1] if found else "",
        method=record.method,
        path=path,
        operation=record.operation,
    )
    set_current(exchange.step)


def assign(exchange: Exchange) -> None:
    """Move the step to the account of the request, before anything else is recorded."""
    step = exchange.step
    if step is not None:
        step.detail["path"] = exchange.platform.journal.shown_path(exchange.account.id, exchange.record.path)
        step.title = one_line(f"{exchange.record.method} {step.detail['path']}")
        step.sandbox = exchange.platform.journal.shown_path(exchange.account.id, step.sandbox)
        exchange.platform.steps.assign(step, exchange.account.id)


def finish(exchange: HttpExchange) -> None:
    """End the step of a request with what the journal shows of it."""
    record, step = exchange.record, exchange.step
    if step is None:
        return
    step.title = one_line(f"{record.method} {record.path}")
    step.controls = [record.fault] if record.fault else []
    status: StepStatus = "ok" if 100 <= record.status < 400 else "error"
    exchange.platform.steps.finish(
        step,
        status,
        path=record.path,
        query=record.query,
        status=record.status,
        request=record.request,
        response=record.response,
        warnings=list(record.warnings),
    )


def finish_socket(exchange: Exchange) -> None:
    """End the step of a WebSocket. Its query, which holds a credential, is not recorded."""
    record, step = exchange.record, exchange.step
    if step is not None:
        step.controls = [record.fault] if record.fault else []
        exchange.platform.steps.finish(step, "ok" if record.status == 101 else "error", status=record.status)


def abandon(exchange: Exchange) -> None:
    """End the step of a request whose handling was cancelled."""
    if exchange.step is not None and exchange.step.status == "running":
        exchange.platform.steps.finish(exchange.step, "error", error="it was cancelled")
