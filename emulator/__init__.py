"""A local emulator of the Caged platform: the same HTTP API, sandboxes as real processes in temp directories.

    from caged.emulator import Emulator

    with Emulator() as emulator:
        sandbox = emulator.client().sandboxes.create()

Needs the extra: `pip install 'caged[emulator]'`. Names are loaded when first used: a program that only looks for a
running emulator does not pay for starting one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import BudgetAction, ConfigError, EmulatorConfig, Isolation, MemoryLimit, Tier
    from .control.agents import Reply
    from .control.faults import Drop, Outcome
    from .control.stubs import Output
    from .control_client.agents import Agent, Agents, PromptText, ReplyHandle, ReplyInfo, Workplace
    from .control_client.base_emulator import Account, BaseEmulator
    from .control_client.callbacks import CallbackError, CallbackErrorInfo
    from .control_client.clock import Clock
    from .control_client.commands import Commands, Stub, StubInfo
    from .control_client.connection import InsecureConnectionWarning
    from .control_client.controls import Controls
    from .control_client.faults import Fault, FaultInfo, Faults
    from .control_client.inventory import HeldSandbox, HeldSnapshot, HeldSocket, Inventory, LogLine
    from .control_client.journal import Command, CommandSource, Event, Journal, Prompt, Request
    from .control_client.operations import OperationName
    from .control_client.remote import RemoteEmulator
    from .control_client.transport import EmulatorError
    from .control_client.view import AccountView
    from .emulator import Emulator
    from .scenario import Loaded, ScenarioError

__all__ = [
    "Account",
    "AccountView",
    "Agent",
    "Agents",
    "BaseEmulator",
    "BudgetAction",
    "CallbackError",
    "CallbackErrorInfo",
    "Clock",
    "Command",
    "CommandSource",
    "Commands",
    "ConfigError",
    "Controls",
    "Drop",
    "Emulator",
    "EmulatorConfig",
    "EmulatorError",
    "Event",
    "Fault",
    "FaultInfo",
    "Faults",
    "HeldSandbox",
    "HeldSnapshot",
    "HeldSocket",
    "InsecureConnectionWarning",
    "Inventory",
    "Isolation",
    "Journal",
    "Loaded",
    "LogLine",
    "MemoryLimit",
    "OperationName",
    "Outcome",
    "Output",
    "Prompt",
    "PromptText",
    "RemoteEmulator",
    "Reply",
    "ReplyHandle",
    "ReplyInfo",
    "Request",
    "ScenarioError",
    "Stub",
    "StubInfo",
    "Tier",
    "Workplace",
]

_MODULES = {
    "config": ("BudgetAction", "ConfigError", "EmulatorConfig", "Isolation", "MemoryLimit", "Tier"),
    "control.agents": ("Reply",),
    "control.faults": ("Drop", "Outcome"),
    "control.stubs": ("Output",),
    "control_client.agents": ("Agent", "Agents", "PromptText", "ReplyHandle", "ReplyInfo", "Workplace"),
    "control_client.callbacks": ("CallbackError", "CallbackErrorInfo"),
    "control_client.clock": ("Clock",),
    "control_client.commands": ("Commands", "Stub", "StubInfo"),
    "control_client.connection": ("InsecureConnectionWarning",),
    "control_client.controls": ("Controls",),
    "control_client.base_emulator": ("Account", "BaseEmulator"),
    "control_client.faults": ("Fault", "FaultInfo", "Faults"),
    "control_client.inventory": ("HeldSandbox", "HeldSnapshot", "HeldSocket", "Inventory", "LogLine"),
    "control_client.journal": ("Command", "CommandSource", "Event", "Journal", "Prompt", "Request"),
    "control_client.transport": ("EmulatorError",),
    "control_client.operations": ("OperationName",),
    "control_client.remote": ("RemoteEmulator",),
    "control_client.view": ("AccountView",),
    "emulator": ("Emulator",),
    "scenario": ("Loaded", "ScenarioError"),
}


def _require_extra() -> None:
    """Raise an ImportError that says what to do where a package that an emulator runs on is not installed."""
    from importlib.util import find_spec

    for name in ("click", "pydantic", "starlette", "uvicorn"):
        try:
            found = find_spec(name) is not None
        except ValueError:
            found = False
        if not found:
            hint = f"the emulator needs {name!r}; install it with: pip install 'caged[emulator]'"
            raise ImportError(hint, name=name)


def _before(name: str) -> None:
    if name in ("Emulator", "EmulatorConfig"):
        _require_extra()


if not TYPE_CHECKING:  # to a checker, it would stand for every name there could be
    from caged._lazy import lazy_names

    __getattr__, __dir__ = lazy_names(__name__, globals(), _MODULES, before=_before)
