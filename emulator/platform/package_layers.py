"""Packages that are installed once: into a layer, which later sandboxes use.

The installer runs in a sandbox of the emulator's own, which has nothing of an account: no environment, secrets, files
or repository. Its processes are ended before a layer is made of what it has changed. Everything that the result depends
on is part of the layer's key. Where that is not known, packages are installed in the sandbox itself.
"""

from __future__ import annotations

import asyncio
import functools
import os
import platform
import re
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from caged import __version__

from ..cache.cache import Cache, EntryBuilder
from ..cache.entries import Key, UsedEntry
from ..cache.location import CacheUnusable, cache_directory
from ..cage import disk, layers
from ..cage.cage import Cage
from ..cage.chosen_isolation import ChosenIsolation
from ..cage.command_result import CommandResult
from ..cage.init_client import SandboxGone
from ..cage.paths import Layout
from ..cage.provisioning import Limits, Provisioner, SandboxSpec
from ..cage.proxy import Proxy
from ..cage.toolchains import Toolchain, Toolchains
from ..cage.zygote import ZygoteError
from ..config import EmulatorConfig
from ..store import Sandbox
from ..workers import Workers
from . import limits
from .command_stubs import CommandStubs
from .package_downloads import NPM, NPM_DOWNLOAD, PIP, PackageDownloads, reason_not_kept
from .recorder import SandboxRecorder

#: A layer that is older is made anew: there may be newer versions of its packages.
MOST_AGE_SECONDS = 7 * 24 * 3600
#: Layers that one emulator keeps in use, so that they are checked once only. Each is a descriptor.
LAYERS_HELD = 64
#: Seconds between two looks at whether another emulator has made a layer.
_POLL_SECONDS = 0.05
#: Seconds for which what was found out about the host's programs is used again.
_LOOK_SECONDS = 2.0
_PIP, _NPM, _GO = "pip install", "npm install -g", "go install"
_NAME = r"[A-Za-z0-9][\w.-]*"
_EXTRAS_AND_VERSION = r"(\[[\w.,\s-]*\])?(\s*(==|>=|<=|~=|!=|<|>|@)[\w.*+!,<>=~^\s-]*)?\Z"
#: What each installer takes for a name of a registry, with extras and a version. Anything else may be a file of the
#: sandbox, or change at any time: `libs/tool` is a directory to pip, and a repository at GitHub to npm.
_PIP_NAME = re.compile(rf"{_NAME}{_EXTRAS_AND_VERSION}")
_NPM_NAME = re.compile(rf"(@{_NAME}/)?{_NAME}{_EXTRAS_AND_VERSION}")
_GO_NAME = re.compile(rf"{_NAME}(/[\w.-]+)*{_EXTRAS_AND_VERSION}")
_REGISTRY_NAME = {_PIP: _PIP_NAME.match, _NPM: _NPM_NAME.match, _GO: _GO_NAME.match}
#: The end, before any extras, of what an installer takes for a file.
_ARCHIVE = re.compile(r"\.(whl|zip|tgz|tbz2?|txz|tlz|tar(\.\w+)?)(\[[^\]]*\])?\s*\Z", re.IGNORECASE)
#: Variables of which no installer and no build of a package takes notice. Any other may change what is built.
_HARMLESS_VARIABLE = re.compile(
    r"(ANTHROPIC|OPENAI|GOOGLE|GEMINI|MISTRAL|CODEX|GITHUB|GH|GITLAB|DATABASE|STRIPE|SENTRY)"
    r"_(API_KEY|TOKEN|SECRET|URL|DSN)|CAGED_RUN_ID|SECRET|TOKEN|API_KEY"
)
#: Configuration of package managers on the host.
_CONFIGURATION = ("/etc/pip.conf", "/etc/xdg/pip/pip.conf", "/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc")
#: In a home: what installers keep for their next run. Packages keep programs in other directories of `.cache`.
_DOWNLOADS = (PIP, ".cache/go-build", NPM, ".npm/_logs")


@dataclass(frozen=True)
class Installed:
    """Packages that were installed outside of the sandbox.

    Attributes:
        result: The end of the installer.
        layer: The directory of the layer; None when the installer failed.
        from_cache: Whether it was there already.
        entry: What has to be released when the layer was copied; None for one that stays as long as the emulator runs.
        refused: The hosts and ports that the installer wanted to reach and that are not on the allowlist.
    """

    result: CommandResult
    layer: Optional[Path] = None
    from_cache: bool = False
    entry: Optional[UsedEntry] = None
    refused: Sequence[tuple[str, int]] = ()


def install_command(sandbox: Sandbox) -> str:
    """The command that installs a sandbox's packages."""
    return f"{_installer(sandbox)} {shlex.join(sandbox.packages)}"


