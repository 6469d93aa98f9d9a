"""Making the checks, one after the other: none stops the others, and what they made is undone whatever happens."""

from __future__ import annotations

import fnmatch
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Callable, Optional
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import WebSocketException

from .check import LEVELS, CannotRun, Check, Different, Unchecked
from .checks import CHECKS
from .context import Context
from .expect import short
from .report import DIFFERENT, EQUAL, UNCHECKED, Report, Result
from .wire import Patience, Wire

CHECK_SECONDS = 30.0
TOTAL_SECONDS = 1800.0  # at the slowest plan's rate limit a run takes a quarter of an hour
_FIRST_SECONDS = 10.0


def chosen(level: Optional[str] = None, only: Sequence[str] = ()) -> list[Check]:
    """The checks of a level whose ids match one of the patterns, `exec.*` for one. CannotRun when there are none."""
    if level is not None and level not in LEVELS:
        raise CannotRun(f"level {level!r} is unknown; use {' or '.join(LEVELS)}")
    found = [
        check
        for check in CHECKS
        if (level is None or check.level == level)
        and (not only or any(fnmatch.fnmatchcase(check.id, pattern) for pattern in only))
    ]
    if not found:
        raise CannotRun(f"no check matches {', '.join(only)}; --list shows them all")
    return found


def verify(
    base_url: str,
    api_key: str,
    *,
    second_api_key: Optional[str] = None,
    agent: Optional[str] = None,
    level: Optional[str] = None,
    only: Sequence[str] = (),
    timeout: float = CHECK_SECONDS,
    total: float = TOTAL_SECONDS,
    on_result: Optional[Callable[[Result], None]] = None,
) -> Report:
    """Compares a server that claims to be the platform with the platform's contract.

    At most three sandboxes, four snapshots and three keys are made, and undone in the end: also after an error, and
    after Ctrl-C, which is raised then. Nothing is bought.

    Args:
        second_api_key: of another account, for what nobody but an account itself may see; not checked without.
        agent: an agent to install and ask one question, such as `claude-code`; may cost tokens. Without it sessions
            are looked at where the account has some.
        level: `contract` or `decision`; None for both.
        only: patterns of ids; none means all.
        timeout: seconds that a check may take. What it has made for it, a sandbox for one, has time of its own.
        total: seconds after which no other check is begun.
        on_result: called with each result when it is there.

    Raises:
        CannotRun: the server does not answer, or refuses the key; nothing was made.
    """
    checks = chosen(level, only)
    if urlsplit(base_url).scheme not in ("http", "https") or not urlsplit(base_url).hostname:
        raise CannotRun(f"{base_url!r} is no address; give one such as http://127.0.0.1:4747")
    if not api_key:
        raise CannotRun("there is no API key; give --api-key, or set CAGED_API_KEY")
    patience = Patience(timeout, total)
    wire = Wire(base_url, api_key, patience)
    try:
        _first(wire)
        bench = Context(wire, patience, second_api_key, agent)
        report = Report(wire.base_url)
        try:
            _make(bench, checks, report, on_result)
            report.left = bench.clean()
        except BaseException:
            for what in bench.clean():
                print(f"left behind  {what}", file=sys.stderr)  # nobody gets the report
            raise
    finally:
        wire.close()
    return report


def _first(wire: Wire) -> None:
    """Whether there is a server that takes the key."""
    wire.patience.begin(_FIRST_SECONDS)
    try:
        answer = wire.request("GET", "/sandboxes")
    except (httpx.HTTPError, httpx.InvalidURL, Different) as error:
        raise CannotRun(
            f"{wire.base_url} does not answer ({short(str(error) or type(error).__name__)}); is it running, and is"
            " --base-url its address without /v1?"
        ) from None
    if answer.status_code in (401, 403):
        raise CannotRun(f"{wire.base_url} refuses the API key: HTTP {answer.status_code}; check --api-key")
    if answer.status_code == 404:
        raise CannotRun(
            f"{wire.base_url} has no /v1/sandboxes: it is not the platform; check --base-url, which goes without /v1"
        )


def _make(
    bench: Context, checks: Iterable[Check], report: Report, on_result: Optional[Callable[[Result], None]]
) -> None:
    for check in checks:
        if report.gone or bench.patience.over:
            report.gone = report.gone or "there was no time left; give --total more seconds, or --only some checks"
            result = Result(check, UNCHECKED, why=report.gone)
        else:
            result = _one(bench, check, report)
        report.results.append(result)
        if on_result is not None:
            on_result(result)


def _one(bench: Context, check: Check, report: Report) -> Result:
    bench.patience.begin()
    began = time.monotonic()

    def result(outcome: str, **told: str) -> Result:
        return Result(check, outcome, seconds=time.monotonic() - began, **told)

    try:
        check.look(bench)
    except Different as difference:
        return result(DIFFERENT, expected=difference.expected, got=difference.got)
    except Unchecked as error:
        return result(UNCHECKED, why=str(error))
    except httpx.TimeoutException:
        return result(DIFFERENT, expected=f"an answer within {bench.patience.limit:g} s", got="none")
    except (httpx.ConnectError, ConnectionRefusedError) as error:
        report.gone = f"the server is gone: {error}"
        return result(UNCHECKED, why=report.gone)
    except (httpx.HTTPError, WebSocketException, OSError) as error:
        return result(DIFFERENT, expected="a whole answer", got=short(f"{type(error).__name__}: {error}"))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # What a check takes for granted about an answer is a part of the contract.
        return result(DIFFERENT, expected="an answer of this form", got=short(f"{type(error).__name__}: {error}"))
    return result(EQUAL)
