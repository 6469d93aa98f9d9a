"""The `caged-emulator` command. Each of its commands is the module of that name here, loaded when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Optional

from caged import __version__

from .. import _require_extra

try:
    _require_extra()
except ImportError as _error:
    raise SystemExit(str(_error)) from None

import click

#: Each is the `command` of the module of its name.
COMMANDS = (
    "accounts",
    "agents",
    "cache",
    "callback-errors",
    "clock",
    "commands",
    "demo",
    "device-login",
    "doctor",
    "env",
    "exec",
    "export",
    "faults",
    "import",
    "init",
    "inventory",
    "journal",
    "load-scenario",
    "logs",
    "prepared",
    "repos",
    "reset",
    "reset-controls",
    "serve",
    "shell",
    "spend",
    "status",
    "stop",
    "sweep",
    "trace",
    "ui",
    "verify",
)
#: Names that no module can have.
_MODULES = {
    "callback-errors": "callback_errors",
    "device-login": "device_login",
    "import": "import_",
    "load-scenario": "load_scenario",
    "reset-controls": "reset_controls",
}


class _LazyGroup(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> Optional[click.Command]:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{_MODULES.get(name, name)}", __name__).command
        return command

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[Optional[str], Optional[click.Command], list[str]]:
        if words and words[0] not in COMMANDS and not words[0].startswith("-"):
            from ..control.names import suggestion

            context.fail(f"there is no command {words[0]!r}{suggestion(words[0], COMMANDS)}")
        return super().resolve_command(context, words)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="caged-emulator")
def main() -> None:
    """A local emulator of the Caged platform."""
