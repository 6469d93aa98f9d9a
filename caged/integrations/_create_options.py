"""The options of ``caged.sandboxes.create``, as frameworks keep settings: a model of pydantic."""

from __future__ import annotations

from typing import Any, Optional

from pydantic import BaseModel  # type: ignore[import-not-found,unused-ignore]

from .._literals import AgentName, NetworkMode, Template


class CreateOptions(BaseModel, extra="forbid"):  # type: ignore[misc,call-arg,unused-ignore]
    """The arguments of ``caged.sandboxes.create``; None means the platform's default."""

    template: Template = "minimal"
    cpus: Optional[int] = None
    memory_mb: Optional[int] = None
    disk_gb: Optional[int] = None
    network_mode: Optional[NetworkMode] = None
    allowlist: Optional[list[str]] = None
    env: Optional[dict[str, str]] = None
    repo: Optional[str] = None
    repo_token: Optional[str] = None
    repo_branch: Optional[str] = None
    repo_commit: Optional[str] = None
    repo_subdir: Optional[str] = None
    budget: Optional[float] = None
    init_script: Optional[str] = None
    secrets: Optional[list[str]] = None
    timeout: Optional[int] = None
    packages: Optional[list[str]] = None
    agents: Optional[list[AgentName]] = None
    persona_id: Optional[str] = None
    harness_id: Optional[str] = None

    def create_arguments(self) -> dict[str, Any]:
        """These, without what a subclass adds."""
        return {name: getattr(self, name) for name in CreateOptions.model_fields}
