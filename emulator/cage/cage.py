"""One sandbox: its directory, its programs and its processes, as one object."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Optional

from ..workers import Stop, Workers
from . import disk, ports, safe_files
from .bytecode_sweep import BytecodeSweep
from .cgroups import MemoryGroup
from .isolation import IsolationLevel
from .paths import Layout
from .process import CONNECT_LIMIT, OUTPUT_LIMIT, Result, SandboxGone, SandboxProcesses
from .programs import Programs
from .proxy import ENVIRONMENT as PROXY_ENVIRONMENT
from .proxy import Proxy
from .terminal import Terminal
from .toolchains import STANDARD_PATH
from .zygote import Zygote

#: Above this many bytes a command travels in a file: the kernel takes at most 128 KiB in one argument.
_INLINE_COMMAND = 100_000
#: The paths in a longer one are rewritten in a thread.
_REWRITTEN_AT_ONCE = 256 * 1024


#: What the shell of a terminal reads first: what a login shell reads, but not the host's own /etc/profile, which would
#: replace PATH. It remembers no program's place: a test may put another one in front of it at any time.
_PERSONAL_SHELL = r"""
PS1='\u@${CAGED_SANDBOX_ID}:\w\$ '
for __file in ~/.bash_profile ~/.bash_login ~/.profile; do
    if [ -r "$__file" ]; then . "$__file"; break; fi
