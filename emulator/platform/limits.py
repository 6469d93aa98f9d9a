"""The platform's numbers and catalogues. Source unless noted: docs/contract/platform-behaviour.md, Part A."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

TEMPLATES = ("minimal", "node-20", "node-22", "python-311", "python-312", "go-122", "desktop")
TEMPLATE_ALIASES: dict[str, str] = {
    "node": "node-22",
    "python": "python-312",
    "gui": "desktop",
    "computer": "desktop",
}

#: Templates of the platform's older documentation that its newer clients do not list (Part B, 20).
OLDER_TEMPLATES = ("go-122",)

#: agent -> the command that it puts on the sandbox's PATH (`continue` is a word of the shell; its command is cn).
AGENTS: dict[str, str] = {
    "claude-code": "claude",
    "aider": "aider",
    "codex": "codex",
    "grok": "grok",
    "cline": "cline",
    "continue": "cn",
    "goose": "goose",
}
AGENT_ALIASES: dict[str, str] = {"claude": "claude-code"}
AGENT_MEMORY_MB = 1024


def agent_name(name: str) -> Optional[str]:
    """Return the platform's name of an agent, given that name, an alias or its command; None for an unknown one."""
    by_command = {command: agent for agent, command in AGENTS.items()}
    found = AGENT_ALIASES.get(name) or by_command.get(name) or name
    return found if found in AGENTS else None


def agent_names() -> list[str]:
    """Return all names that `agent_name` knows."""
    return [*AGENTS, *AGENT_ALIASES, *(command for command in AGENTS.values() if command not in AGENT_ALIASES)]


NETWORK_MODES = ("full", "none", "allowlist")


@dataclass(frozen=True)
class Range:
    default: int
    least: int
    most: int


CPUS = Range(2, 1, 8)
MEMORY_MB = Range(512, 128, 8192)
DISK_GB = Range(5, 1, 50)
IDLE_SECONDS = 900

#: Processes in one sandbox at the same time; the platform names no number, this one is ours.
PROCESSES = 512

#: Part B, 15: ports of a sandbox that are listed, those with a preview, requests per minute to each. Seconds between
#: two searches: each port is found within two.
PORTS = 20
HTTP_PORTS = (80, 3000, 4200, 5000, 5173, 8000, 8080, 8888)
PREVIEW_REQUESTS = 100
PORTS_SECONDS = 1.0

BODY_BYTES = 10 * 1024 * 1024
#: Of a body: characters of a text and entries of a list or object, unless a field has a limit of its own.
TEXT_CHARACTERS, LIST_ENTRIES = 64 * 1024, 1000
#: Of a create.
REPO_CHARACTERS, REF_CHARACTERS, SCRIPT_CHARACTERS = 8192, 4096, 1024 * 1024
ENV_VARIABLES, ENV_BYTES = 5000, 1024 * 1024
READ_BYTES = 1024 * 1024
#: Of a file that is read in pieces, by the inspector.
PIECES_BYTES = 1024 * 1024 * 1024
OUTPUT_BYTES = 16 * 1024 * 1024
MANUAL_SNAPSHOTS = 20
SNAPSHOT_BYTES = 2 * 1024**3  # Part B, 17
DOWNLOAD_SECONDS = 3600
#: Characters of a command in a sandbox's log.
LOGGED_COMMAND = 500
#: Characters of the reason why a sandbox could not be made or started.
REASON = 4000
LOGS_DEFAULT = 100
LOGS_MOST = 1000
#: How long each step of a create may take: the platform bounds the whole at 5 minutes (wire-other-clients.md 2.1).
BUILD_SECONDS = 300.0


@dataclass(frozen=True)
class Tier:
    """A plan. `requests`: per minute. `idle_seconds`: the longest idle timeout; no source gives it, the values are
    ours."""

    name: str
    requests: int
    sandboxes: Optional[int]
    keys: Optional[int]
    idle_seconds: int


#: Part B, 2 (requests), 4.2 (sandboxes) and 3 (the one key of the free plan).
TIERS: dict[str, Tier] = {
    "free": Tier("free", 60, 2, 1, 3600),
    "pro": Tier("pro", 300, 10, None, 6 * 3600),
    "team": Tier("team", 1000, 50, None, 24 * 3600),
}
#: Without --tier an account has the team's name and no limits.
UNLIMITED = Tier("team", 1000, None, None, 24 * 3600)

#: USD per hour: per core, per GB of memory, per GB of disk (Part B, 11).
CPU_RATE = 0.01
MEMORY_RATE = 0.005
DISK_RATE = 0.001
BUDGET_WARNINGS = (80, 95)
BUDGET_MARKS = (*BUDGET_WARNINGS, 100)
#: Directories of destroyed sandboxes that are being removed; with more, a destroy waits for one of them.
REMOVALS = 16
