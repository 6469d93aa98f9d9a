"""`caged-emulator status`: lists running emulators.

It uses the admin API, whose calls trigger no fault, count for no limit and are not in the journal.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Optional

import click

from ..control.records import value
from ..discovery import DiscoveredEmulator, find_running
from .tables import json_option, show
from .target import Target, TargetSelection, no_emulator_error, plain_warnings, target_options

STATUS_SECONDS = 2.0


@dataclass(frozen=True)
class EmulatorStatus:
    """One emulator, and whether it answers."""

    url: str = value("URL of its API.", column=True)
    kind: str = value("`serve` or `exec`; `elsewhere` for one that does not run here as this user.", column=True)
    pid: Optional[int] = value("Its process, where it runs here.", column=True)
    isolation: Optional[str] = value("The isolation level of its sandboxes, where it runs here.", column=True)
    up_seconds: Optional[int] = value("How long it has been running, where it runs here.")
    sandboxes: Optional[int] = value("The sandboxes of all accounts; null when it does not answer.")
    problem: str = value("Why it does not answer; empty when it does.")

    @property
    def up(self) -> str:
        """How long it has been running, as a text."""
        return "" if self.up_seconds is None else _duration(self.up_seconds)

    @property
    def state(self) -> str:
        """The number of its sandboxes, or why it does not answer."""
        return self.problem or ("1 sandbox" if self.sandboxes == 1 else f"{self.sandboxes} sandboxes")


@click.command("status")
@json_option
@target_options
def command(selection: TargetSelection, as_json: bool) -> None:
    """List your running emulators, and the one that the environment names; or the one that the options name.

    Exit code 1 when there is none, when the one that the options name does not answer, or when the environment names
    one that does not and none of yours runs.
    """
    named = selection.choose() if selection.is_explicit else selection.named()
    targets = [named] if named is not None else []
    if not selection.is_explicit:
        others = [one for one in find_running() if named is None or one != named.found]
        targets += [Target(one.base_url, one.admin_key, one) for one in others]
    if not targets:
        raise no_emulator_error()
    found = [_status_of(target) for target in targets]
    show(found, as_json, ["url", "kind", "pid", "isolation", "up", "state"])
    is_mine = any(target.found is not None for target in targets) and not selection.is_explicit
    if not is_mine and all(one.problem for one in found):
        raise SystemExit(1)


def _status_of(target: Target) -> EmulatorStatus:
    sandboxes, problem = _query(target)
    found: Optional[DiscoveredEmulator] = target.found
    if found is None:
        return EmulatorStatus(target.base_url, "elsewhere", None, None, None, sandboxes, problem)
    up_seconds = max(0, int(time.time() - found.since))
    return EmulatorStatus(target.base_url, found.kind, found.pid, found.isolation, up_seconds, sandboxes, problem)


def _query(target: Target) -> tuple[Optional[int], str]:
    """How many sandboxes the emulator has in all accounts, or None and the reason for no answer."""
    import httpx

    from ..control_client.admin_client import AdminClient
    from ..control_client.http_transport import HttpTransport
    from ..control_client.transport import AdminRequestError, EmulatorError

    try:
        with plain_warnings():
            admin = AdminClient(HttpTransport(target.base_url, target.admin_key))
        try:
            facts = admin.call("GET", "/status", account="*", timeout=STATUS_SECONDS)
        finally:
            admin.close()
        return int(facts["sandboxes"]), ""
    except AdminRequestError as error:
        return None, f"answers with HTTP {error.status}: {error}"
    except EmulatorError as error:
        cause = error.__context__  # what httpx raised; it is not part of the printed traceback
        if isinstance(cause, httpx.TimeoutException):
            return None, f"no answer within {STATUS_SECONDS:g} s"
        return None, str(cause if isinstance(cause, httpx.HTTPError) else error)
    except (ValueError, KeyError, TypeError) as error:
        return None, f"what answers is not an emulator: {error}"


def _duration(seconds: int) -> str:
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
