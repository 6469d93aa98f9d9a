"""The first process of a sandbox: it starts commands, reaps, freezes and kills, and ends with its zygote.

One control socket leads to the emulator. Requests (`op`), each with the events (`ev`) that answer it:

    assign {id, host, hosts?}                       done {id}, or exit {id, error}; a ready-made sandbox gets its host
                                                    name and this content of /etc/hosts
    run    {id, argv, env, cwd} + [output, error?]  exit {id, code, signal?} or exit {id, error}
    pty    {id, argv, env, cwd, rows, cols, quiet}  pty {id} + [controlling side], then exit {id, code};
                                                    or exit {id, error}
    connect {id, host, port}                        connected {id} + [a socket that is connecting], or exit {id, error}
    serve  {id}                                     connected {id} + [a socket that listens on a free port of
                                                    loopback], or exit {id, error}
    kill   {id}                                     none; kills every process that the command `id` has started
    freeze {id}, thaw {id}                          done {id}
    listen {id, directory}                          done {id}, or exit {id, error}; programs inside can send shim
                                                    requests from now on
    remount {id}                                    done {id}, or exit {id, error}: the overlays are those of before
    shim_reply {id, output?, then?, exit_code?}     none; goes to the shim, and exit_code ends the conversation
    stop   {}                                       stopped {survivors}, then init ends

Words in brackets are file descriptors. Events that answer no request:

    ready {} + [root, proxy's socket?]              the start (`startup.py`) succeeded; `root` is its root directory,
                                                    opened as a path alone, and is missing without mounts of its own
    failed {error}                                  the start did not succeed
    overrun {processes}                             all processes were killed because there were too many
    shim_request {id, request}                      a program inside waits for a reply (`shim_server.py`)
    shim_cancelled {id}                             that program has ended before its reply

End of file on the control socket means that the emulator has ended; then every process of the sandbox is killed.
"""

from __future__ import annotations

import os
import select
import signal
import socket

from . import command_start, frames, libc, memory, network, processes, remount, shim_server
from .process_limit import ProcessLimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Optional

_COUNT_MILLISECONDS = 200


