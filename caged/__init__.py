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
    )
    from ._models.account import Account, APIKey, CreatedAPIKey
    from ._models.files import FileEntry, GitDiff, GitFileStatus
    from ._models.refusals import Refusal
    from ._models.sandboxes import ExecResult, LogEntry, Sandbox
    from ._models.snapshots import Snapshot, SnapshotDownload

__all__ = [
    "APIKey",
    "Account",
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
    "ExecResult",
    "FileEntry",
    "GitDiff",
    "GitFileStatus",
    "LogEntry",
    "Refusal",
    "Sandbox",
    "Snapshot",
    "SnapshotDownload",
    "__version__",
]

_MODULES = {
    "_client": ("AsyncCaged", "Caged"),
    "_models.account": ("APIKey", "Account", "CreatedAPIKey"),
    "_models.files": ("FileEntry", "GitDiff", "GitFileStatus"),
    "_models.refusals": ("Refusal",),
    "_models.sandboxes": ("ExecResult", "LogEntry", "Sandbox"),
    "_models.snapshots": ("Snapshot", "SnapshotDownload"),
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
