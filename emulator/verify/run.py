"""A run of checks, one after the other: a failure never stops the next check, and everything is removed at the end."""

from __future__ import annotations

import fnmatch
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Callable, Optional
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import WebSocketException

from .assertions import shorten
from .check import LEVELS, Check
from .checks import CHECKS
from .context import Context
from .errors import Mismatch, SkipCheck, VerificationError
from .raw_client import RawClient
from .report import DIFFERENT, EQUAL, UNCHECKED, Report, Result
from .time_budget import TimeBudget

CHECK_SECONDS = 30.0
TOTAL_SECONDS = 1800.0  # at the rate limit of the slowest plan a run takes a quarter of an hour
_PROBE_SECONDS = 10.0


def select_checks(level: Optional[str] = None, only: Sequence[str] = ()) -> list[Check]:
    """Return the checks of a level whose ids match one of the patterns.

    Args:
        level: `contract` or `decision`; None means both.
        only: Shell patterns of ids, such as `exec.*`; none means all checks.

    Raises:
        VerificationError: The level is unknown, or no check matches.
    """
    if level is not None and level not in LEVELS:
        raise VerificationError(f"level {level!r} is unknown; use {' or '.join(LEVELS)}")
    checks = [
        check
        for check in CHECKS
        if (level is None or check.level == level)
        and (not only or any(fnmatch.fnmatchcase(check.id, pattern) for pattern in only))
    ]
    if not checks:
        raise VerificationError(f"no check matches {', '.join(only)}; --list shows all checks")
    return checks


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
    """Compare a server that claims to be the platform with the platform's contract.

    At most four sandboxes, four snapshots and three keys are created, and removed at the end, also after an error or
    Ctrl-C. Nothing is bought.

    Args:
        base_url: The address of the server, without `/v1`.
        api_key: A full key of the account under test.
        second_api_key: A key of another account, for the checks that one account cannot see the other's sandboxes;
            without one they are skipped.
        agent: An agent to install and prompt once, such as `claude-code`; may cost tokens. Without one, the checks of
            agent sessions need an account that has some.
        level: `contract` or `decision`; None means both.
        only: Shell patterns of check ids, such as `exec.*`; none means all checks.
        timeout: Seconds that each check may take. Creating what it needs, such as a sandbox, has a limit of its own.
        total: Seconds after which no further check begins.
        on_result: Called with each result when it is available.

    Returns:
        The results, in the order of the checks.

    Raises:
        VerificationError: The server does not answer, or rejects the key; nothing was created.
    """
    checks = select_checks(level, only)
    if urlsplit(base_url).scheme not in ("http", "https") or not urlsplit(base_url).hostname:
        raise VerificationError(f"base URL {base_url!r} is not a URL; give one such as http://127.0.0.1:4747")
    if not api_key:
        raise VerificationError("there is no API key; give --api-key, or set CAGED_API_KEY")
    client = RawClient(base_url, api_key, TimeBudget(timeout, total))
    try:
        _probe(client)
        context = Context(client, second_api_key, agent)
        report = Report(client.base_url)
        try:
            _run_checks(context, checks, report, on_result)
            report.left_behind = context.clean_up()
        except BaseException:
            for what in context.clean_up():
                print(f"left behind  {what}", file=sys.stderr)  # there is no report to contain it
            raise
    finally:
        client.close()
    return report


def _probe(client: RawClient) -> None:
    """Raise VerificationError unless there is a server that accepts the key."""
    client.time_budget.begin(_PROBE_SECONDS)
    try:
        answer = client.request("GET", "/sandboxes")
    except (httpx.HTTPError, httpx.InvalidURL, Mismatch) as error:
        raise VerificationError(
            f"{client.base_url} does not answer ({shorten(str(error) or type(error).__name__)}); is it running, and is"
            " --base-url its address without /v1?"
        ) from None
    if answer.status_code in (401, 403):
        raise VerificationError(f"{client.base_url} rejects the API key: HTTP {answer.status_code}; check --api-key")
    if answer.status_code == 404:
        raise VerificationError(
            f"{client.base_url} has no /v1/sandboxes, so it is not the platform; check --base-url, which is given"
            " without /v1"
        )


def _run_checks(
    context: Context, checks: Iterable[Check], report: Report, on_result: Optional[Callable[[Result], None]]
) -> None:
    for check in checks:
        if not report.aborted and context.time_budget.exhausted:
            report.aborted = "there was no time left; give --total more seconds, or --only some checks"
        if report.aborted:
            result = Result(check, UNCHECKED, why=report.aborted)
        else:
            result = _run_check(context, check, report)
        report.results.append(result)
        if on_result is not None:
            on_result(result)


def _run_check(context: Context, check: Check, report: Report) -> Result:
    context.time_budget.begin()
    began = time.monotonic()

    def result(outcome: str, **texts: str) -> Result:
        return Result(check, outcome, seconds=time.monotonic() - began, **texts)

    try:
        check.run(context)
    except Mismatch as mismatch:
        return result(DIFFERENT, expected=mismatch.expected, got=mismatch.got)
    except SkipCheck as error:
        return result(UNCHECKED, why=str(error))
    except httpx.TimeoutException:
        return result(DIFFERENT, expected=f"an answer within {context.time_budget.limit:g} s", got="none")
    except (httpx.ConnectError, ConnectionRefusedError) as error:
        report.aborted = f"the server is gone: {error}"
        return result(UNCHECKED, why=report.aborted)
    except (httpx.HTTPError, WebSocketException, OSError) as error:
        return result(DIFFERENT, expected="a complete answer", got=shorten(f"{type(error).__name__}: {error}"))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # The form that a check presupposes of an answer is part of the contract.
        return result(DIFFERENT, expected="an answer of this form", got=shorten(f"{type(error).__name__}: {error}"))
    return result(EQUAL)
