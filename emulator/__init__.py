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
    from .double.agents import AddedReply, Agent, Agents, PromptText, ReplyInfo, Workplace
    from .double.callbacks import CallbackError, CallbackErrorInfo
    from .double.clock import Clock
    from .double.commands import Commands, Stub, StubInfo
    from .double.connection import InsecureConnectionWarning
    from .double.controls import Controls
    from .double.double import Account, Double
    from .double.faults import Fault, FaultInfo, Faults
    from .double.inventory import HeldSandbox, HeldSnapshot, HeldSocket, Inventory, LogLine
    from .double.journal import Command, CommandSource, Event, Journal, Prompt, Request
    from .double.link import EmulatorError
    from .double.operations import OperationName
    from .double.remote import RemoteEmulator
    from .double.view import AccountView
    from .emulator import Emulator
    from .scenario import Loaded, ScenarioError

__all__ = [
    "Account",
    "AccountView",
    "AddedReply",
    "Agent",
    "Agents",
    "BudgetAction",
    "CallbackError",
    "CallbackErrorInfo",
    "Clock",
    "Command",
    "CommandSource",
    "Commands",
    "ConfigError",
    "Controls",
    "Double",
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
    "double.agents": ("AddedReply", "Agent", "Agents", "PromptText", "ReplyInfo", "Workplace"),
    "double.callbacks": ("CallbackError", "CallbackErrorInfo"),
    "double.clock": ("Clock",),
    "double.commands": ("Commands", "Stub", "StubInfo"),
    "double.connection": ("InsecureConnectionWarning",),
    "double.controls": ("Controls",),
    "double.double": ("Account", "Double"),
    "double.faults": ("Fault", "FaultInfo", "Faults"),
    "double.inventory": ("HeldSandbox", "HeldSnapshot", "HeldSocket", "Inventory", "LogLine"),
    "double.journal": ("Command", "CommandSource", "Event", "Journal", "Prompt", "Request"),
    "double.link": ("EmulatorError",),
    "double.operations": ("OperationName",),
    "double.remote": ("RemoteEmulator",),
    "double.view": ("AccountView",),
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
