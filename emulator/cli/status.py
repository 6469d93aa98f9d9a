"""`caged-emulator status`: lists running emulators.

It uses the admin API, whose calls trigger no fault, count for no limit and are not in the journal.
"""

from __future__ import annotations

import time
from typing import Optional

import click

from ..discovery import DiscoveredEmulator, find_running
from .target import Target, TargetSelection, no_emulator_error, plain_warnings, target_options

STATUS_SECONDS = 2.0


@click.command("status")
@target_options
def command(selection: TargetSelection) -> None:
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
    is_success = False
    for target in targets:
        answers, described = _query(target)
        click.echo("  ".join([target.base_url, *_facts(target.found), described]))
        is_success = is_success or answers or (target.found is not None and not selection.is_explicit)
    if not is_success:
        raise SystemExit(1)


def _facts(found: Optional[DiscoveredEmulator]) -> list[str]:
    """Facts of the locator."""
    if found is None:
        return ["elsewhere"]
    return [found.kind, f"pid {found.pid}", f"isolation {found.isolation}", f"up {_duration(found.since)}"]


def _query(target: Target) -> tuple[bool, str]:
    """Whether the emulator answers, and how many sandboxes it has in all accounts, or the reason for no answer."""
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
        return True, _count(int(facts["sandboxes"]))
    except AdminRequestError as error:
        return False, f"answers with HTTP {error.status}: {error}"
    except EmulatorError as error:
        cause = error.__context__  # what httpx raised; it is not part of the printed traceback
        if isinstance(cause, httpx.TimeoutException):
            return False, f"no answer within {STATUS_SECONDS:g} s"
        return False, str(cause if isinstance(cause, httpx.HTTPError) else error)
    except (ValueError, KeyError, TypeError) as error:
        return False, f"what answers is not an emulator: {error}"


def _count(sandboxes: int) -> str:
    return "1 sandbox" if sandboxes == 1 else f"{sandboxes} sandboxes"


def _duration(since: float) -> str:
    seconds = max(0, int(time.time() - since))
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
