"""The `caged-emulator` command: a thin shell over config and runtime."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Optional

import click

from caged import __version__

from .cage.probe import NoWalls
from .config import BUDGET_ACTIONS, ISOLATION_LEVELS, MEMORY_LIMITS, TIERS, ConfigError, EmulatorConfig
from .runtime import Runtime

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="caged-emulator")
def main() -> None:
    """A local emulator of the Caged platform."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4747, show_default=True, type=int, help="Port to listen on; 0 takes a free one.")
@click.option("--api-key", default=None, envvar="CAGED_EMULATOR_API_KEY", help="Key of the first account [random].")
@click.option("--admin-key", default=None, envvar="CAGED_EMULATOR_ADMIN_KEY", help="Key of its controls [random].")
@click.option("--isolation", type=click.Choice(ISOLATION_LEVELS), help="How sandboxes are walled off.")
@click.option("--state-dir", type=click.Path(file_okay=False), help="Keeps everything there beyond the end [nothing].")
@click.option("--seed", type=int, default=None, help="Makes ids the same on every run.")
@click.option("--tier", type=click.Choice(TIERS), default=None, help="Turns that plan's rate and plan limits on.")
@click.option("--budget-action", type=click.Choice(BUDGET_ACTIONS), default="pause", show_default=True)
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name to accept in the Host header. Repeatable.")
@click.option("--allow-unenforced", is_flag=True, help="Create sandboxes whose network mode cannot be enforced.")
@click.option("--limits/--no-limits", default=True, show_default=True, help="Limit memory, cores, processes.")
@click.option("--memory-limit", type=click.Choice(MEMORY_LIMITS), default="process", show_default=True)
@click.option("--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Written once it answers (JSON).")
def serve(ready_file: Optional[Path], allow_host: tuple[str, ...], **settings: Any) -> None:
    """Run the emulator in the foreground until Ctrl-C (a second one stops it at once)."""
    for number in _STOPPING:
        # Until the loop has its own handlers: leave by an exception, so that what was made is removed.
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    if ready_file is not None and not os.access(ready_file.absolute().parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"cannot write the ready file: {ready_file.parent} is no directory to write in")
    try:
        config = EmulatorConfig.make(allow_hosts=allow_host, **settings)
        runtime = Runtime(config, echo=lambda line: print(line, file=sys.stderr, flush=True))
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    try:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)  # of one that was killed: nobody must take it for ours
        raise SystemExit(asyncio.run(_serve(runtime, ready_file)))
    except NoWalls as error:
        raise click.ClickException(str(error)) from error
    finally:
        runtime.abandon()
        if ready_file is not None and _is_ours(ready_file):
            ready_file.unlink()


async def _serve(runtime: Runtime, ready_file: Optional[Path]) -> int:
    loop = asyncio.get_running_loop()
    received = 0

    def interrupted(number: int) -> None:
        nonlocal received
        received += 1
        if received == 1:
            runtime.log("stopping (again to stop at once)")
            runtime.request_stop()
        else:
            runtime.abandon()
            os._exit(128 + number)

    for number in _STOPPING:
        loop.add_signal_handler(number, interrupted, number)
    await runtime.run(lambda: _announce(runtime, ready_file))
    return 0


def _announce(runtime: Runtime, ready_file: Optional[Path]) -> None:
    print(f"Caged emulator {__version__} on {runtime.base_url} (isolation: {runtime.services.walls.level})")
    print(f"export CAGED_BASE_URL={runtime.base_url}")
    print(f"export CAGED_API_KEY={runtime.api_key}")
    print(f"export CAGED_EMULATOR_URL={runtime.base_url}")
    print(f"export CAGED_EMULATOR_ADMIN_KEY={runtime.admin_key}", flush=True)
    if ready_file is not None:
        content = {
            "base_url": runtime.base_url,
            "api_key": runtime.api_key,
            "admin_key": runtime.admin_key,
            "pid": os.getpid(),
        }
        # It holds a key, and a reader must never see half of it.
        temporary = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
        temporary.replace(ready_file)


def _is_ours(ready_file: Path) -> bool:
    try:
        return bool(json.loads(ready_file.read_text(encoding="utf-8")).get("pid") == os.getpid())
    except (OSError, ValueError, AttributeError):
        return False


@main.command()
def doctor() -> None:
    """Tell which isolation level works here and why, and which programs stand behind each template."""
    from .doctor import report

    for line in report():
        click.echo(line)


@main.command()
def demo() -> None:
    """Run the examples of the SDK's public page against an emulator of its own, visibly."""
    from .demo import run

    raise SystemExit(run())
