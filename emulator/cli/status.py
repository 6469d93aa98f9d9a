"""`caged-emulator status`: the emulators that run."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Optional

import click

from ..running import Found, running
from .target import nobody_runs

ANSWER_SECONDS = 2.0


@click.command("status")
def command() -> None:
    """List the running emulators. Exit code 1 when there is none."""
    found = running()
    if not found:
        raise nobody_runs()
    for one in found:
        click.echo(
            f"{one.base_url}  {one.kind}  pid {one.pid}  isolation {one.isolation}  up {_duration(one.since)}  "
            + _describe(_sandboxes(one))
        )


def _describe(count: Optional[int]) -> str:
    if count is None:
        return f"no answer within {ANSWER_SECONDS:g} s"
    return "1 sandbox" if count == 1 else f"{count} sandboxes"


def _duration(since: float) -> str:
    seconds = max(0, int(time.time() - since))
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _sandboxes(found: Found) -> Optional[int]:
    """How many the emulator's first account has; None when it does not say so."""
    request = urllib.request.Request(
        f"{found.base_url}/v1/sandboxes", headers={"Authorization": f"Bearer {found.api_key}"}
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=ANSWER_SECONDS) as answer:
            return len(json.load(answer))
    except (OSError, ValueError, TypeError):
        return None