def _installer(sandbox: Sandbox) -> str:
    if sandbox.template.startswith("node"):
        return _NPM
    return _GO if sandbox.template.startswith("go") else _PIP


class PackageLayers:
    """The layers of packages that one emulator uses. `close` has to follow.

    Args:
        run_dir: The directory of what goes when the emulator stops, in which installers run.
        relayed: Receives the local addresses of connections that are made on behalf of installers.
        is_persistent: Whether sandboxes outlive the emulator, and so have to have copies of their layers.
    """

    def __init__(
        self,
        config: EmulatorConfig,
        isolation: ChosenIsolation,
        provisioner: Provisioner,
        toolchains: Toolchains,
        command_stubs: CommandStubs,
        recorder: SandboxRecorder,
        workers: Workers,
        run_dir: Path,
        relayed: set[tuple[str, int]],
        is_persistent: bool,
    ) -> None:
        self._config = config
        self._isolation = isolation
        self._provisioner = provisioner
        self._toolchains = toolchains
        self._command_stubs = command_stubs
        self._recorder = recorder
        self._workers = workers
        self._builders = run_dir / "builders"
        self._links = run_dir / "building"
        self._relayed = relayed
        self.is_persistent = is_persistent
        self._cache: Optional[Cache] = None
        self._held: dict[str, UsedEntry] = {}
        self._replaced: list[UsedEntry] = []
        self._locks: dict[str, asyncio.Lock] = {}
        self._host_states: dict[str, tuple[float, list[Any]]] = {}

    def close(self) -> None:
        """Let others remove the layers."""
        for entry in (*self._held.values(), *self._replaced):
            entry.release()
        self._held.clear()
        self._replaced.clear()

    async def obtain(self, sandbox: Sandbox) -> Optional[Installed]:
        """Install a sandbox's packages into a layer, unless there is one.

        Returns:
            What was installed; None when the packages have to be installed in the sandbox itself.
        """
        if not self._is_possible(sandbox):
            return None
        chain = await self._toolchains.find_soon(sandbox.template)
        key = self._key(sandbox, chain)
        lock = self._locks.setdefault(key.digest, asyncio.Lock())
        async with lock:
            try:
                return await asyncio.wait_for(self._obtain(sandbox, chain, key), limits.BUILD_SECONDS)
            except (CacheUnusable, OSError, SandboxGone, ZygoteError, asyncio.TimeoutError) as error:
                self._cache = None  # it is opened anew the next time: it may have been removed
                reason = str(error) or f"the layer was not made within {limits.BUILD_SECONDS:g} s"
                self._recorder.log(sandbox, f"packages are installed without the cache: {reason}", "warning")
                return None
            finally:
                self._locks.pop(key.digest, None)

    # --- whether a layer gives the same as an installation

    def _is_possible(self, sandbox: Sandbox) -> bool:
        """Whether what the installer does depends on the key alone.

        At level `process` a sandbox can write to what belongs to the user, and what was installed holds the paths of
        the sandbox that it was installed in. Without a network there is nothing to install from. An allowlist that is
        not enforced is not what the key says.
        """
        return (
            self._config.cache
            and self._isolation.current.level != "process"
            and (sandbox.network_mode == "full" or self._has_allowlist(sandbox))
            and all(_is_registry_name(_installer(sandbox), name) for name in sandbox.packages)
            and all(_HARMLESS_VARIABLE.fullmatch(name) for name in sandbox.env)
            and not (sandbox.template.startswith("go") and sandbox.repo is not None)
            and not self._command_stubs.may_answer(sandbox, install_command(sandbox))
            and not self._command_stubs.has_programs(sandbox)
        )

    def _has_allowlist(self, sandbox: Sandbox) -> bool:
        return sandbox.network_mode == "allowlist" and self._isolation.current.own_network

    def _key(self, sandbox: Sandbox, chain: Toolchain) -> Key:
        parts = {
            "emulator": __version__,
            "command": install_command(sandbox),
            "template": sandbox.template,
            "network": [sandbox.network_mode, *sorted(sandbox.allowlist)],
            "isolation": self._isolation_key(),
            "memory_mb": sandbox.memory_mb if self._config.limits else 0,
            "disk_gb": sandbox.disk_gb if self._config.limits else 0,
            "host_state": self._host_state(chain),
            "host": _host(),
            "left_out": _DOWNLOADS,
        }
        return Key("packages", f"{sandbox.template}: {' '.join(sandbox.packages)}", parts)

    def _host_state(self, chain: Toolchain) -> list[Any]:
        """The state of what the installer uses of the host, looked at again after some time only."""
        looked, state = self._host_states.get(chain.template, (0.0, []))
        now = time.monotonic()
        if not state or now - looked > _LOOK_SECONDS:
            state = [_state_of_programs(chain), [_state(path) for path in _CONFIGURATION]]
            self._host_states[chain.template] = (now, state)
        return state

    # --- finding and making

    async def _obtain(self, sandbox: Sandbox, chain: Toolchain, key: Key) -> Installed:
        held = self._held.get(key.digest)
        if held is not None and not _is_old(held) and held.is_in_place:
            return self._installed(held)
        if self._cache is None:
            self._cache = await self._workers.walk.run(self._open_cache)
        while True:
            found = await self._workers.walk.run(self._cache.find, key)
            if found is not None:
                if not _is_old(found):
                    return self._hold(key, found)
                found.release()
            builder = await self._workers.walk.run(self._cache.begin, key)
            if builder is not None:
                return await self._make(sandbox, chain, builder)
            await asyncio.sleep(_POLL_SECONDS)

    def _open_cache(self) -> Cache:
        return Cache(cache_directory(self._config.cache_dir), self._config.cache_mb, self._links)

    def _hold(self, key: Key, entry: UsedEntry, from_cache: bool = True) -> Installed:
        if len(self._held) + len(self._replaced) >= LAYERS_HELD:
            return self._installed(entry, from_cache, is_held=False)
        earlier = self._held.pop(key.digest, None)
        if earlier is not None:
            self._replaced.append(earlier)  # because it is old or was moved: sandboxes may still use it
        self._held[key.digest] = entry
        return self._installed(entry, from_cache)

    @staticmethod
    def _installed(entry: UsedEntry, from_cache: bool = True, is_held: bool = True) -> Installed:
        details = entry.description.details
        output = details.get("output")
        result = CommandResult(output.encode() if isinstance(output, str) else b"", 0, False)
        return Installed(result, entry.content, from_cache, None if is_held else entry, _refused(details))

    async def _make(self, sandbox: Sandbox, chain: Toolchain, builder: EntryBuilder) -> Installed:
        try:
            directory = self._builders / f"layer-{secrets.token_hex(4)}"
            try:
                self._builders.mkdir(mode=0o700, exist_ok=True)
                refused: list[tuple[str, int]] = []
                result = await self._install(sandbox, chain, directory, builder.content, refused)
            finally:
                await self._workers.walk.run(disk.remove, directory)
            if result.code != 0 or result.error is not None:
                return Installed(result, refused=refused)
            details = {"output": result.output.decode("utf-8", "replace"), "refused": refused}
            entry = await self._workers.walk.run(builder.publish, details)
            if entry is None:
                raise OSError("the new layer was removed at once")
            return self._hold(builder.key, entry, from_cache=False)
        finally:
            await self._workers.walk.run(builder.abandon)

    async def _install(
        self, sandbox: Sandbox, chain: Toolchain, directory: Path, target: Path, refused: list[tuple[str, int]]
    ) -> CommandResult:
        """Run the installer in a sandbox of its own, and make the layer when it has succeeded.

        Args:
            refused: Receives what the allowlist has refused.
        """
        downloads = self._downloads(sandbox)
        if _installer(sandbox) == _NPM and downloads is not None:
            await self._download(sandbox, chain, directory, downloads)
        is_pip = _installer(sandbox) == _PIP
        found = None if downloads is None else await self._workers.walk.run(downloads.find)
        try:
            cage = await self._open(sandbox, chain, directory, found, refused)
            try:
                cage.programs.install_toolchain(chain)
                # Before the installation, which may replace pip.
                version = (await cage.shell("pip --version", {})).output if is_pip else b""
                result = await cage.shell(install_command(sandbox), {})
            finally:
                survivors = await cage.kill()
            if result.code == 0 and result.error is None:
                if survivors:
                    raise OSError(f"{survivors} processes of the installer cannot be ended")
                # Without overlays there is nothing but copies of the host's files.
                has_system = self._isolation.current.root == "overlays"
                freeze = layers.freeze, cage.layout, target, ("root",), has_system, _DOWNLOADS
                await self._workers.copy.run(cage.layout.as_root, *freeze)
                if is_pip and downloads is not None:
                    refusal = reason_not_kept(version)
                    if refusal is None:
                        await self._keep(sandbox, downloads, cage.layout, result.output, found)
                    else:
                        self._recorder.log(sandbox, f"the downloads are not kept: {refusal}")
            return result
        finally:
            if found is not None:
                found.release()

    def _downloads(self, sandbox: Sandbox) -> Optional[PackageDownloads]:
        """The downloads of the installer; None for one whose downloads are not kept. With an allowlist they are neither
        used nor kept: what was downloaded once may be what the allowlist refuses."""
        assert self._cache is not None
        if sandbox.network_mode == "allowlist":
            return None
        place = {_PIP: PIP, _NPM: NPM}.get(_installer(sandbox))
        return None if place is None else PackageDownloads(self._cache, self._isolation_key(), place)

    async def _open(
        self,
        sandbox: Sandbox,
        chain: Toolchain,
        directory: Path,
        found: Optional[UsedEntry],
        refused: list[tuple[str, int]],
    ) -> Cage:
        proxy = None
        if sandbox.network_mode == "allowlist":
            proxy = Proxy(sandbox.allowlist, lambda *place: refused.append(place), directory.name, self._relayed)
        spec = SandboxSpec(
            directory.name,
            network=sandbox.network_mode,
            show=chain.needs,
            proxy=proxy,
            limits=self._limits(sandbox),
            layers=() if found is None else (found.content,),
        )
        return await self._provisioner.open(directory, spec)

    async def _download(self, sandbox: Sandbox, chain: Toolchain, directory: Path, downloads: PackageDownloads) -> None:
        """Download the packages in a sandbox in which none of their code runs. The installation works without it."""
        directory = directory.with_name(f"{directory.name}-downloads")
        found = await self._workers.walk.run(downloads.find)
        try:
            try:
                cage = await self._open(sandbox, chain, directory, found, [])
                try:
                    cage.programs.install_toolchain(chain)
                    result = await cage.shell(f"{NPM_DOWNLOAD} {shlex.join(sandbox.packages)}", {})
                finally:
                    survivors = await cage.kill()
                if result.code == 0 and result.error is None and not survivors:
                    await self._keep(sandbox, downloads, cage.layout, result.output, found)
            finally:
                await self._workers.walk.run(disk.remove, directory)
        finally:
            if found is not None:
                found.release()

    async def _keep(
        self,
        sandbox: Sandbox,
        downloads: PackageDownloads,
        layout: Layout,
        output: bytes,
        found: Optional[UsedEntry],
    ) -> None:
        """Keep the downloads. The layer is complete without them."""
        try:
            await self._workers.copy.run(downloads.keep, layout, output, found)
        except OSError as error:
            self._recorder.log(sandbox, f"the downloads are not kept: {error}", "warning")

    def _isolation_key(self) -> list[Any]:
        isolation = self._isolation.current
        users = isolation.ids.as_json() if isolation.ids is not None else None
        return [isolation.level, isolation.root, isolation.in_user_namespace, users, os.geteuid(), os.getegid()]

    def _limits(self, sandbox: Sandbox) -> Optional[Limits]:
        if not self._config.limits:
            return None
        return Limits(sandbox.memory_mb, sandbox.cpus, sandbox.disk_gb, limits.PROCESSES)


