"""The first process of a sandbox: it starts commands, reaps, freezes and kills, and dies with its zygote.

One control socket leads to the emulator. Requests (`op`) and events (`ev`):

    run    {id, argv, env, cwd} + [output fd, error fd?]
                                                ->  exit {id, code} or exit {id, error}
    pty    {id, argv, env, cwd, rows, cols, quiet}
                                                ->  pty {id} + [controlling side], exit {id, code}; or exit {id, error}
    connect {id, host, port}                    ->  connected {id} + [a socket on its way there], or exit {id, error}
    kill   {id}                                     kills all that came from the command `id`
    freeze {id} / thaw {id}                     ->  done {id}
    listen {id, directory}                      ->  done {id}, or exit {id, error}: programs inside can ask now
    answer {id, output?, then?, exit_code?}         for a program that asked; exit_code ends the conversation
    stop   {}                                   ->  stopped {survivors}, then init is gone
                                                    ask {id, question}: a program inside wants an answer
                                                    unasked {id}: it has gone

End of file on the control socket means that the emulator is gone; then everything in the sandbox goes too.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket

from . import (
    frames,
    libc,
    limits,
    memory,
    namespaces,
    network,
    processes,
    rights,
    root_filesystem,
    shim_server,
    terminals,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Optional

# Python ignores SIGPIPE and SIGXFSZ, the zygote the terminal's signals: commands get the defaults back.
_RESET_IN_COMMANDS = [
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGCHLD,
]


_WATCH_MILLISECONDS = 200
#: Processes that must be left for a command to be started: it needs more than its own.
RESERVED = 16
#: Of every command, whatever the emulator's own is.
UMASK = 0o022


class Init:
    def __init__(self, control: socket.socket, spec: dict[str, Any], processes_inside: processes.Tree) -> None:
        self._control = control
        self._processes = processes_inside
        self._receiver = frames.Receiver(control)
        self._commands: dict[int, int] = {}  # pid -> command id
        self._frozen = False
        self._held: dict[int, tuple[dict[str, Any], list[int]]] = {}  # commands that wait for a thaw, by id
        self._poll = select.poll()
        self.most_processes: Optional[int] = None  # the number to watch, where the kernel does not
        self._counts_cheaply = isinstance(processes_inside, processes.Table)
        self._limit: int = (spec.get("limits") or {}).get("processes", 0)
        self._devnull = -1
        memory_mb = (spec.get("limits") or {}).get("memory_mb", 0)
        self._shared_memory = memory.SharedMemory(memory_mb) if memory_mb and processes.LINUX else None
        self._ending = False
        self._conversations: Optional[shim_server.Conversations] = None
        self._wakeups = processes.Wakeups()
        self._poll.register(control, select.POLLIN)
        self._poll.register(self._wakeups.fd, select.POLLIN)

    def on_sigterm(self, *_: Any) -> None:
        self._ending = True

    def run(self, proxy: Optional[socket.socket] = None) -> None:
        """To the end of the sandbox. `proxy`: a listening socket that the emulator serves."""
        # The sandbox's own, through its read-only mount: with the host's as standard input, a command could change it.
        self._devnull = os.open(os.devnull, os.O_RDWR)
        frames.send(self._control, {"ev": "ready"}, [proxy.fileno()] if proxy else [])
        if proxy:
            proxy.close()
        while not self._ending:
            watch = self._watch_interval()
            for fd, event in self._poll.poll(watch):
                if fd == self._control.fileno():
                    self._read_control()
                elif fd == self._wakeups.fd:
                    self._wakeups.drain()
                elif self._conversations is not None:
                    self._conversations.ready(fd, event)
            self._reap()
            if watch:
                self._watch_processes()
            if watch and self._shared_memory is not None:
                self._shared_memory.enforce(self._processes.everything)
        self._kill_everything()

    def _watch_interval(self) -> Optional[int]:
        """Milliseconds until the next look at what the kernel does not limit. None without anything to look at: an idle
        sandbox costs nothing."""
        if not (self.most_processes or self._shared_memory) or not self._processes.everything():
            return None
        return _WATCH_MILLISECONDS if self.most_processes else int(memory.SECONDS * 1000)

    def _watch_processes(self) -> None:
        count = len(self._processes.everything())
        if count > (self.most_processes or count):
            self._end_overrun(count)

    def _end_overrun(self, count: int) -> None:
        self._processes.signal_all(signal.SIGSTOP)  # so that nothing multiplies while it is killed
        self._kill_everything()
        self._send({"ev": "overrun", "processes": count})

    def _explain(self, error: Exception) -> str:
        """Why a command could not be started. Where the sandbox's own processes leave no room for one more, they are
        ended: no command that could end them could be started either."""
        count = self._processes.count_tasks() if isinstance(error, OSError) and error.errno == errno.EAGAIN else 0
        return self._make_room(count) if self._limit and count >= self._limit - RESERVED else str(error)

    def _make_room(self, count: int) -> str:
        """Ends everything, and says so to whoever wanted to start a command."""
        self._end_overrun(count)
        return (
            f"the sandbox had {count} processes and threads, and its limit is {self._limit}: all of them were ended so"
            " that it can be used again; repeat the command, and start fewer at a time"
        )

    def _refused(self, command: int) -> bool:
        """Whether there are so many processes that a command could start nothing itself. Then it is not started."""
        count = len(self._processes.everything()) if self._limit and self._counts_cheaply else 0
        if not self._limit or count < self._limit - RESERVED:
            return False
        self._send({"ev": "exit", "id": command, "error": self._make_room(count)})
        return True

    # --- requests

    def _read_control(self) -> None:
        try:
            messages = self._receiver.receive()
        except (EOFError, OSError):
            self._ending = True
            return
        for message, fds in messages:
            try:
                self._handle(message, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _handle(self, message: dict[str, Any], fds: list[int]) -> None:
        op = message["op"]
        if op == "run" and len(fds) < message["fds"]:
            self._send({"ev": "exit", "id": message["id"], "error": "the sandbox's init has no descriptor left"})
        elif op == "run" and self._frozen:
            self._held[message["id"]] = (message, [os.dup(fd) for fd in fds])
        elif op == "run":
            self._start(message, fds)
        elif op == "pty":
            self._start_in_terminal(message)
        elif op == "connect":
            self._connect(message)
        elif op == "kill":
            self._drop_held(message["id"])
            self._kill_command(message["id"])
        elif op == "freeze":
            if not self._frozen:
                self._processes.freeze()
            self._frozen = True
            self._send({"ev": "done", "id": message["id"]})
        elif op == "thaw":
            self._frozen = False
            self._processes.thaw()
            self._send({"ev": "done", "id": message["id"]})
            self._start_held()
        elif op == "listen":
            self._listen(message)
        elif op == "answer":
            if self._conversations is not None:
                self._conversations.answer(message)
        elif op == "stop":
            gone = self._kill_everything()
            self._send({"ev": "stopped", "survivors": 0 if gone else len(self._processes.everything())})
            self._ending = True

    def _listen(self, message: dict[str, Any]) -> None:
        try:
            if self._conversations is None:
                self._conversations = shim_server.Conversations(message["directory"], self._poll, self._send)
        except OSError as error:
            self._send({"ev": "exit", "id": message["id"], "error": str(error)})
            return
        self._send({"ev": "done", "id": message["id"]})

    def _start_held(self) -> None:
        """What was asked for while the sandbox was frozen."""
        held, self._held = self._held, {}
        for message, outputs in held.values():
            self._start(message, outputs)
            for fd in outputs:
                os.close(fd)

    def _drop_held(self, command: int) -> None:
        if command in self._held:
            for fd in self._held.pop(command)[1]:
                os.close(fd)
            self._send({"ev": "exit", "id": command, "code": 128 + signal.SIGKILL, "signal": signal.SIGKILL})

    def _start(self, message: dict[str, Any], outputs: list[int]) -> None:
        argv, env = message["argv"], message["env"]
        if self._refused(message["id"]):
            return
        try:
            processes.tag_children(message["id"])
            os.chdir(message["cwd"])
            pid = os.posix_spawn(
                argv[0],
                argv,
                env,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._devnull, 0),
                    (os.POSIX_SPAWN_DUP2, outputs[0], 1),
                    (os.POSIX_SPAWN_DUP2, outputs[-1], 2),
                ],
                setpgroup=0,
                setsigmask=[],
                setsigdef=_RESET_IN_COMMANDS,
            )
        except (OSError, ValueError) as error:
            self._send({"ev": "exit", "id": message["id"], "error": self._explain(error)})
            return
        self._commands[pid] = message["id"]

    def _start_in_terminal(self, message: dict[str, Any]) -> None:
        command = message["id"]
        if self._frozen:
            self._send({"ev": "exit", "id": command, "error": "the sandbox is paused"})
            return
        if self._refused(command):
            return
        try:
            processes.tag_children(command)
            os.chdir(message["cwd"])
        except OSError as error:
            self._send({"ev": "exit", "id": command, "error": str(error)})
            return
        try:
            pid, master = terminals.spawn(message, _RESET_IN_COMMANDS)
        except (OSError, ValueError, NotImplementedError) as error:
            self._send({"ev": "exit", "id": command, "error": self._explain(error)})
            return
        self._commands[pid] = command
        self._send({"ev": "pty", "id": command}, [master])
        os.close(master)

    def _connect(self, message: dict[str, Any]) -> None:
        try:
            with network.start_to_connect(message["host"], message["port"]) as connection:
                self._send({"ev": "connected", "id": message["id"]}, [connection.fileno()])
        except OSError as error:
            self._send({"ev": "exit", "id": message["id"], "error": str(error)})

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        try:
            frames.send(self._control, message, fds)
        except OSError:
            self._ending = True

    # --- processes

    def _reap(self) -> None:
        for pid, status in processes.reap():
            command = self._commands.pop(pid, None)
            if command is not None:
                code = os.waitstatus_to_exitcode(status)
                ended = {"code": code} if code >= 0 else {"code": 128 - code, "signal": -code}
                self._send({"ev": "exit", "id": command, **ended})

    def _kill_command(self, command: int) -> None:
        for pid, known in list(self._commands.items()):
            if known == command:
                _kill_group(pid)
        processes.kill_until_gone(lambda: self._processes.of_command(command), self._reap, limit=2.0)

    def _kill_everything(self) -> bool:
        if not processes.LINUX:
            for pid in self._commands:
                _kill_group(pid)
        return self._processes.kill_all(self._reap)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def main(control: socket.socket, spec: dict[str, Any]) -> None:
    """Init in `process` isolation, to its end; the caller leaves with os._exit afterwards."""
    os.setsid()
    os.umask(UMASK)
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    init = Init(control, spec, processes.Tree(os.getpid()))
    signal.signal(signal.SIGTERM, init.on_sigterm)  # the zygote died: PR_SET_PDEATHSIG
    init.most_processes = limits.apply(spec, own_table=False)
    try:
        if spec["confine"] and not rights.lock_process_level() and os.geteuid() == 0:
            rights.become_own_user(spec["own_users"], spec["directory"])
    except (OSError, libc.IsolationError) as error:
        frames.send(control, {"ev": "failed", "error": str(error)})
        return
    # Armed only now, in the process that stays: the handler must exist before the signal can come.
    processes.prctl(processes.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == spec["zygote"]:
        init.run()


def main_in_namespaces(
    control: socket.socket, spec: dict[str, Any], built: bool = False, user: Optional[tuple[int, int]] = None
) -> None:
    """Init as process 1 of its namespaces, to its end. `built`: somebody else (bwrap) has built the isolation.
    `user`: the
    emulator's user and group, when they are in a user namespace where it still has to become root."""
    os.setsid()
    os.umask(UMASK)
    # No handler for SIGTERM: the kernel then keeps process 1 from anything that a command sends it.
    processes.prctl(processes.PR_SET_NAME, b"init")
    try:
        init = Init(control, spec, processes.Table())
        if built:
            rights.leave_keyring()
            if spec.get("limits"):
                limits.count_by_kernel(spec["limits"]["processes"], spec["counted"])
                limits.limit_segments(spec["limits"]["memory_mb"])
            root_filesystem.protect_host_inodes(spec["real_root"])
        else:
            # The death of process 1 is the death of everything in its process table. A zygote that died before this
            # was armed is not its parent any more; the number is asked of the host's /proc, which knows it.
            processes.prctl(processes.PR_SET_PDEATHSIG, signal.SIGKILL)
            if processes.parent_in_proc() != spec["zygote"]:
                return
            if user:
                namespaces.become_root(*user)
            root_filesystem.build(spec)
        proxy = network.listen_for_proxy(spec["proxy_port"]) if spec["network"] == "allowlist" else None
        init.most_processes = limits.apply(spec, own_table=True)
        rights.lock()
    except (OSError, libc.IsolationError) as error:
        frames.send(control, {"ev": "failed", "error": str(error)})
        return
    init.run(proxy)


def main_of_bwrap(control_fd: int, spec: dict[str, Any]) -> None:
    """Init when bwrap has built the isolation and become it."""
    libc.load()
    os.set_inheritable(control_fd, False)
    main_in_namespaces(socket.socket(fileno=control_fd), spec, built=True)
