"""`caged-emulator status`: the emulators that run.

It asks the admin API: a look takes no fault, counts for no limit and stands in no journal."""

from __future__ import annotations

import time
from typing import Optional

import click

from ..running import DiscoveredEmulator, running
from .target import Target, Wanted, none_runs, plain_warnings, target_options

ANSWER_SECONDS = 2.0


@click.command("status")
@target_options
def command(wanted: Wanted) -> None:
    """List your running emulators, and the one that the environment names; or the one that the options name.

    Exit code 1 when there is none, when the one that the options name does not answer, or when the environment names
    one that does not and none of yours runs.
    """
    named = wanted.choose() if wanted.explicit else wanted.named()
    targets = [named] if named is not None else []
    if not wanted.explicit:
        others = [one for one in running() if named is None or one != named.found]
        targets += [Target(one.base_url, one.admin_key, one) for one in others]
    if not targets:
        raise none_runs()
    good = False
    for target in targets:
        answers, described = _ask(target)
        click.echo("  ".join([target.base_url, *_facts(target.found), described]))
        good = good or answers or (target.found is not None and not wanted.explicit)
    if not good:
        raise SystemExit(1)


def _facts(found: Optional[DiscoveredEmulator]) -> list[str]:
    """What the locator says."""
    if found is None:
        return ["elsewhere"]
    return [found.kind, f"pid {found.pid}", f"isolation {found.isolation}", f"up {_duration(found.since)}"]


def _ask(target: Target) -> tuple[bool, str]:
    """Whether the emulator answers, and how many sandboxes it has in all accounts, or why it does not say so."""
    import httpx

    from ..control_client.admin_client import AdminClient
    from ..control_client.http_transport import HttpTransport
    from ..control_client.transport import EmulatorError, Refused

    try:
        with plain_warnings():
            admin = AdminClient(HttpTransport(target.base_url, target.admin_key))
        try:
            facts = admin.call("GET", "/status", account="*", timeout=ANSWER_SECONDS)
        finally:
            admin.close()
        return True, _count(int(facts["sandboxes"]))
    except Refused as error:
        return False, f"answers with HTTP {error.status}: {error}"
    except EmulatorError as error:
        cause = error.__context__  # what httpx raised; it is not part of the printed traceback
        if isinstance(cause, httpx.TimeoutException):
            return False, f"no answer within {ANSWER_SECONDS:g} s"
        return False, str(cause if isinstance(cause, httpx.HTTPError) else error)
    except (ValueError, KeyError, TypeError) as error:
        return False, f"what answers is not an emulator: {error}"


def _count(sandboxes: int) -> str:
    return "1 sandbox" if sandboxes == 1 else f"{sandboxes} sandboxes"


def _duration(since: float) -> str:
    seconds = max(0, int(time.time() - since))
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
