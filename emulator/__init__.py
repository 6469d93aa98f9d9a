"""A local emulator of the Caged platform: the same HTTP API, sandboxes as real processes in temp directories.

    from caged.emulator import Emulator

    with Emulator() as emulator:
        sandbox = emulator.client().sandboxes.create()

Needs the extra: `pip install 'caged[emulator]'`. A name is loaded when it is asked for: who only looks for a running
emulator does not pay for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import ConfigError, EmulatorConfig
    from .control.agents import Reply
    from .control.stubs import Output
    from .double.callbacks import CallbackError
    from .double.double import Account
    from .double.link import EmulatorError
    from .double.remote import RemoteEmulator
    from .emulator import Emulator
    from .scenario import ScenarioError

__all__ = [
    "Account",
    "CallbackError",
    "ConfigError",
    "Emulator",
    "EmulatorConfig",
    "EmulatorError",
    "Output",
    "RemoteEmulator",
    "Reply",
    "ScenarioError",
]

_HOMES = {
    "Account": "double.double",
    "CallbackError": "double.callbacks",
    "ConfigError": "config",
    "Emulator": "emulator",
    "EmulatorConfig": "config",
    "EmulatorError": "double.link",
    "Output": "control.stubs",
    "RemoteEmulator": "double.remote",
    "Reply": "control.agents",
    "ScenarioError": "scenario",
}


def require_extra() -> None:
    """ImportError, saying what to do, where what an emulator runs on is not installed."""
    from importlib.util import find_spec

    for name in ("click", "pydantic", "starlette", "uvicorn"):
        try:
            found = find_spec(name) is not None
        except ValueError:
            found = False
        if not found:
            hint = f"the emulator needs {name!r}; install it with: pip install 'caged[emulator]'"
            raise ImportError(hint, name=name)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("Emulator", "EmulatorConfig"):
        require_extra()
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # asked once per name
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