class Init:
    """The event loop of init. `startup.py` makes it and runs it.

    Args:
        control: The socket that leads to the emulator.
        spec: What `IsolationLevel.spec` has made for this sandbox.
        tree: The processes of the sandbox.
    """

    def __init__(self, control: socket.socket, spec: dict[str, Any], tree: processes.ProcessTree) -> None:
        self._control = control
        self._receiver = frames.Receiver(control)
        self._processes = tree
        self._commands: dict[int, int] = {}  # pid -> command id
        self._frozen = False
        self._held: dict[int, tuple[dict[str, Any], list[int]]] = {}  # commands that wait for a thaw, by id
        limits = spec.get("limits") or {}
        self.process_limit = ProcessLimit(
            limits.get("processes", 0),
            tree,
            self._kill_everything,
            lambda count: self._send({"ev": "overrun", "processes": count}),
        )
        memory_mb = limits.get("memory_mb", 0)
        self._shared_memory = memory.SharedMemory(memory_mb) if memory_mb and processes.LINUX else None
        self._shim_server: Optional[shim_server.ShimServer] = None
        #: What it takes to mount the overlays again; None without overlays.
        self.sources: Optional[remount.Sources] = None
        self._devnull = -1
        self._has_host_name = spec["isolation"] != "process"
        self._ending = False
        self._wakeups = processes.Wakeups()
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._poll.register(self._wakeups.fd, select.POLLIN)
        self._handlers = {
            "assign": self._assign,
            "run": self._run_command,
            "pty": self._open_terminal,
            "connect": self._connect,
            "serve": self._serve,
            "kill": self._kill,
            "freeze": self._freeze,
            "thaw": self._thaw,
            "listen": self._listen,
            "remount": self._remount,
            "shim_reply": self._reply_to_shim,
            "stop": self._stop,
        }

    def on_sigterm(self, *_: Any) -> None:
        self._ending = True

    def run(self, proxy: Optional[socket.socket] = None, root: Optional[int] = None) -> None:
        """Serve until the sandbox ends.

        Args:
            proxy: A listening socket for the emulator's proxy, which is passed on and closed here.
            root: A descriptor of the sandbox's root directory, likewise.
        """
        # The sandbox's own, through its read-only mount: with the host's as standard input, a command could change it.
        self._devnull = os.open(os.devnull, os.O_RDWR)
        passed = [] if root is None else [root]
        if proxy:
            passed.append(proxy.fileno())
        try:
            frames.send(self._control, {"ev": "ready", "root": root is not None}, passed)
        except OSError as error:
            frames.send(self._control, {"ev": "failed", "error": _reason(error)})
            return
        if proxy:
            proxy.close()
        if root is not None:
            os.close(root)
        while not self._ending:
            interval = self._limits_interval()
            for fd, event in self._poll.poll(interval):
                if fd == self._control.fileno():
                    self._read_control()
                elif fd == self._wakeups.fd:
                    self._reap()  # first, because the emulator waits for it; what ends meanwhile is reaped below
                    self._wakeups.drain()
                elif self._shim_server is not None:
                    self._shim_server.ready(fd, event)
            self._reap()
            if interval:
                self._enforce_limits()
        self._kill_everything()

    def _limits_interval(self) -> Optional[int]:
        """Milliseconds until the next check of limits that the kernel does not enforce; None without any, or without a
        process: an idle sandbox costs nothing."""
        counted = self.process_limit.watched
        if not (counted or self._shared_memory) or not processes.has_children():
            return None
        return _COUNT_MILLISECONDS if counted else int(memory.SECONDS * 1000)

    def _enforce_limits(self) -> None:
        self.process_limit.enforce()
        if self._shared_memory is not None:
            self._shared_memory.enforce(self._processes.all_pids)

    # --- requests

    def _read_control(self) -> None:
        try:
            messages = self._receiver.receive()
        except (EOFError, OSError):
            self._ending = True
            return
        for message, fds in messages:
            try:
                self._handlers[message["op"]](message, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _assign(self, message: dict[str, Any], _fds: list[int]) -> None:
        try:
            if self._has_host_name:
                libc.call("sethostname", os.fsencode(message["host"]), len(message["host"]))
            if "hosts" in message:
                with open("/etc/hosts", "wb") as file:
                    file.write(message["hosts"].encode("latin-1"))
        except (OSError, libc.IsolationError) as error:
            self._send({"ev": "exit", "id": message["id"], "error": str(error)})
            return
        self._send({"ev": "done", "id": message["id"]})

    def _run_command(self, message: dict[str, Any], fds: list[int]) -> None:
        if len(fds) < message["fds"]:
            self._send({"ev": "exit", "id": message["id"], "error": "the sandbox's init has no descriptor left"})
        elif self._frozen:
            self._held[message["id"]] = (message, [os.dup(fd) for fd in fds])
        else:
            self._start(message, fds)

    def _start(self, message: dict[str, Any], outputs: list[int]) -> None:
        command = message["id"]
        error = self.process_limit.make_room()
        if error is None:
            try:
                self._commands[command_start.start(message, self._devnull, outputs)] = command
                return
            except (OSError, ValueError) as failure:
                error = self.process_limit.explain(failure)
        self._send({"ev": "exit", "id": command, "error": error})

    def _open_terminal(self, message: dict[str, Any], _fds: list[int]) -> None:
        command = message["id"]
        error = "the sandbox is paused" if self._frozen else self.process_limit.make_room()
        if error is not None:
            self._send({"ev": "exit", "id": command, "error": error})
            return
        try:
            pid, controlling = command_start.start_in_terminal(message)
        except (OSError, ValueError, NotImplementedError) as failure:
            self._send({"ev": "exit", "id": command, "error": self.process_limit.explain(failure)})
            return
        self._commands[pid] = command
        self._send({"ev": "pty", "id": command}, [controlling])
        os.close(controlling)

    def _connect(self, message: dict[str, Any], _fds: list[int]) -> None:
        try:
            with network.start_to_connect(message["host"], message["port"]) as connection:
                self._send({"ev": "connected", "id": message["id"]}, [connection.fileno()])
        except OSError as error:
            self._send({"ev": "exit", "id": message["id"], "error": str(error)})

    def _serve(self, message: dict[str, Any], _fds: list[int]) -> None:
        try:
            with network.listen_on_loopback(0) as listening:
                self._send({"ev": "connected", "id": message["id"]}, [listening.fileno()])
        except OSError as error:
            self._send({"ev": "exit", "id": message["id"], "error": str(error)})

    def _kill(self, message: dict[str, Any], _fds: list[int]) -> None:
        command = message["id"]
        if command in self._held:
            for fd in self._held.pop(command)[1]:
                os.close(fd)
            self._send({"ev": "exit", "id": command, "code": 128 + signal.SIGKILL, "signal": signal.SIGKILL})
        for pid, known in list(self._commands.items()):
            if known == command:
                _kill_group(pid)
        processes.kill_until_gone(lambda: self._processes.of_command(command), self._reap, limit=2.0)

    def _freeze(self, message: dict[str, Any], _fds: list[int]) -> None:
        if not self._frozen:
            self._processes.freeze()
        self._frozen = True
        self._send({"ev": "done", "id": message["id"]})

    def _thaw(self, message: dict[str, Any], _fds: list[int]) -> None:
        self._frozen = False
        self._processes.thaw()
        self._send({"ev": "done", "id": message["id"]})
        held, self._held = self._held, {}
        for request, outputs in held.values():
            self._start(request, outputs)
            for fd in outputs:
                os.close(fd)

    def _listen(self, message: dict[str, Any], _fds: list[int]) -> None:
        try:
            if self._shim_server is None:
                self._shim_server = shim_server.ShimServer(message["directory"], self._poll, self._send)
        except OSError as error:
            self._send({"ev": "exit", "id": message["id"], "error": str(error)})
            return
        self._send({"ev": "done", "id": message["id"]})

    def _remount(self, message: dict[str, Any], _fds: list[int]) -> None:
        try:
            if self.sources is not None:
                self.sources.remount()
        except (OSError, libc.IsolationError) as error:
            self._send({"ev": "exit", "id": message["id"], "error": str(error)})
            return
        except remount.RemountFailed:
            self._ending = True  # nothing in the sandbox can go on
            return
        self._send({"ev": "done", "id": message["id"]})

    def _reply_to_shim(self, message: dict[str, Any], _fds: list[int]) -> None:
        if self._shim_server is not None:
            self._shim_server.reply(message)

    def _stop(self, _message: dict[str, Any], _fds: list[int]) -> None:
        all_ended = self._kill_everything()
        self._send({"ev": "stopped", "survivors": 0 if all_ended else len(self._processes.all_pids())})
        self._ending = True

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        try:
            frames.send(self._control, message, fds)
        except OSError as error:
            if not frames.is_refused(error):
                self._ending = True
                return
            self._send({"ev": "exit", "id": message["id"], "error": _reason(error)})

    # --- processes

    def _reap(self) -> None:
        for pid, status in processes.reap():
            command = self._commands.pop(pid, None)
            if command is not None:
                code = os.waitstatus_to_exitcode(status)
                ended = {"code": code} if code >= 0 else {"code": 128 - code, "signal": -code}
                self._send({"ev": "exit", "id": command, **ended})

    def _kill_everything(self) -> bool:
        if not processes.LINUX:
            for pid in self._commands:
                _kill_group(pid)
        return self._processes.kill_all(self._reap)


def _reason(error: OSError) -> str:
    return frames.refusal() if frames.is_refused(error) else str(error)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