def _is_registry_name(installer: str, name: str) -> bool:
    return _REGISTRY_NAME[installer](name) is not None and _ARCHIVE.search(name) is None


def _refused(details: dict[str, Any]) -> list[tuple[str, int]]:
    """The hosts and ports that the installer's allowlist refused. A file of the cache may hold anything."""
    places = details.get("refused")
    return [
        (place[0], place[1])
        for place in (places if isinstance(places, list) else [])
        if isinstance(place, list) and [type(part) for part in place] == [str, int] and 0 < place[1] < 65536
    ]


def _is_old(entry: UsedEntry) -> bool:
    return time.time() - entry.description.created_at > MOST_AGE_SECONDS


def _state(path: str) -> Optional[list[Any]]:
    """What changes when a file is replaced, or an entry is added to a directory; None where there is none."""
    try:
        path = os.path.realpath(path)
        status = os.stat(path)
    except OSError:
        return None
    return [path, status.st_size, status.st_mtime_ns]


def _state_of_programs(chain: Toolchain) -> list[Any]:
    """The state of interpreter and installer, and of the packages that the interpreter has without any installation:
    pip does not install what is there."""
    found = [_state(target) for _, target in sorted(chain.links.items())]
    for target in chain.links.values():
        found.append(_state(os.path.join(os.path.dirname(os.path.realpath(target)), "..", "package.json")))
    for place in _package_directories(chain):
        found.append(_state(place))
    return found


def _package_directories(chain: Toolchain) -> Iterator[str]:
    for prefix in sorted({*chain.needs, "/usr", "/usr/local"}):
        try:
            names = sorted(os.listdir(f"{prefix}/lib"))
        except OSError:
            continue
        for name in names:
            if name.startswith("python3"):
                yield f"{prefix}/lib/{name}/site-packages"
                yield f"{prefix}/lib/{name}/dist-packages"


@functools.cache
def _host() -> list[str]:
    """The system that programs were built for."""
    try:
        release = Path("/etc/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        release = ""
    return [release, platform.machine(), os.confstr("CS_GNU_LIBC_VERSION") or "" if _has_glibc() else "musl"]


def _has_glibc() -> bool:
    return "CS_GNU_LIBC_VERSION" in os.confstr_names
