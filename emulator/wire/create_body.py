"""The body of POST /v1/sandboxes (wire-contract.md 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field

from ..cage.git import Repo
from ..control.step_redaction import environment_values
from ..platform import limits
from .operation import Body

if TYPE_CHECKING:
    from pydantic import JsonValue


def _range_schema(allowed: limits.Range) -> dict[str, Any]:
    """The JSON schema of a number within a range, or 0 for its default."""
    number = {"type": "integer", "minimum": allowed.least, "maximum": allowed.most}
    return {"anyOf": [number, {"const": 0}, {"type": "null"}]}


_ALLOWLIST_NEEDS_HOSTS: dict[str, Any] = {
    "required": ["template"],
    "if": {"properties": {"network_mode": {"const": "allowlist"}}, "required": ["network_mode"]},
    "then": {"properties": {"allowlist": {"type": "array", "minItems": 1}}, "required": ["allowlist"]},
}
_TEMPLATE_NAMES: list[JsonValue] = [*limits.TEMPLATES, *limits.TEMPLATE_ALIASES]
_AGENT_NAMES: list[JsonValue] = [*limits.AGENTS, *limits.AGENT_ALIASES]


def credentials_in(url: str) -> list[str]:
    """The password or token in a repository's URL: decoded, with the user as in the URL, and alone as in the URL."""
    if len(url) > limits.REPO_CHARACTERS:
        return []
    try:
        _clean, _user, secret = Repo(url).split_credentials()
    except ValueError:
        return []
    if not secret:
        return []
    both = urlsplit(url).netloc.rpartition("@")[0]
    return [secret, both, both.rpartition(":")[2]]


class CreateSandbox(Body):
    """The body of POST /v1/sandboxes. A number of 0 means the default. `timeout` is in seconds of idleness."""

    model_config = ConfigDict(json_schema_extra=_ALLOWLIST_NEEDS_HOSTS)
    sizes = {
        "repo": limits.REPO_CHARACTERS,
        "repo_token": limits.REPO_CHARACTERS,
        "repo_branch": limits.REF_CHARACTERS,
        "repo_commit": limits.REF_CHARACTERS,
        "repo_subdir": limits.REF_CHARACTERS,
        "init_script": limits.SCRIPT_CHARACTERS,
        "env": limits.ENV_VARIABLES,
        "env[]": limits.ENV_BYTES,  # create_options.py checks the bytes of all variables together
        "secrets[]": limits.REF_CHARACTERS,
        "allowlist[]": limits.REF_CHARACTERS,
        "packages[]": limits.REF_CHARACTERS,
    }

    template: Optional[str] = Field(None, json_schema_extra={"anyOf": [{"enum": _TEMPLATE_NAMES}]})
    cpus: Optional[int] = Field(None, json_schema_extra=_range_schema(limits.CPUS))
    memory_mb: Optional[int] = Field(None, json_schema_extra=_range_schema(limits.MEMORY_MB))
    disk_gb: Optional[int] = Field(None, json_schema_extra=_range_schema(limits.DISK_GB))
    network_mode: Optional[str] = Field(None, json_schema_extra={"enum": [*limits.NETWORK_MODES, "", None]})
    allowlist: Optional[list[str]] = None
    env: Optional[dict[str, str]] = Field(None, json_schema_extra={"propertyNames": {"pattern": "^[^= \\t\\n]+$"}})
    repo: Optional[str] = None
    repo_token: Optional[str] = None
    repo_branch: Optional[str] = None
    repo_commit: Optional[str] = None
    repo_subdir: Optional[str] = None
    budget: Optional[float] = Field(None, json_schema_extra={"minimum": 0})
    init_script: Optional[str] = None
    secrets: Optional[list[str]] = None
    timeout: Optional[int] = Field(None, json_schema_extra={"minimum": 0})
    packages: Optional[list[str]] = None
    agents: Optional[list[str]] = Field(None, json_schema_extra={"items": {"enum": _AGENT_NAMES}})
    persona_id: Optional[str] = None
    harness_id: Optional[str] = None

    def secret_values(self) -> list[str]:
        named = [(self.env or {}).get(name, "") for name in self.secrets or ()]
        return [*named, self.repo_token or "", *credentials_in(self.repo or "")]

    def environment_values(self) -> list[str]:
        return environment_values(self.env or {})
