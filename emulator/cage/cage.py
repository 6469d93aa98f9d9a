"""One sandbox as the emulator uses it: commands, terminals, ports, files and snapshots by the sandbox's own paths.

`init_client.py` starts the processes; this module gives them their environment and translates paths.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from ..workers import Pool, StopToken, Workers
from . import disk, ports, safe_files, safe_paths, shells
from .bytecode_sweep import BytecodeSweep
from .cgroups import MemoryGroup
from .command_result import CommandResult, not_started
from .crash_recovery import require_directory
from .file_tree import FileTree
from .init_client import CONNECT_LIMIT, InitClient, SandboxGone
from .inside import network as inside_network
from .isolation import IsolationLevel
from .output import OUTPUT_LIMIT, OutputWatch
from .paths import Layout
from .programs import Programs
from .proxy import ENVIRONMENT as PROXY_ENVIRONMENT
from .proxy import Proxy
from .terminal import Terminal
from .toolchains import STANDARD_PATH
from .zygote import Zygote

if TYPE_CHECKING:
    from .file_changes import FileChanges
    from .restore import RestoreResult

T = TypeVar("T")

#: The paths in a command that is longer than this are rewritten in a thread.
_REWRITTEN_AT_ONCE = 256 * 1024


class Cage:
    """A sandbox with its isolation. `Provisioner.open` makes it, `kill` ends it."""

    def __init__(
        self,
        sandbox_id: str,
        layout: Layout,
        shell: str,
        zygote: Zygote,
        init: InitClient,
        programs: Optional[Programs] = None,
        proxy: Optional[Proxy] = None,
        memory: Optional[MemoryGroup] = None,
        workers: Optional[Workers] = None,
    ) -> None:
        #: Threads for what blocks.
        self.workers = workers or Workers()
        self.memory = memory
        self._proxy = proxy
        self.layout = layout
        self.programs = programs or Programs(layout)
        self._listening = False
        self._id = sandbox_id
        self._shell = shell
        self._zygote = zygote
        self._init = init
        self._bytecode = BytecodeSweep(layout)
        self._file_changes: Optional[FileChanges] = None
        #: Variables by which git in commands finds fake repositories; a command's own come before them.
        self.git_environment: Mapping[str, str] = {}
        #: Functions that `kill` calls.
        self.on_kill: list[Callable[[], None]] = []
        self._constant_environment = {
            "HOME": layout.command_path("root"),
            "USER": "root",
            "SHELL": shell,
            "LANG": shells.LOCALE,
            "TERM": "dumb",
            "PATH": f"{layout.command_path('opt/caged')}/bin:{layout.command_path('root')}/.local/bin:{STANDARD_PATH}",
            "TMPDIR": layout.command_path("tmp"),
            "CAGED_SANDBOX_ID": sandbox_id,
            **_git_ceiling(layout),
            **(PROXY_ENVIRONMENT if proxy else {}),
        }

    @property
    def alive(self) -> bool:
        """Whether its init runs."""
        return self._init.alive

    @property
    def init_pid(self) -> Optional[int]:
        """The process number of its init (at level `bwrap`: of bwrap) on the host."""
        return self._zygote.inits.get(self._id)

    def require_directory(self) -> None:
        """Raise DirectoryReplaced if its directory was moved away, or something else is in its place."""
        require_directory(self.layout)

    # --- commands

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        own = {name: self.layout.to_host_text(value) for name, value in env.items()} if env else env
        return {**self._constant_environment, **self.git_environment, **own}

    async def shell(
        self,
        command: str,
        env: Mapping[str, str],
        limit: int = OUTPUT_LIMIT,
        separate: bool = False,
        seconds: Optional[float] = None,
        posix: bool = False,
        watch: Optional[OutputWatch] = None,
    ) -> CommandResult:
        """Run a shell command in /workspace. When this is cancelled, the command is killed with its children.

        Args:
            command: The command, for `bash -c`.
            env: Variables to add to the environment.
            limit: The number of bytes to keep of each output.
            separate: Whether standard error is kept separately.
            seconds: The time after which the command is killed with its children; None for no limit.
            posix: Use `sh -c`.
            watch: What shows its output while it runs, and after it was killed.

        Raises:
            SandboxGone: The sandbox's processes have ended.
        """
        if len(command) > _REWRITTEN_AT_ONCE:
            command = await self.workers.walk.run(self.layout.to_host_text, command)
        else:
            command = self.layout.to_host_text(command)
        # The word after the command is $0, with which the shell's own messages begin.
        shell, name = ("/bin/sh", ["sh"]) if posix else (self._shell, [])
        if shells.fits_in_argument(command):
            return await self.program([shell, "-c", command, *name], env, limit, separate, seconds, watch)
        script = self.layout.opt / f"command-{os.urandom(6).hex()}"
        try:
            await self.workers.small.run(script.write_text, command, "utf-8", "surrogateescape")
        except OSError as error:
            return not_started(f"/opt/caged cannot be written to ({error.strerror})")
        try:
            read = shells.run_file_command(f"{self.layout.command_path('opt/caged')}/{script.name}", posix)
            return await self.program([shell, "-c", read, *name], env, limit, separate, seconds, watch)
        finally:
            script.unlink(missing_ok=True)

    async def program(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        limit: int = OUTPUT_LIMIT,
        separate: bool = False,
        seconds: Optional[float] = None,
        watch: Optional[OutputWatch] = None,
    ) -> CommandResult:
        """Run a program in /workspace, with its arguments as they are. See `shell` for the options."""
        if not self.alive:
            raise SandboxGone("the sandbox's processes are gone")
        await self._drop_stale_bytecode()
        if not (self._bytecode.has_workspace or self.layout.has_workspace()):
            try:
                self.layout.workspace.mkdir()
            except OSError as error:  # a file or a dead link replaces it, or the whole directory was removed
                return not_started(f"/workspace is not a directory any more ({error.strerror})")
        result = await self._init.run(
            list(argv), self._environment(env), self.layout.command_path("workspace"), limit, separate, seconds, watch
        )
        if self.layout.mounted:
            return result  # the paths in it are the sandbox's own
        seen = self.layout.to_sandbox_text
        return replace(
            result,
            output=seen(result.output),
            error=result.error and os.fsdecode(seen(os.fsencode(result.error))),
            errors=seen(result.errors),
        )

    async def terminal(self, env: Mapping[str, str], rows: int, cols: int, quiet: bool = False) -> Terminal:
        """Start a shell in /workspace on a terminal, which the caller has to close.

        Args:
            env: Variables to add to the environment.
            rows: Lines of the terminal.
            cols: Characters of a line.
            quiet: False for a person, who gets a prompt and line editing; True for a program: the shell prints nothing
                of its own.

        Raises:
            SandboxGone: The sandbox's processes have ended, or the shell cannot be started.
            OSError: The shell's settings cannot be written.
        """
        await self._drop_stale_bytecode()
        environment = self._environment(env)
        is_bash = self._shell.endswith("bash")
        if quiet:
            environment.update(PS1="", PS2="", HISTFILE="")
        else:
            environment["TERM"] = "xterm-256color"
        if not is_bash:
            environment.setdefault("PS1", "$ ")
            words = [self._shell, "-i"]
        elif quiet:
            words = [self._shell, *shells.QUIET_OPTIONS]
        else:
            settings = self.layout.opt / "terminal.sh"
            if not settings.exists():
                await self.workers.small.run(settings.write_text, shells.PERSONAL_SETTINGS, "utf-8")
            words = [self._shell, "--init-file", f"{self.layout.command_path('opt/caged')}/terminal.sh", "-i"]
        terminal = await self._init.terminal(
            words, environment, self.layout.command_path("workspace"), rows, cols, quiet
        )
        terminal.layout = self.layout
        terminal.edits_lines = is_bash and not quiet
        return terminal

    async def _drop_stale_bytecode(self) -> None:
        if self._bytecode.is_quick:
            self._bytecode.drop()
        else:
            await self.workers.walk.run(self._bytecode.drop)

    def note_new(self) -> None:
        """Look at the directories of a new sandbox, which takes a tenth of a millisecond, so that its first command has
        no need of a thread for that."""
        self._bytecode.drop()

    async def freeze(self) -> None:
        """Stop every process. Raises SandboxGone."""
        await self._init.freeze()

    async def thaw(self) -> None:
        """Continue the processes that `freeze` has stopped. Raises SandboxGone."""
        await self._init.thaw()

    # --- ports

    async def ports(self) -> dict[int, str]:
        """The ports on which its processes listen; see `ports.listening`."""
        return await self.workers.small.run(ports.listening, self.init_pid)

    async def connect(self, address: str, port: int, own_network: bool) -> socket.socket:
        """Connect to one of its ports.

        Args:
            address: The address by which the port is reached from within.
            port: The port.
            own_network: Whether the sandbox has a network of its own.

        Returns:
            A connected, non-blocking socket.

        Raises:
            SandboxGone: The sandbox's processes have ended.
            OSError: It cannot be reached within CONNECT_LIMIT seconds.
        """
        if own_network:
            connection = await self._init.connect(address, port)
        else:
            connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            connection.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, (address, port)), CONNECT_LIMIT)
        except asyncio.TimeoutError:
            connection.close()
            raise OSError(errno.ETIMEDOUT, f"no connection within {CONNECT_LIMIT:g} s") from None
        except OSError as error:
            if error.errno != errno.EISCONN:  # init has started to connect, and the connection is complete
                connection.close()
                raise
        except BaseException:
            connection.close()
            raise
        return connection

    async def serve(self, own_network: bool) -> socket.socket:
        """Return a socket that listens on a free port of 127.0.0.1, as the sandbox has it.

        Args:
            own_network: Whether the sandbox has a network of its own.

        Raises:
            SandboxGone: The sandbox's processes have ended.
            OSError: It cannot be made.
        """
        return await self._init.serve() if own_network else inside_network.listen_on_loopback(0)

    # --- files (each in a thread)

    async def on_files(self, pool: Pool, call: Callable[..., T], *args: Any) -> T:
        """Return the result of `call(tree, *args)`, made in a thread of a pool. `tree` is what of the sandbox's files
        may be reached (`file_tree.py`)."""
        return await pool.run(_with_tree, FileTree(self.layout, self._init.open_root()), call, *args)

    async def on_workspace(self, pool: Pool, call: Callable[..., T], *args: Any) -> T:
        """As `on_files`, with nothing but /workspace in the tree."""
        tree = FileTree(self.layout, self._init.open_root(), only="workspace")
        return await pool.run(_with_tree, tree, call, *args)

    async def read(self, path: str, limit: int, offset: int = 0) -> bytes:
        """See `safe_files.read`."""
        return await self.on_files(self.workers.small, safe_files.read, path, limit, offset)

    async def write(self, path: str, content: bytes) -> str:
        """See `safe_files.write`."""
        return await self.on_files(self.workers.small, safe_files.write, path, content)

    async def listing(self, path: str) -> list[safe_files.Entry]:
        """See `safe_files.listing`."""
        return await self.on_files(self.workers.walk, safe_files.listing, path)

    async def directory(self, path: str) -> str:
        """See `safe_paths.resolve_directory`."""
        return await self.on_files(self.workers.small, safe_paths.resolve_directory, path)

    async def disk_usage(self) -> int:
        """Bytes on disk of what the sandbox has written, wherever that is."""
        return sum(
            [await self.workers.walk.run(self.layout.as_root, disk.size, directory) for directory in self.layout.kept()]
        )

    @property
    def file_changes(self) -> FileChanges:
        """Scans of the workspace; made when it is first needed."""
        if self._file_changes is None:
            from .file_changes import FileChanges

            self._file_changes = FileChanges(self.layout)
        return self._file_changes

    # --- snapshots

    async def pack(self, target: Path, limit: Optional[int], stop: Optional[StopToken] = None) -> int:
        """Write its files into a tar file; see `tar_writer.pack_file_system`. Raises CallStopped, an OSError, by
        `stop`."""
        from . import tar_writer  # with `tarfile`, which only snapshots need

        pack = tar_writer.pack_file_system
        return await self.workers.copy.run(self.layout.as_root, pack, self.layout, target, limit, stop=stop)

    async def restore(self, source: Path, stop: Optional[StopToken] = None) -> RestoreResult:
        """Replace its files by those of a tar file; see `restore.restore_files`.

        Args:
            source: The tar file.
            stop: Stops it, with CallStopped, an OSError.

        Raises:
            OSError: It is damaged, or the sandbox's root is that of a layer, under which nothing can be replaced.
        """
        from . import layers, restore

        layers.require_replaceable(self.layout)

        loop = asyncio.get_running_loop()

        async def remount_alive() -> None:
            try:
                await self._init.remount()
            except SandboxGone:
                self.crash()  # if it hangs; else nothing is mounted any more

        def remount() -> None:
            asyncio.run_coroutine_threadsafe(remount_alive(), loop).result()

        arguments = (source, self.layout, remount, self._id)
        restored: RestoreResult = await self.workers.copy.run(
            self.layout.as_root, restore.restore_files, *arguments, stop=stop
        )
        if restored.has_system:
            self.layout.layers = ()  # what was restored is complete, and mounted without them
        return restored

    # --- the rest

    async def listen(self) -> None:
        """Accept requests of shims from now on; repeating it has no effect. Raises SandboxGone."""
        if not self._listening:
            await self._init.listen(self.programs.shim_socket_dir)
            self._listening = True

    @asynccontextmanager
    async def outside(self) -> AsyncIterator[Cage]:
        """The same directory without isolation, for the emulator's own work that needs the host: a clone from a path of
        the host, over the host's network. Its processes end with the block."""
        if not self.layout.mounted:
            yield self
            return
        layout = Layout(self.layout.directory)
        spec = IsolationLevel("process", confine=False).spec(f"{self._id}-outside", layout, "full", ())
        init = InitClient(await self._zygote.create(spec), lambda: None)
        try:
            await init.ready()
            yield Cage(self._id, layout, self._shell, self._zygote, init, workers=self.workers)
        finally:
            await init.stop()
            self._zygote.inits.pop(spec["id"], None)

    def crash(self) -> None:
        """Kill its init, as the kernel might: every process in it ends, and it is lost."""
        _kill(self.init_pid)

    async def kill(self) -> int:
        """Kill every process in it, for good.

        Returns:
            The number of processes that survived: 0, unless one is stuck in the kernel.
        """
        if self._proxy is not None:
            self._proxy.close()
        while self.on_kill:
            self.on_kill.pop()()
        pid = self._zygote.inits.pop(self._id, None)
        survivors = await self._init.stop()
        if survivors:
            _kill(pid)  # init hangs; the zygote kills what it leaves
        if self.memory is not None:
            await self.memory.remove()
        return survivors


def _git_ceiling(layout: Layout) -> dict[str, str]:
    """Where the sandbox's directory is inside a repository of the developer (a state_dir in the project), git must not
    use that repository. Elsewhere the variable is not set."""
    in_repository = not layout.mounted and any((parent / ".git").exists() for parent in layout.directory.parents)
    return {"GIT_CEILING_DIRECTORIES": str(layout.directory)} if in_repository else {}


def _with_tree(tree: FileTree, call: Callable[..., T], *args: Any) -> T:
    with tree:
        return tree.call(call, *args)


def _kill(pid: Optional[int]) -> None:
    if pid is not None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
