"""The closed sets of the API as types: a checker flags a value that is none of them.

They bind static checkers alone. What the platform answers is never compared with them, and what a caller passes is
sent as it is: the platform refuses what it does not know, and may learn more.
"""

from __future__ import annotations

from typing import Literal, Union

#: What a sandbox may reach: everything, nothing, or the hosts of its allowlist.
NetworkMode = Literal["full", "none", "allowlist"]
#: Templates by name; custom ones exist, too.
Template = Union[
    Literal[
        "minimal",
        "node-20",
        "node-22",
        "python-311",
        "python-312",
        "go-122",
        "desktop",
        "node",
        "python",
        "gui",
        "computer",
    ],
    str,
]
#: Agents by name; custom ones exist, too.
AgentName = Union[
    Literal["claude-code", "claude", "aider", "codex", "grok", "cline", "continue", "goose"],
    str,
]
#: Where a sandbox stands.
SandboxStatus = Literal["pending", "running", "paused", "stopped", "error", "destroyed"]
#: Where a snapshot stands.
SnapshotStatus = Literal["pending", "completed", "failed"]
#: Where a run of an agent stands.
SessionStatus = Literal["active", "completed", "failed"]
#: How much an alert matters.
AlertSeverity = Literal["info", "warning", "critical"]
#: Where an alert stands.
AlertState = Literal["open", "resolved", "muted"]
#: What a directory's entry is.
FileType = Literal["file", "directory"]
#: What an API key may do.
KeyScope = Literal["full", "read_only"]
#: Plans that can be bought; the platform may have others.
Plan = Union[Literal["pro", "team"], str]
#: Events by type; any other is recorded as ``other``.
EventType = Union[
    Literal["llm_call", "tool_call", "file_op", "command", "network", "error", "lifecycle", "desktop"],
    str,
]
