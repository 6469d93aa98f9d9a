"""What the zygote and init need to know of a sandbox, as JSON. The modules in `inside/` read it as a plain dict."""

from __future__ import annotations

from typing import Any, Optional, TypedDict


class _LevelSpec(TypedDict):
    """What `IsolationLevel.spec` sets.

    Attributes:
        id: The sandbox's id, which is also its host name.
        isolation: The isolation level.
        directory: The sandbox's directory on the host.
        network: "full", "none" or "allowlist".
        hide: Host directories that it does not see (`hidden_directories.py`).
        show: Host directories that it sees all the same, read-only; the shortest first.
        root_kind: How its root is made: one of `isolation.ROOTS`, or "" at level `process`.
        own_user: Whether it has a user namespace of its own.
        users: The users that are mapped into it (`SubordinateIds.as_json`); None for root alone.
        core: Selects the first of its cores. Any number that differs from sandbox to sandbox distributes them.
        python: The prefix of the interpreter that is shown as `interpreter.PYTHON`, or "".
        real_root: Whether root inside is the machine's own, who may change kernel settings.
        proxy_port: Where the proxy listens inside, for the network "allowlist".
        counted: Whether the kernel counts processes per sandbox: not for the machine's real root, whatever namespace,
            and not where a sandbox has several users, because each has the limit for itself.
        confine: Without namespaces: whether its processes are kept from signalling others.
        own_users: Candidate user ids for that. Init switches to the first that exists on this machine, where root could
            signal other sandboxes.
    """

    id: str
    isolation: str
    directory: str
    network: str
    hide: list[str]
    show: list[str]
    root_kind: str
    own_user: bool
    users: Optional[dict[str, Any]]
    core: int
    python: str
    real_root: bool
    proxy_port: int
    counted: bool
    confine: bool
    own_users: list[int]


class RootSpec(TypedDict, total=False):
    """What the root of a sandbox consists of: of the host's directories with overlays, or of copies.

    Attributes:
        mask: The directory of the mask.
        overlaid: Top-level directories that are mounted as overlays.
        complete: Those of them of which the mask has all, so that the host's is not a layer.
        programs: Top-level directories of the host's programs, where nothing is mounted as an overlay.
        copied: The directories of which the sandbox has a copy.
        bound: The host's paths that are seen in these, read-only.
    """

    mask: str
    overlaid: list[str]
    complete: list[str]
    programs: list[str]
    copied: list[str]
    bound: list[str]


class InitSpec(_LevelSpec, RootSpec, total=False):
    """All of it. What the level does not say is set by `Provisioner`, as far as the sandbox has it.

    Attributes:
        root: The directory in which init builds the sandbox's root.
        layers: Directories of layers below what the sandbox changes, topmost first, by `root`, `top` or top-level
            directory.
        limits: The fields of `Limits`.
        bwrap: The command line of level `bwrap`.
        bwrap_errors: The file that gets its standard error.
    """

    root: str
    layers: dict[str, list[str]]
    limits: dict[str, Any]
    bwrap: list[str]
    bwrap_errors: str
