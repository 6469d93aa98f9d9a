"""One sandbox: its directory, its programs and its processes, as one object."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional

from . import archive, toolchains, tree
from .paths import Layout
from .process import OUTPUT_LIMIT, Asked, Result, SandboxProcesses
from .toolchains import STANDARD_PATH, Toolchain
from .zygote import Zygote, inside_command

#: Above this many bytes a command travels in a file: the kernel takes at most 128 KiB in one argument.
_INLINE_COMMAND = 100_000


class Cage:
    """A sandbox in `process` walls. Made by `open_cage`, ended by `kill` and `remove`."""

    def __init__(self, sandbox_id: str, layout: Layout, shell: str, processes: SandboxProcesses) -> None:
        self.layout = layout
        self._id = sandbox_id
        self._shell = shell
        self._processes = processes
        # Where the sandboxes' directory lies inside a repository of the developer (a state_dir in the project), git
        # must not take that for the sandbox's own. Looked up once; elsewhere the variable is not there at all.
        in_repository = any((parent / ".git").exists() for parent in layout.directory.parents)
        self._git_ceiling = {"GIT_CEILING_DIRECTORIES": str(layout.directory)} if in_repository else {}

    @property
    def alive(self) -> bool:
        return self._processes.alive

    @property
    def init_pid(self) -> Optional[int]:
        return self._processes.pid

    # --- commands

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        layout = self.layout
        base = {
            "HOME": str(layout.home),
            "USER": "root",
            "SHELL": self._shell,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PATH": f"{layout.bin}:{layout.home}/.local/bin:{STANDARD_PATH}",
            "TMPDIR": str(layout.tmp),
            "CAGED_SANDBOX_ID": self._id,
            **self._git_ceiling,
        }
        return {**base, **{name: layout.to_host_text(value) for name, value in env.items()}}

    async def shell(self, command: str, env: Mapping[str, str], limit: int = OUTPUT_LIMIT) -> Result:
        """`bash -c COMMAND` in /workspace. Cancelled, it kills the command and all that came from it.
        Raises Gone when the sandbox's processes are gone."""
        command = self.layout.to_host_text(command)
        if len(command.encode("utf-8", "surrogateescape")) < _INLINE_COMMAND:
            return await self.program([self._shell, "-c", command], env, limit)
        script = self.layout.opt / f"command-{os.urandom(6).hex()}"
        try:
            await asyncio.to_thread(script.write_text, command, "utf-8", "surrogateescape")
        except OSError as error:
            return Result(b"", -1, False, f"/opt/caged cannot be written to ({error.strerror})")
        try:
            read = f'IFS= read -r -d "" __c < {script}; rm -f {script}; eval "unset __c; $__c"'
            return await self.program([self._shell, "-c", read], env, limit)
        finally:
            script.unlink(missing_ok=True)

    async def program(self, argv: Sequence[str], env: Mapping[str, str], limit: int = OUTPUT_LIMIT) -> Result:
        """A program with its arguments as they are, in /workspace."""
        if not self.layout.workspace.is_dir():
            try:
                self.layout.workspace.mkdir()
            except OSError as error:  # a file or a dead link is in its place, or the whole directory is gone
                return Result(b"", -1, False, f"/workspace is not a directory any more ({error.strerror})")
        result = await self._processes.run(
            list(argv), self._environment(env), str(self.layout.workspace), limit
        )
        return Result(
            self.layout.to_sandbox_text(result.output),
            result.code,
            result.truncated,
            result.error and os.fsdecode(self.layout.to_sandbox_text(os.fsencode(result.error))),
        )

    async def freeze(self) -> None:
        await self._processes.freeze()

    async def thaw(self) -> None:
        await self._processes.thaw()

    # --- files (each in a thread)

    async def read(self, path: str, limit: int) -> bytes:
        return await asyncio.to_thread(tree.read, self.layout, path, limit)

    async def write(self, path: str, content: bytes) -> str:
        return await asyncio.to_thread(tree.write, self.layout, path, content)

    async def listing(self, path: str) -> list[tree.Entry]:
        return await asyncio.to_thread(tree.listing, self.layout, path)

    async def directory(self, path: str) -> str:
        """The host path of a directory of the sandbox."""
        return await asyncio.to_thread(tree.host_directory, self.layout, path)

    async def pack(self, target: Path, limit: Optional[int]) -> int:
        return await asyncio.to_thread(archive.pack, self.layout, target, limit)

    async def unpack(self, source: Path) -> None:
        await asyncio.to_thread(archive.unpack, source, self.layout)

    # --- programs put into the sandbox

    def install_toolchain(self, chain: Toolchain) -> None:
        toolchains.install(chain, self.layout.bin)

    def install_agent(self, program: str) -> None:
        """Puts a command on PATH that asks the emulator for its answer."""
        words = inside_command("agent", "sys.exit(it.main(*sys.argv[1:]))")
        line = " ".join(shlex.quote(word) for word in [*words, str(self.layout.opt), program])
        toolchains.write_script(self.layout.bin / program, f'exec {line} "$@"')

    async def kill(self) -> int:
        """Kills everything in it, for good. Returns the number of processes that survived (0)."""
        return await self._processes.stop()

    async def remove(self) -> None:
        """Removes the directory, after `kill`."""
        await asyncio.to_thread(archive.remove, self.layout.directory)


async def open_cage(
    sandbox_id: str,
    directory: Path,
    zygote: Zygote,
    shell: str,
    on_lost: Callable[[], None],
    on_ask: Optional[Asked] = None,
) -> Cage:
    """Makes the directory and the init of a new sandbox. On failure nothing is left. Raises Gone, OSError,
    ZygoteError."""
    layout = Layout(directory)
    layout.make()
    processes: Optional[SandboxProcesses] = None
    try:
        _write_home(layout)
        control = await zygote.create({"id": sandbox_id, "ask_dir": str(layout.opt) if on_ask else ""})
        processes = SandboxProcesses(control, on_lost, on_ask)
        await processes.ready()
        return Cage(sandbox_id, layout, shell, processes)
    except BaseException:
        if processes is not None:
            await processes.stop()
        archive.remove(directory)
        raise


def _write_home(layout: Layout) -> None:
    """Package managers install into the sandbox's own home, never into the host's interpreter."""
    config = layout.home / ".config" / "pip"
    config.mkdir(parents=True)
    (config / "pip.conf").write_text(
        "[global]\nuser = true\nbreak-system-packages = true\ndisable-pip-version-check = true\n",
        encoding="utf-8",
    )
    (layout.home / ".npmrc").write_text("prefix=${HOME}/.local\n", encoding="utf-8")
