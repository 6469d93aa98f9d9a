"""Python SDK of the Caged platform: cloud sandboxes for AI agents.

    from caged import Caged

    with Caged() as caged:
        sandbox = caged.sandboxes.create(template="python-312")
        print(caged.sandboxes.exec(sandbox.id, "python --version").output)

Names are loaded when they are first used: every run of pytest where the package is installed imports it, with
`caged.pytest_plugin`, and importing httpx takes time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from ._api_errors import (
        CagedAPIError,
        CagedAuthError,
        CagedNotFoundError,
        CagedPlanLimitError,
        CagedRateLimitError,
        CagedServerError,
        CagedValidationError,
    )
    from ._client import AsyncCaged, Caged
    from ._errors import (
        CagedAgentError,
        CagedCommandError,
        CagedCommandTimeoutError,
        CagedConnectionError,
        CagedDirectoryNotEmptyError,
        CagedError,
        CagedFileExistsError,
        CagedFileNotFoundError,
        CagedIsADirectoryError,
        CagedNotADirectoryError,
        CagedPathError,
        CagedPermissionError,
        CagedProcessLostError,
        CagedSandboxError,
        CagedTimeoutError,
        MCPError,
    )
    from ._literals import (
        AgentName,
        AlertSeverity,
        AlertState,
        EventType,
        FileType,
        KeyScope,
        NetworkMode,
        Plan,
        SandboxStatus,
        SessionStatus,
        SnapshotStatus,
        Template,
    )
    from ._models.account import Account, AccountSession, APIKey, CreatedAPIKey, Session
    from ._models.alerts import Alert, AlertPage, AlertRule, RuleConfig
    from ._models.billing import Subscription, Usage
    from ._models.error_reasons import ErrorReason
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
    from ._workspace.agent_dialects import AgentReply
    from ._workspace.agent_streams import AgentStream, AsyncAgentStream
    from ._workspace.agents import AsyncBoundAgent, BoundAgent
    from ._workspace.async_bound_sandbox import AsyncBoundSandbox
    from ._workspace.bound_sandbox import BoundSandbox
    from ._workspace.commands import RunResult
    from ._workspace.file_stat import FileStat
    from ._workspace.processes import AsyncProcess, OutputChunk, Process, ProcessOutput

__all__ = [
    "CLEAR_CREDENTIAL",
    "EVENT_TYPES",
    "APIKey",
    "Account",
    "AccountSession",
    "AgentName",
    "AgentReply",
    "AgentSession",
    "AgentSessionPage",
    "AgentStream",
    "Alert",
    "AlertPage",
    "AlertRule",
    "AlertSeverity",
    "AlertState",
    "AsyncAgentStream",
    "AsyncBoundAgent",
    "AsyncBoundSandbox",
    "AsyncCaged",
    "AsyncProcess",
    "BoundAgent",
    "BoundSandbox",
    "Caged",
    "CagedAPIError",
    "CagedAgentError",
    "CagedAuthError",
    "CagedCommandError",
    "CagedCommandTimeoutError",
    "CagedConnectionError",
    "CagedDirectoryNotEmptyError",
    "CagedError",
    "CagedFileExistsError",
    "CagedFileNotFoundError",
    "CagedIsADirectoryError",
    "CagedNotADirectoryError",
    "CagedNotFoundError",
    "CagedPathError",
    "CagedPermissionError",
    "CagedPlanLimitError",
    "CagedProcessLostError",
    "CagedRateLimitError",
    "CagedSandboxError",
    "CagedServerError",
    "CagedTimeoutError",
    "CagedValidationError",
    "CreatedAPIKey",
    "ErrorReason",
    "EventPayload",
    "EventType",
    "ExecOutput",
    "ExecResult",
    "ExecStream",
    "FileEntry",
    "FileStat",
    "FileType",
    "GitDiff",
    "GitFileStatus",
    "IngestResponse",
    "KeyScope",
    "LogEntry",
    "MCPClient",
    "MCPError",
    "MCPPrompt",
    "MCPResource",
    "MCPTool",
    "NetworkMode",
    "Notification",
    "NotificationConfig",
    "NotificationConfigUpdate",
    "NotificationPage",
    "OutputChunk",
    "Pagination",
    "Plan",
    "Port",
    "Process",
    "ProcessOutput",
    "ReplayEvent",
    "ReplayPage",
    "ReplaySummary",
    "RuleConfig",
    "RunResult",
    "Sandbox",
    "SandboxConfigSummary",
    "SandboxCreateParams",
    "SandboxStatus",
    "Session",
    "SessionStatus",
    "Snapshot",
    "SnapshotCreateParams",
    "SnapshotDownload",
    "SnapshotStatus",
    "SocketTicket",
    "Subscription",
    "Template",
    "TerminalSession",
    "TrustScore",
    "TrustScoreSummary",
    "Usage",
    "__version__",
]

_MODULES = {
    "_api_errors": (
        "CagedAPIError",
        "CagedAuthError",
        "CagedNotFoundError",
        "CagedPlanLimitError",
        "CagedRateLimitError",
        "CagedServerError",
        "CagedValidationError",
    ),
    "_client": ("AsyncCaged", "Caged"),
    "_errors": (
        "CagedAgentError",
        "CagedCommandError",
        "CagedCommandTimeoutError",
        "CagedConnectionError",
        "CagedDirectoryNotEmptyError",
        "CagedError",
        "CagedFileExistsError",
        "CagedFileNotFoundError",
        "CagedIsADirectoryError",
        "CagedNotADirectoryError",
        "CagedPathError",
        "CagedPermissionError",
        "CagedProcessLostError",
        "CagedSandboxError",
        "CagedTimeoutError",
        "MCPError",
    ),
    "_literals": (
        "AgentName",
        "AlertSeverity",
        "AlertState",
        "EventType",
        "FileType",
        "KeyScope",
        "NetworkMode",
        "Plan",
        "SandboxStatus",
        "SessionStatus",
        "SnapshotStatus",
        "Template",
    ),
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
    "_models.error_reasons": ("ErrorReason",),
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
    "_workspace.agent_dialects": ("AgentReply",),
    "_workspace.agent_streams": ("AgentStream", "AsyncAgentStream"),
    "_workspace.agents": ("AsyncBoundAgent", "BoundAgent"),
    "_workspace.async_bound_sandbox": ("AsyncBoundSandbox",),
    "_workspace.bound_sandbox": ("BoundSandbox",),
    "_workspace.commands": ("RunResult",),
    "_workspace.file_stat": ("FileStat",),
    "_workspace.processes": ("AsyncProcess", "OutputChunk", "Process", "ProcessOutput"),
}
if not TYPE_CHECKING:  # to a checker, it would stand for every name there could be
    from ._lazy import lazy_names

    __getattr__, __dir__ = lazy_names(__name__, globals(), _MODULES, ("emulator", "pytest_plugin"))
