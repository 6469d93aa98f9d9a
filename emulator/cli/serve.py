"""`caged-emulator serve`: an emulator in the foreground."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Any, Optional

import click

from caged import __version__

from ..cage.probe import IsolationUnavailable
from ..config import ConfigError
from ..discovery import environment_variables
from ..output_file import check_replaceable, replacement
from ..runtime import Runtime
from .foreground import Foreground
from .options import config_from, emulator_options


@click.command("serve")
@emulator_options(port=4747)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that is written (JSON) once the emulator answers.",
)
@click.option(
    "-v", "--verbose", is_flag=True, help="Print a line to stderr for each step: requests, commands, events, controls."
)
def command(ready_file: Optional[Path], verbose: bool, **settings: Any) -> None:
    """Run the emulator in the foreground until Ctrl-C (a second one stops it at once)."""
    if ready_file is not None and not os.access(ready_file.absolute().parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"cannot write the ready file: {ready_file.parent} does not exist or is not writable")
    if ready_file is not None:
        try:
            check_replaceable(ready_file)
        except OSError as error:
            raise click.UsageError(f"cannot write the ready file: {ready_file}: {error.strerror}") from None
    config = config_from(settings)
    key_files = [*_output_files(), *([ready_file.absolute()] if ready_file is not None else [])]
    try:
        foreground = Foreground(config, "serve", os.getpid(), key_files=key_files, is_verbose=verbose)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    try:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)  # left by an emulator that was killed
        foreground.run(lambda: _announce(foreground.runtime, ready_file))
    except ConfigError as error:  # the scenario, which is made once it answers
        raise click.UsageError(str(error)) from error
    except IsolationUnavailable as error:
        raise click.ClickException(str(error)) from error
    finally:
        foreground.abandon()
        if ready_file is not None and _is_ours(ready_file):
            ready_file.unlink()


def _announce(runtime: Runtime, ready_file: Optional[Path]) -> None:
    print(f"Caged emulator {__version__} on {runtime.base_url} (isolation: {runtime.platform.isolation.level})")
    exported = environment_variables(runtime.base_url, runtime.api_key, runtime.admin_key)
    if runtime.config.scenario is not None:
        exported.update(runtime.loaded.variables())
    for name, value in exported.items():
        print(f"export {name}={shlex.quote(value)}")
    inspector = runtime.platform.inspector_logins
    if inspector.is_reachable:
        print(f"Inspector: {inspector.new_link()} (once, within 10 minutes; `caged-emulator ui` makes another link)")
    sys.stdout.flush()
    if ready_file is not None:
        content: dict[str, Any] = {
            "base_url": runtime.base_url,
            "api_key": runtime.api_key,
            "admin_key": runtime.admin_key,
            "pid": os.getpid(),
        }
        if runtime.config.scenario is not None:
            content.update(sandboxes=runtime.loaded.sandboxes, keys=runtime.loaded.keys)
        # It holds a key, and a reader must never see a part of it.
        with replacement(ready_file, str(os.getpid())) as beside:
            beside.touch(mode=0o600)
            beside.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _output_files() -> list[Path]:
    """The file that standard output, where the keys are printed, is redirected to, if it is one."""
    try:
        if stat.S_ISREG(os.fstat(1).st_mode):
            return [Path(os.readlink("/proc/self/fd/1"))]
    except OSError:
        pass  # it is closed, or there is no /proc
    return []


def _is_ours(ready_file: Path) -> bool:
    try:
        return bool(json.loads(ready_file.read_text(encoding="utf-8")).get("pid") == os.getpid())
    except (OSError, ValueError, AttributeError):
        return False
