"""Prepared sandboxes: built in a sandbox of the emulator's own, whose file system becomes a layer for others."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Any, Callable, Optional

from ..cage import disk, layers
from ..cage.chosen_isolation import ChosenIsolation
from ..cage.file_tree import OutsideOfSandbox
from ..cage.init_client import SandboxGone
from ..cage.paths import Layout
from ..control.clock import Clock
from ..control.current_account import ALL_ACCOUNTS
from ..control.names import suggestion
from ..control.prepared import PreparedSandbox
from ..control.prepared_registry import PreparedRegistry
from ..store import AccountRecord, Sandbox, Snapshot, Store
from ..workers import Workers
from . import limits
from .live_sandboxes import LiveSandboxes
from .sandbox_setup import SandboxSetup
from .sandbox_starter import SetupError
from .sandbox_states import LIVING

#: Makes a sandbox's directory before it is started. Blocks.
Extract = Callable[[Layout], None]
_PARTS = ("root", "workspace", "tmp")


class PreparedSandboxes:
    """
    Args:
        run_dir: The directory of what goes when the emulator stops.
    """

    def __init__(
        self,
        registry: PreparedRegistry,
        store: Store,
        clock: Clock,
        live: LiveSandboxes,
        isolation: ChosenIsolation,
        setup: SandboxSetup,
        workers: Workers,
        run_dir: Path,
    ) -> None:
        self._registry = registry
        self._store = store
        self._clock = clock
        self._live = live
        self._isolation = isolation
        self._setup = setup
        self._workers = workers
        self._directory = run_dir / "prepared"
        self._builders = run_dir / "builders"
        #: Removed ones whose layers are still used.
        self._removed: list[PreparedSandbox] = []

    # --- using

    def find(self, account: AccountRecord, name: Optional[str]) -> Optional[PreparedSandbox]:
        """What a name means to an account; None when nothing of that name is prepared."""
        return self._registry.find(account.id, name) if name and self._registry else None

    def names(self, account: AccountRecord) -> set[str]:
        """The names of those from which an account can create sandboxes."""
        return {one.name for one in self._registry.list(account.id) if one.is_built} if self._registry else set()

    def use(self, prepared: PreparedSandbox, sandbox: Sandbox) -> None:
        """Note that a sandbox is created from a prepared one, whose layers stay as long as the sandbox lives."""
        prepared.users.add(sandbox.id)
        prepared.used += 1

    # --- making

    async def add(
        self, account: AccountRecord, options: dict[str, Any], extract: Optional[Extract] = None
    ) -> PreparedSandbox:
        """Build a prepared sandbox.

        Args:
            account: The account, or the one that means all.
            options: Values of the options of `PreparedSandbox`.
            extract: Makes the directory that it begins with.

        Raises:
            ValueError, TypeError: An option is wrong, or the name is used.
            SetupError, OSError: It cannot be built.
        """
        prepared = self._registry.add(account.id, **options)
        try:
            await self._remove_unused()
            self._check(prepared)
            snapshot = self._snapshot(prepared)
            prepared.layers = await self._build(prepared, snapshot, extract)
        except BaseException:
            self._registry.remove(prepared)
            raise
        if self._registry.get(prepared.id) is not prepared:  # removed meanwhile, with its account for example
            await self._discard(prepared)
            raise SetupError(f"prepared sandbox {prepared.name!r} was removed while it was built")
        return prepared

    @staticmethod
    def _check(prepared: PreparedSandbox) -> None:
        templates = (*limits.TEMPLATES, *limits.TEMPLATE_ALIASES)
        if prepared.name in templates:
            raise ValueError(f"name: {prepared.name!r} is a template of the platform; choose another name")
        if prepared.template not in templates:
            raise ValueError(f"template: {prepared.template!r} is unknown{suggestion(prepared.template, templates)}")
        prepared.template = limits.TEMPLATE_ALIASES.get(prepared.template, prepared.template)

    def _snapshot(self, prepared: PreparedSandbox) -> Optional[Snapshot]:
        if prepared.from_snapshot is None:
            return None
        known = [one for one in self._store.snapshots.values() if prepared.account in (one.account_id, ALL_ACCOUNTS)]
        snapshot = next((one for one in known if one.id == prepared.from_snapshot), None)
        if snapshot is None:
            hint = suggestion(prepared.from_snapshot, [one.id for one in known])
            raise ValueError(f"from_snapshot: there is no snapshot {prepared.from_snapshot!r}{hint}")
        if snapshot.status != "completed":
            raise ValueError(f"from_snapshot: snapshot {snapshot.id} is {snapshot.status}, not completed")
        return snapshot

    async def _build(
        self, prepared: PreparedSandbox, snapshot: Optional[Snapshot], extract: Optional[Extract]
    ) -> tuple[Path, ...]:
        """Build it, and return its layers."""
        sandbox = self._new_sandbox(prepared)
        directory = self._builders / sandbox.id
        target = self._directory / secrets.token_hex(8)
        self._builders.mkdir(mode=0o700, exist_ok=True)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        try:
            if extract is not None:
                await self._workers.copy.run(extract, self._isolation.current.layout(directory))
            is_filled = snapshot is not None or bool(prepared.files)
            started = await self._setup.start_builder(sandbox, directory, extract is not None, is_filled)
            cage = started.cage
            try:
                if snapshot is not None:
                    restored = await cage.restore(snapshot.file)
                    require_complete(f"from_snapshot: snapshot {snapshot.id}", restored.left_out)
                for path, content in prepared.files.items():
                    await _write(cage, path, content)
                await self._setup.run_steps(sandbox, started)
            finally:
                survivors = await cage.kill()
            if survivors:
                raise SetupError(f"{survivors} processes of {prepared} cannot be ended")
            target.mkdir(mode=0o755)
            freeze = layers.freeze, cage.layout, target, _PARTS, cage.layout.own_root, (), True
            await self._workers.copy.run(cage.layout.as_root, *freeze)
        except SandboxGone as error:
            await self._workers.walk.run(disk.remove, target)
            raise SetupError(str(error)) from error
        except BaseException:
            await self._workers.walk.run(disk.remove, target)
            raise
        finally:
            self._live.drop(sandbox)
            await self._workers.walk.run(disk.remove, directory)
        return (target, *cage.layout.layers)

    def _new_sandbox(self, prepared: PreparedSandbox) -> Sandbox:
        """The record of the sandbox in which it is built. It is in no list, and costs nothing."""
        return Sandbox(
            id=f"prepare-{secrets.token_hex(4)}",
            account_id=prepared.account,
            template=prepared.template,
            cpus=limits.CPUS.default,
            memory_mb=limits.MEMORY_MB.default,
            disk_gb=limits.DISK_GB.default,
            network_mode="full",
            timeout=limits.IDLE_SECONDS,
            created_at=self._clock.timestamp(),
            packages=list(prepared.packages),
            init_script=prepared.init_script,
        )

    # --- removing

    async def remove(self, prepared: PreparedSandbox) -> None:
        """Remove one. Sandboxes that were created from it stay as they are."""
        self._registry.remove(prepared)
        if prepared.is_built:
            self._removed.append(prepared)
        await self._remove_unused()

    async def clear(self, account_id: str) -> None:
        """Remove those that were added for exactly this account; for `*`, every one."""
        for prepared in self._registry.cleared_by(account_id):
            await self.remove(prepared)
        await self._remove_unused()

    async def _remove_unused(self) -> None:
        """Remove the layers of what was removed, unless a living sandbox has mounted them."""
        for prepared in list(self._removed):
            is_gone = prepared not in self._removed  # another call has removed it meanwhile
            if is_gone or any(self._has_files(identifier) for identifier in prepared.users):
                continue
            self._removed.remove(prepared)
            await self._discard(prepared)

    def _has_files(self, identifier: str) -> bool:
        """Whether a sandbox lives, or is being removed: a snapshot of it may not be finished."""
        box = self._store.sandboxes.get(identifier)
        if box is None:
            return self._live.has(identifier)
        return box.status in (*LIVING, "pending", "error")

    async def _discard(self, prepared: PreparedSandbox) -> None:
        """Remove its own layer; that of its packages is the cache's."""
        if prepared.layers:
            await self._workers.walk.run(disk.remove, prepared.layers[0])


def require_complete(source: str, left_out: Collection[str]) -> None:
    """Raise SetupError when a part of what it begins with was left out."""
    if left_out:
        names = ", ".join(f"/{name}" for name in left_out)
        raise SetupError(
            f"{source} has {names}, which a sandbox cannot have here: only /workspace, /root and /tmp can be restored"
            " without overlays (see `caged-emulator doctor`)"
        )


async def _write(cage: Any, path: str, content: Any) -> None:
    try:
        await cage.write(path, content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    except OutsideOfSandbox:
        raise SetupError(f"files: {path} is outside of the sandbox's files") from None
    except OSError as error:
        raise SetupError(f"files: {path}: {error.strerror or error}") from error