done
if [ "$__file" = ~/.profile ] && [ -r ~/.bashrc ]; then . ~/.bashrc; fi
unset __file
set +h
"""


class Cage:
    """A sandbox behind its isolation. Made by `Site.open`, ended by `kill`."""

    def __init__(
        self,
        sandbox_id: str,
        layout: Layout,
        shell: str,
        zygote: Zygote,
        processes: SandboxProcesses,
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
        self._processes = processes
        self._bytecode = BytecodeSweep(layout)
        # Where the sandboxes' directory lies inside a repository of the developer (a state_dir in the project), git
        # must not take that for the sandbox's own. Looked up once; elsewhere the variable is not there at all.
        in_repository = not layout.mounted and any((parent / ".git").exists() for parent in layout.directory.parents)
        self._git_ceiling = {"GIT_CEILING_DIRECTORIES": str(layout.directory)} if in_repository else {}

    @property
    def alive(self) -> bool:
        return self._processes.alive

    @property
    def init_pid(self) -> Optional[int]:
        return self._zygote.inits.get(self._id)

    # --- commands

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        layout = self.layout
        base = {
            "HOME": layout.seen("root"),
            "USER": "root",
            "SHELL": self._shell,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PATH": f"{layout.seen('opt/caged')}/bin:{layout.seen('root')}/.local/bin:{STANDARD_PATH}",
            "TMPDIR": layout.seen("tmp"),
            "CAGED_SANDBOX_ID": self._id,
            **self._git_ceiling,
            **(PROXY_ENVIRONMENT if self._proxy else {}),
        }
        return {**base, **{name: layout.to_host_text(value) for name, value in env.items()}}

    async def shell(
        self,
        command: str,
        env: Mapping[str, str],
        limit: int = OUTPUT_LIMIT,
        apart: bool = False,
        seconds: Optional[float] = None,
        posix: bool = False,
    ) -> Result:
        """Run `bash -c COMMAND` in /workspace, or `sh -c COMMAND` with `posix`. `apart`: standard error by itself.
        Cancelled, or after `seconds`, it kills the command and all that came from it. Raises Gone when the sandbox's
        processes are gone."""
        if len(command) > _REWRITTEN_AT_ONCE:
            command = await self.workers.walk.run(self.layout.to_host_text, command)
        else:
            command = self.layout.to_host_text(command)
        # The word behind the command is $0, with which the shell's own messages begin.
        shell, name = ("/bin/sh", ["sh"]) if posix else (self._shell, [])
        if len(command.encode("utf-8", "surrogateescape")) < _INLINE_COMMAND:
            return await self.program([shell, "-c", command, *name], env, limit, apart, seconds)
        script = self.layout.opt / f"command-{os.urandom(6).hex()}"
        try:
            await self.workers.small.run(script.write_text, command, "utf-8", "surrogateescape")
        except OSError as error:
            return Result(b"", -1, False, f"/opt/caged cannot be written to ({error.strerror})")
        try:
            seen = f"{self.layout.seen('opt/caged')}/{script.name}"
            read = f". {seen}" if posix else f'IFS= read -r -d "" __c < {seen}; eval "unset __c; $__c"'
            return await self.program([shell, "-c", read, *name], env, limit, apart, seconds)
        finally:
            script.unlink(missing_ok=True)

    async def program(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        limit: int = OUTPUT_LIMIT,
        apart: bool = False,
        seconds: Optional[float] = None,
    ) -> Result:
        """A program with its arguments as they are, in /workspace."""
        if not self.alive:
            raise SandboxGone("the sandbox's processes are gone")
        if not self.layout.workspace.is_dir():
            try:
                self.layout.workspace.mkdir()
            except OSError as error:  # a file or a dead link is in its place, or the whole directory is gone
                return Result(b"", -1, False, f"/workspace is not a directory any more ({error.strerror})")
        await self._drop_stale_bytecode()
        result = await self._processes.run(
            list(argv), self._environment(env), self.layout.seen("workspace"), limit, apart, seconds
        )
        return Result(
            self.layout.to_sandbox_text(result.output),
            result.code,
            result.truncated,
            result.error and os.fsdecode(self.layout.to_sandbox_text(os.fsencode(result.error))),
            self.layout.to_sandbox_text(result.errors),
            result.timed_out,
            result.signal,
        )

    async def terminal(self, env: Mapping[str, str], rows: int, cols: int, quiet: bool = False) -> Terminal:
        """A shell in /workspace that a terminal controls: the one of a person, who sees a prompt; or, `quiet`, one that
        says nothing of itself, for programs that type. Who gets it has to close it. Raises Gone, OSError."""
        await self._drop_stale_bytecode()
        environment = self._environment(env)
        if quiet:
            environment.update(PS1="", PS2="", HISTFILE="")
            words = [self._shell, "--noprofile", "--norc", "--noediting", "+H", "-i"]
        else:
            environment["TERM"] = "xterm-256color"
            settings = self.layout.opt / "terminal.sh"
            if not settings.exists():
                await self.workers.small.run(settings.write_text, _PERSONAL_SHELL, "utf-8")
            words = [self._shell, "--init-file", f"{self.layout.seen('opt/caged')}/terminal.sh", "-i"]
        if not self._shell.endswith("bash"):
            environment.setdefault("PS1", "$ ")
            words = [self._shell, "-i"]
        terminal = await self._processes.terminal(words, environment, self.layout.seen("workspace"), rows, cols, quiet)
        terminal.layout = self.layout
        terminal.edits_lines = self._shell.endswith("bash") and not quiet
        return terminal

    async def _drop_stale_bytecode(self) -> None:
        if self._bytecode.is_quick:
            self._bytecode.drop()
        else:
            await self.workers.walk.run(self._bytecode.drop)

    # --- ports

    async def ports(self) -> dict[int, str]:
        """What its processes listen on: see `ports.listening`."""
        return await self.workers.small.run(ports.listening, self.init_pid)

    async def connect(self, address: str, port: int, own_network: bool) -> socket.socket:
        """A connected, non-blocking socket to one of them. Raises Gone, OSError."""
        if own_network:
            connection = await self._processes.connect(address, port)
        else:
            connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            connection.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, (address, port)), CONNECT_LIMIT)
        except asyncio.TimeoutError:
            connection.close()
            raise OSError(errno.ETIMEDOUT, f"no connection within {CONNECT_LIMIT:g} s") from None
        except OSError as error:
            if error.errno != errno.EISCONN:  # it was on its way already, and has arrived
                connection.close()
                raise
        except BaseException:
            connection.close()
            raise
        return connection

    async def freeze(self) -> None:
        await self._processes.freeze()

    async def thaw(self) -> None:
        await self._processes.thaw()

    # --- files (each in a thread)

    async def read(self, path: str, limit: int) -> bytes:
        return await self.workers.small.run(safe_files.read, self.layout, path, limit)

    async def write(self, path: str, content: bytes) -> str:
        return await self.workers.small.run(safe_files.write, self.layout, path, content)

    async def listing(self, path: str) -> list[safe_files.Entry]:
        return await self.workers.walk.run(safe_files.listing, self.layout, path)

    async def directory(self, path: str) -> str:
        """A directory of the sandbox, links resolved, by the path that a command has to use."""
        return await self.workers.small.run(safe_files.resolve_directory, self.layout, path)

    async def pack(self, target: Path, limit: Optional[int], stop: Optional[Stop] = None) -> int:
        """Raises TooLarge, OSError; Stopped, which is one, by `stop`."""
        from . import archive  # with what reads and writes tar files, for who takes snapshots

        return await self.workers.copy.run(archive.pack, self.layout, target, limit, stop=stop)

    async def disk_usage(self) -> int:
        """Bytes that the sandbox's writable places take on disk."""
        roots = self.layout.roots().values()
        return sum([await self.workers.walk.run(disk.size, root) for root in roots])

    async def unpack(self, source: Path, stop: Optional[Stop] = None) -> None:
        from . import restore

        await self.workers.copy.run(restore.unpack, source, self.layout, stop=stop)

    # --- programs put into the sandbox

    async def listen(self) -> None:
        """Programs inside can ask the emulator from now on; harmless to repeat. Raises Gone."""
        if not self._listening:
            await self._processes.listen(self.programs.ask_dir)
            self._listening = True

    @asynccontextmanager
    async def outside(self) -> AsyncIterator[Cage]:
        """The same directory without the isolation, for what the emulator itself does there and the host is needed for:
        a clone from a path of the host, over the host's network. Its processes end with the block."""
        if not self.layout.mounted:
            yield self
            return
        layout = Layout(self.layout.directory)
        spec = IsolationLevel("process", confine=False).spec(f"{self._id}-outside", layout, "full", ())
        processes = SandboxProcesses(await self._zygote.create(spec), lambda: None)
        try:
            await processes.ready()
            yield Cage(self._id, layout, self._shell, self._zygote, processes, workers=self.workers)
        finally:
            await processes.stop()
            self._zygote.inits.pop(spec["id"], None)

    def crash(self) -> None:
        """Kills its first process, as the kernel might: everything in it dies, and it is lost."""
        init = self.init_pid
        if init is not None:
            try:
                os.kill(init, signal.SIGKILL)
            except ProcessLookupError:
                pass

    async def kill(self) -> int:
        """Kills everything in it, for good. Returns the number of processes that survived (0)."""
        if self._proxy is not None:
            self._proxy.close()
        init = self._zygote.inits.pop(self._id, None)
        survivors = await self._processes.stop()
        if survivors and init is not None:
            try:
                os.kill(init, signal.SIGKILL)  # it did not do as it was told; the zygote takes what it leaves
            except ProcessLookupError:
                pass
        if self.memory is not None:
            await self.memory.remove()
        return survivors
