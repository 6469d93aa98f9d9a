"""Checks of names in controls and queries: a name that does not exist is refused, because nothing would match it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Optional
from urllib.parse import unquote

from ...control.current_account import ALL_ACCOUNTS
from ...control.names import check_known, is_glob, suggestion
from ...control.patterns import matches_glob
from ...control.records import EVENT_TYPES, SOURCES
from ...control.routes import Route, check_reachable
from ...platform import limits
from ...platform.errors import invalid
from ..operation import Call

#: The journal has requests to previews, too. They may have any path.
_PREVIEW = [Route(method, "/{path:path}", "preview") for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")]
_SANDBOX_IN_PATH = re.compile("/v1/(?:trust/)?sandboxes/([^/]+)")


def check_query(call: Call[Any], statuses: bool = True) -> None:
    """Check every query parameter of a call that looks into the journal. `statuses`: whether `status` is of HTTP.

    Raises:
        ApiError: 400, for a name that does not exist or a value that nothing can have.
    """
    try:
        _check("source", call, lambda given: check_known("source", given, SOURCES, "a source of commands"))
        _check("type", call, lambda given: check_known("type", given, EVENT_TYPES, "a type of events"))
        if statuses:
            _check("status", call, _check_status)
        _check("agent", call, agents_of)
        _check("sandbox", call, lambda given: check_sandbox(call, given))
    except ValueError as error:
        raise invalid(str(error)) from None


def check_requests(call: Call[Any], found: bool) -> None:
    """Check a query for requests, together with `check_query`.

    Args:
        found: The query has found something, and so is possible.

    Raises:
        ApiError: 400, when no request can match its operation, method and path together.
    """
    operation = call.query("operation")
    routes = [*call.platform.faults.routes(), *(_PREVIEW if operation is not None else ())]
    try:
        if not found:
            path = call.query("path")
            check_reachable(
                routes, operation=operation, method=call.query("method"), path=path, sandbox=call.query("sandbox")
            )
            named = _SANDBOX_IN_PATH.match(path or "")
            if named is not None and not is_glob(path or ""):
                _check_sandbox_in_path(call, named[1])
    except ValueError as error:
        raise invalid(f"{error}; a preview has operation 'preview'" if operation is None else str(error)) from None


def _check(name: str, call: Call[Any], check: Any) -> None:
    given = call.query(name)
    if given is not None:
        check(given)


def _check_status(given: str) -> None:
    try:
        status = int(given[:20])
    except ValueError:
        raise ValueError(f"status: {given!r} is not a whole number") from None
    if status != 0 and not 100 <= status <= 599:
        raise ValueError(f"status: {given} is not an HTTP status; use 100 to 599, or 0 for no answer")


def agents_of(given: str) -> set[str]:
    """The platform's names of the agents that a name (any of an agent's) or a glob means.

    Raises:
        ValueError: There is none.
    """
    check_known("agent", given, limits.agent_names(), "an agent")
    if not is_glob(given):
        return {limits.agent_name(given) or given}
    return {limits.agent_name(name) or name for name in limits.agent_names() if matches_glob(name, given)}


def check_sandbox(call: Call[Any], given: Optional[str]) -> None:
    """Check that a sandbox exists in the account, or has existed. A glob is not checked.

    Raises:
        ValueError: It never did.
    """
    if given is None or is_glob(given):
        return
    if not given:
        raise ValueError("sandbox: is empty; give the id of a sandbox, or leave it out for all")
    account = call.account.id
    platform = call.platform
    if platform.journal.has_sandbox(account, given):
        return
    now = [box for box in platform.store.sandboxes.values() if account in (box.account_id, ALL_ACCOUNTS)]
    snapshots = [snap for snap in platform.store.snapshots.values() if account in (snap.account_id, ALL_ACCOUNTS)]
    if given in {box.id for box in now} | {snap.sandbox_id for snap in snapshots}:
        return
    raise ValueError(
        f"sandbox: {given!r} has never existed in {_account_phrase(account)}{suggestion(given, _ids(now))}"
    )


def _check_sandbox_in_path(call: Call[Any], sandbox: str) -> None:
    """A path may also be of a request with a wrong key, which belongs to no account."""
    sandbox = unquote(sandbox)
    if call.platform.journal.has_sandbox(ALL_ACCOUNTS, sandbox):
        return
    try:
        check_sandbox(call, sandbox)
    except ValueError as error:
        raise ValueError(f"path: names a sandbox; {error}") from None


def _ids(sandboxes: Iterable[Any]) -> list[str]:
    return [box.id for box in sandboxes]


def _account_phrase(account: str) -> str:
    return "any account" if account == ALL_ACCOUNTS else f"account {account}"
