"""Python SDK of the Caged platform: cloud sandboxes for AI agents.

    from caged import Caged

    with Caged() as caged:
        sandbox = caged.sandboxes.create(template="python-312")
        print(caged.sandboxes.exec(sandbox.id, "python --version").output)

Names are loaded when first used: `caged.pytest_plugin` imports this package in every pytest run of everyone
who has it installed, and must not make them pay for httpx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from ._client import AsyncCaged, Caged
    from ._errors import (
        CagedAPIError,
        CagedAuthError,
        CagedConnectionError,
        CagedError,
        CagedNotFoundError,
        CagedPlanLimitError,
        CagedRateLimitError,
        CagedServerError,
        CagedTimeoutError,
        CagedValidationError,
        MCPError,
    )
    from ._models.account import Account, AccountSession, APIKey, CreatedAPIKey, Session
    from ._models.alerts import Alert, AlertPage, AlertRule, RuleConfig
    from ._models.billing import Subscription, Usage
    from ._models.events import EVENT_TYPES, EventPayload, IngestResponse
    from ._models.files import FileEntry, GitDiff, GitFileStatus
    from ._models.mcp import MCPPrompt, MCPResource, MCPTool
    from ._models.notifications import (
        CLEAR_CREDENTIAL,
        Notification,
        NotificationConfig,
        NotificationConfigUpdate,
        NotificationPage,
    )
    from ._models.refusals import Refusal
    from ._models.sandboxes import (
        ExecResult,
        LogEntry,
        Port,
        Sandbox,
        SandboxConfigSummary,
        SandboxCreateParams,
        TrustScore,
        TrustScoreSummary,
    )
    from ._models.sessions import AgentSession, AgentSessionPage, Pagination, ReplayEvent, ReplayPage, ReplaySummary
    from ._models.snapshots import Snapshot, SnapshotCreateParams, SnapshotDownload
    from ._models.tickets import SocketTicket
    from ._sockets.exec_output import ExecOutput
    from ._sockets.exec_stream import ExecStream
    from ._sockets.mcp import MCPClient
    from ._sockets.terminal import TerminalSession

__all__ = [
    "CLEAR_CREDENTIAL",
    "EVENT_TYPES",
    "APIKey",
    "Account",
    "AccountSession",
    "AgentSession",
    "AgentSessionPage",
    "Alert",
    "AlertPage",
    "AlertRule",
    "AsyncCaged",
    "Caged",
    "CagedAPIError",
    "CagedAuthError",
    "CagedConnectionError",
    "CagedError",
    "CagedNotFoundError",
    "CagedPlanLimitError",
    "CagedRateLimitError",
    "CagedServerError",
    "CagedTimeoutError",
    "CagedValidationError",
    "CreatedAPIKey",
    "EventPayload",
    "ExecOutput",
    "ExecResult",
    "ExecStream",
    "FileEntry",
    "GitDiff",
    "GitFileStatus",
    "IngestResponse",
    "LogEntry",
    "MCPClient",
    "MCPError",
    "MCPPrompt",
    "MCPResource",
    "MCPTool",
    "Notification",
    "NotificationConfig",
    "NotificationConfigUpdate",
    "NotificationPage",
    "Pagination",
    "Port",
    "Refusal",
    "ReplayEvent",
    "ReplayPage",
    "ReplaySummary",
    "RuleConfig",
    "Sandbox",
    "SandboxConfigSummary",
    "SandboxCreateParams",
    "Session",
    "Snapshot",
    "SnapshotCreateParams",
    "SnapshotDownload",
    "SocketTicket",
    "Subscription",
    "TerminalSession",
    "TrustScore",
    "TrustScoreSummary",
    "Usage",
    "__version__",
]

_MODULES = {
    "_client": ("AsyncCaged", "Caged"),
    "_errors": ("MCPError",),
    "_models.account": ("APIKey", "Account", "AccountSession", "CreatedAPIKey", "Session"),
    "_models.alerts": ("Alert", "AlertPage", "AlertRule", "RuleConfig"),
    "_models.billing": ("Subscription", "Usage"),
    "_models.events": ("EVENT_TYPES", "EventPayload", "IngestResponse"),
    "_models.files": ("FileEntry", "GitDiff", "GitFileStatus"),
    "_models.mcp": ("MCPPrompt", "MCPResource", "MCPTool"),
    "_models.notifications": (
        "CLEAR_CREDENTIAL",
        "Notification",
        "NotificationConfig",
        "NotificationConfigUpdate",
        "NotificationPage",
    ),
    "_models.refusals": ("Refusal",),
    "_models.sandboxes": (
        "ExecResult",
        "LogEntry",
        "Port",
        "Sandbox",
        "SandboxConfigSummary",
        "SandboxCreateParams",
        "TrustScore",
        "TrustScoreSummary",
    ),
    "_models.sessions": (
        "AgentSession",
        "AgentSessionPage",
        "Pagination",
        "ReplayEvent",
        "ReplayPage",
        "ReplaySummary",
    ),
    "_models.snapshots": ("Snapshot", "SnapshotCreateParams", "SnapshotDownload"),
    "_models.tickets": ("SocketTicket",),
    "_sockets.exec_output": ("ExecOutput",),
    "_sockets.exec_stream": ("ExecStream",),
    "_sockets.mcp": ("MCPClient",),
    "_sockets.terminal": ("TerminalSession",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = "_errors" if name.startswith("Caged") and name.endswith("Error") else _HOMES.get(name)
    if home is None or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # asked once per name
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
