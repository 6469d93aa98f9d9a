"""Record a request as a step: of the account's trace, with all that it causes below it."""

from __future__ import annotations

import json
from typing import Any, Union

from ...control.credentials import redact_credentials
from ...control.step import Step, StepStatus, set_current, title_of
from ...control.trace_context import parse_traceparent
from .errors import CLIENT_CLOSED_REQUEST
from .exchange import SANDBOX_PATHS, Exchange, HttpExchange

#: In the answer of a command that could not be run.
_MAY_BE_ERROR = '"exit_code":-1,"error":'


def begin(exchange: Exchange) -> None:
    """Begin the step of a request. It is added when its account is known, or when the request ends without one. Its
    title has no query, which may hold a credential."""
    record = exchange.record
    found = parse_traceparent(exchange.connection.headers.getlist("traceparent"))
    exchange.step = exchange.platform.steps.begin(
        "request",
        record.method,
        account="",
        at=record.at,
        is_assigned=False,
        sandbox=record.sandbox or (exchange.id_in_path if record.path.startswith(SANDBOX_PATHS) else ""),
        parent=found.span_id if found else "",
        method=record.method,
        path="",
        operation=record.operation,
        **({"trace_id": found.trace_id} if found else {}),
    )
    set_current(exchange.step)


def assign(exchange: Exchange) -> None:
    """Move the step to the account of the request, before anything else is recorded."""
    if exchange.step is not None:
        _show_path(exchange, exchange.step)
        exchange.platform.steps.assign(exchange.step, exchange.account.id, exchange.record.at)


def _show_path(exchange: Exchange, step: Step) -> None:
    """Redact what names the request by what is known of its account."""
    redacted = exchange.platform.journal.redacted_path
    path = redacted(exchange.account.id, exchange.record.path)
    step.detail["path"], step.title = path, title_of(f"{exchange.record.method} {path}")
    step.sandbox = redacted(exchange.account.id, step.sandbox) if step.sandbox else ""


def finish(exchange: HttpExchange) -> None:
    """End the step of a request with what the journal shows of it."""
    record = exchange.record
    reason = _reason(exchange)
    _end(
        exchange,
        "ok" if 100 <= record.status < 400 and not reason else "error",
        **({"error": reason} if reason else {}),
        query=record.query,
        status=record.status,
        request=record.request,
        response=record.response,
        warnings=list(record.warnings),
        path=record.path,
    )


def _reason(exchange: HttpExchange) -> str:
    """Why a request was not done: the detail of its problem, or the `error` of a command that could not be run, which
    is answered with 200. It is read from the body that the journal shows, so that it is redacted."""
    record, step = exchange.record, exchange.step
    if step is None:
        return ""
    if record.status == CLIENT_CLOSED_REQUEST:
        return f"the client gave up after {exchange.platform.steps.seconds_since(step):.1f} s"
    if record.status < 400 and not (record.operation == "sandboxes.exec" and _MAY_BE_ERROR in record.response):
        return ""
    return _text_in(record.response, "detail" if record.status >= 400 else "error")


def _text_in(body: Union[str, bytes], name: str) -> str:
    """A text in an object of JSON; empty where there is none."""
    try:
        found = json.loads(body).get(name)
    except (AttributeError, TypeError, ValueError):
        return ""
    return found if isinstance(found, str) else ""


def note_refusal(exchange: Exchange, body: bytes) -> None:
    """Note in the step of a WebSocket why its handshake was refused. `body`: the problem that is sent."""
    step = exchange.step
    reason = _text_in(body, "detail")
    if step is not None and reason:
        step.detail["error"] = exchange.platform.journal.redactor_of(step.account).redact_text(
            redact_credentials(reason)
        )


def finish_socket(exchange: Exchange) -> None:
    """End the step of a WebSocket. Its query, which holds a credential, is not recorded."""
    status = exchange.record.status
    _end(exchange, "ok" if status == 101 else "error", status=status, warnings=list(exchange.record.warnings))


def abandon(exchange: Exchange) -> None:
    """End the step of a request whose handling was cancelled."""
    if exchange.step is not None and exchange.step.status == "running":
        _end(exchange, "error", error="it was cancelled")


def _end(exchange: Exchange, outcome: StepStatus, **detail: Any) -> None:
    record, step = exchange.record, exchange.step
    if step is None:
        return
    if not step.revision:  # it has no account, and was not added before
        _show_path(exchange, step)
    if "path" in detail and detail["path"] != step.detail.get("path"):
        step.title = title_of(f"{record.method} {detail['path']}")
    step.controls = [record.fault] if record.fault else []
    exchange.platform.steps.finish(step, outcome, **detail)
