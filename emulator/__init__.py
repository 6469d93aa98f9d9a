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
    from .control.agent_replies import ReplyInfo
    from .control.agents import Reply
    from .control.faults import Drop, FaultInfo, Outcome
    from .control.operations import OperationName
    from .control.prepared import PreparedInfo
    from .control.records import (
        CallbackErrorRecord,
        CommandRecord,
        CommandSource,
        CommitRecord,
        EventRecord,
        LogLine,
        PromptRecord,
        PushRecord,
        RequestRecord,
        SandboxRecord,
        SnapshotRecord,
        SocketRecord,
    )
    from .control.reply_functions import PromptSandbox, PromptText
    from .control.repositories import RepositoryInfo
    from .control.stubs import Output, StubInfo
    from .control_client.agents import Agent, Agents, ReplyHandle
    from .control_client.base_emulator import AccountInfo, AccountView, BaseEmulator
    from .control_client.callbacks import CallbackError
    from .control_client.clock import Clock
    from .control_client.commands import Commands, StubHandle
    from .control_client.connection import InsecureConnectionWarning
    from .control_client.controls import Controls
    from .control_client.faults import FaultHandle, Faults
    from .control_client.inventory import Inventory
    from .control_client.journal import Journal
    from .control_client.prepared import Prepared, PreparedHandle
    from .control_client.remote import RemoteEmulator
    from .control_client.repositories import Repos, RepositoryHandle
    from .control_client.transport import EmulatorError
    from .emulator import Emulator
    from .scenario import LoadedScenario, ScenarioError

__all__ = [
    "AccountInfo",
    "AccountView",
    "Agent",
    "Agents",
    "BaseEmulator",
    "BudgetAction",
    "CallbackError",
    "CallbackErrorRecord",
    "Clock",
    "CommandRecord",
    "CommandSource",
    "Commands",
    "CommitRecord",
    "ConfigError",
    "Controls",
    "Drop",
    "Emulator",
    "EmulatorConfig",
    "EmulatorError",
    "EventRecord",
    "FaultHandle",
    "FaultInfo",
    "Faults",
    "InsecureConnectionWarning",
    "Inventory",
    "Isolation",
    "Journal",
    "LoadedScenario",
    "LogLine",
    "MemoryLimit",
    "OperationName",
    "Outcome",
    "Output",
    "Prepared",
    "PreparedHandle",
    "PreparedInfo",
    "PromptRecord",
    "PromptSandbox",
    "PromptText",
    "PushRecord",
    "RemoteEmulator",
    "Reply",
    "ReplyHandle",
    "ReplyInfo",
    "Repos",
    "RepositoryHandle",
    "RepositoryInfo",
    "RequestRecord",
    "SandboxRecord",
    "ScenarioError",
    "SnapshotRecord",
    "SocketRecord",
    "StubHandle",
    "StubInfo",
    "Tier",
]

_MODULES = {
    "config": ("BudgetAction", "ConfigError", "EmulatorConfig", "Isolation", "MemoryLimit", "Tier"),
    "control.agent_replies": ("ReplyInfo",),
    "control.agents": ("Reply",),
    "control.faults": ("Drop", "FaultInfo", "Outcome"),
    "control.operations": ("OperationName",),
    "control.records": (
        "CallbackErrorRecord",
        "CommandRecord",
        "CommandSource",
        "CommitRecord",
        "EventRecord",
        "LogLine",
        "PromptRecord",
        "PushRecord",
        "RequestRecord",
        "SandboxRecord",
        "SnapshotRecord",
        "SocketRecord",
    ),
    "control.prepared": ("PreparedInfo",),
    "control.reply_functions": ("PromptSandbox", "PromptText"),
    "control.repositories": ("RepositoryInfo",),
    "control.stubs": ("Output", "StubInfo"),
    "control_client.agents": ("Agent", "Agents", "ReplyHandle"),
    "control_client.base_emulator": ("AccountInfo", "AccountView", "BaseEmulator"),
    "control_client.callbacks": ("CallbackError",),
    "control_client.clock": ("Clock",),
    "control_client.commands": ("Commands", "StubHandle"),
    "control_client.connection": ("InsecureConnectionWarning",),
    "control_client.controls": ("Controls",),
    "control_client.faults": ("FaultHandle", "Faults"),
    "control_client.inventory": ("Inventory",),
    "control_client.journal": ("Journal",),
    "control_client.prepared": ("Prepared", "PreparedHandle"),
    "control_client.remote": ("RemoteEmulator",),
    "control_client.repositories": ("Repos", "RepositoryHandle"),
    "control_client.transport": ("EmulatorError",),
    "emulator": ("Emulator",),
    "scenario": ("LoadedScenario", "ScenarioError"),
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
