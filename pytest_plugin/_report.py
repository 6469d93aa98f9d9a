"""Sections of a failed test's report: the timeline; with `--caged-report=full` also the last requests with their bodies
and the sandboxes' logs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    from caged.emulator.control.records import RequestRecord
    from caged.emulator.control_client.base_emulator import AccountView
    from caged.emulator.trace.file import Trace

    from ._creations import Creations

REQUESTS = 20
LOG_LINES = 20
SANDBOXES = 5
#: Lines of the timeline.
TIMELINE_LINES, FULL_LINES = 40, 10_000
#: Characters of a line, and of a body, that are shown.
LINE, BODY = 500, 300
#: Timeout of a request to the real API, in seconds.
REQUEST_SECONDS = 5.0

#: Keys of bodies whose values, or the values in them, are not shown.
_SECRET = {"env", "repo_token", "key", "token", "ticket", "password", "api_key", "device_code", "user_code"}

Section = tuple[str, str]
Redact = Callable[[str], str]


def of_trace(trace: Trace, page: Optional[str], style: str) -> Section:
    """The timeline of a test.

    Args:
        page: The file of its trace, as it is shown; None where there is none.
        style: `short` or `full`.
    """
    from caged.emulator.trace.summary import timeline

    lines = timeline(trace, TIMELINE_LINES if style == "short" else FULL_LINES)
    return "caged timeline", "\n".join([*lines, *([f"trace: {page}"] if page else [])])


def of_account(account: AccountView, full: bool, redacted: Redact) -> list[Section]:
    """Sections about an account on the emulator. None when a test has stopped the emulator.

    Args:
        full: Whether to show requests with their bodies and the sandboxes' logs.
        redacted: Redacts a text.
    """
    from caged.emulator import EmulatorError

    sections: list[Section] = []
    try:
        if full:
            requests = account.journal.requests(last=REQUESTS)
            _add(sections, f"caged last {REQUESTS} requests", _requests(requests, redacted), redacted)
            for box in account.inventory.sandboxes()[-SANDBOXES:]:
                logs = account.inventory.logs(box.id, last=LOG_LINES)
                title = f"caged sandbox {box.id} ({box.status}), last {LOG_LINES} log lines"
                _add(sections, title, map(str, logs), redacted)
        # Empty unless the emulator itself had a problem. Lines about other accounts are left out.
        _add(sections, f"caged emulator log, last {LOG_LINES} lines", account.log_tail(LOG_LINES), redacted)
    except EmulatorError:  # the test stopped it
        pass
    return sections


def of_live_run(creations: Creations, logs: dict[str, list[str]], full: bool, redacted: Redact) -> list[Section]:
    """Sections about a live run: the logs that the API returns, because a client does not see what runs in a sandbox.

    Args:
        full: Whether to show the requests, too, without bodies.
        redacted: Redacts a text.
    """
    sections: list[Section] = []
    if full:
        _add(sections, f"caged last {REQUESTS} requests", creations.recent_requests, redacted)
    for id, lines in logs.items():
        _add(sections, f"caged sandbox {id}, last {LOG_LINES} log lines", lines, redacted)
    return sections


def live_logs(base_url: str, api_key: str, creations: Creations) -> dict[str, list[str]]:
    """The last lines of the logs of the newest sandboxes of a live run, by their ids."""
    from caged import Caged, CagedError

    found: dict[str, list[str]] = {}
    with Caged(api_key=api_key, base_url=base_url, timeout=REQUEST_SECONDS, max_retries=0) as client:
        for id in creations.sandboxes[-SANDBOXES:]:
            try:
                logs = client.sandboxes.logs(id)[-LOG_LINES:]
            except CagedError:
                continue
            found[id] = [f"{entry.timestamp} {entry.type}: {entry.message}" for entry in logs]
    return found


def _add(sections: list[Section], title: str, lines: Iterable[str], redacted: Redact) -> None:
    from caged.emulator.truncation import truncate

    # Before a line is cut, or a part of a secret would be left.
    text = "\n".join(truncate(redacted(line), LINE, " …") for line in lines)
    if text:
        sections.append((title, text))


def _requests(requests: list[RequestRecord], redacted: Redact) -> Iterable[str]:
    from caged.emulator.truncation import truncate

    for request in requests:
        yield f"{request} ({request.duration_ms:.0f} ms)"
        for warning in request.warnings:
            yield f"  ! {warning}"
        for mark, body in (("  >", request.request), ("  <", request.response)):
            if body.strip():
                line = " ".join(redacted(_redact_body(body))[: 4 * BODY].split())
                yield f"{mark} {truncate(line, BODY, ' …')}"


def _redact_body(body: str) -> str:
    """Redact the secrets of a body, for a log of CI."""
    try:
        content = json.loads(body)
    except ValueError:
        return body if not any(f'"{name}"' in body for name in _SECRET) else "(not shown: it was cut)"
    return json.dumps(_redact(content), ensure_ascii=False)


def _redact(thing: Any, secret: bool = False) -> Any:
    if isinstance(thing, dict):
        return {name: _redact(value, secret or name in _SECRET) for name, value in thing.items()}
    if isinstance(thing, list):
        return [_redact(value, secret) for value in thing]
    return "***" if secret and thing else thing
