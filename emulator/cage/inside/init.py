"""The first process of a sandbox: it starts commands, reaps, freezes and kills, and dies with its zygote.

One control socket leads to the emulator. Requests (`op`) and events (`ev`):

    run    {id, argv, env, cwd} + [output fd]   ->  exit {id, code} or exit {id, error}
    kill   {id}                                     kills all that came from the command `id`
    freeze {id} / thaw {id}                     ->  done {id}
    answer {id, output?, exit_code?}                for a program that asked; exit_code ends the conversation
    stop   {}                                   ->  stopped {survivors}, then init is gone
                                                    ask {id, ...}: an agent program inside wants an answer

End of file on the control socket means that the emulator is gone; then everything in the sandbox goes too.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from typing import Any, Optional

from . import frames, processes

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


class Init:
    def __init__(self, control: socket.socket, spec: dict[str, Any]) -> None:
        self._control = control
        self._receiver = frames.Receiver(control)
        self._pid = os.getpid()
        self._commands: dict[int, int] = {}  # pid -> command id
        self._poll = select.poll()
        self._devnull = os.open(os.devnull, os.O_RDWR)
        self._frozen = False
        self._ending = False
        self._listener: Optional[socket.socket] = None
        self._asking: dict[int, socket.socket] = {}  # fd -> conversation with a program inside
        if spec.get("ask_dir"):
            self._listen(spec["ask_dir"])
        self._wake_r, wake_w = os.pipe()
        for fd in (self._wake_r, wake_w):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)  # the zygote died: PR_SET_PDEATHSIG
        self._poll.register(control, select.POLLIN)
        self._poll.register(self._wake_r, select.POLLIN)

    def _on_sigterm(self, *_: Any) -> None:
        self._ending = True

    def _listen(self, directory: str) -> None:
        # Bound by a relative name: the full path may exceed what a socket address holds.
        os.chdir(directory)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind("init.sock")
        self._listener.listen(16)
        self._listener.setblocking(False)
        self._poll.register(self._listener, select.POLLIN)

    def run(self) -> None:
        frames.send(self._control, {"ev": "ready", "pid": self._pid})
        while not self._ending:
            for fd, _event in self._poll.poll():
                if fd == self._control.fileno():
                    self._read_control()
                elif fd == self._wake_r:
                    self._drain_wakeups()
                elif self._listener is not None and fd == self._listener.fileno():
                    self._accept()
                elif fd in self._asking:
                    self._read_question(fd)
            self._reap()
        self._kill_everything()

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
        if op == "run":
            self._start(message, fds[0])
        elif op == "kill":
            self._kill_command(message["id"])
        elif op == "freeze":
            self._frozen = True
            processes.signal_until_settled(self._everything, signal.SIGSTOP)
            self._send({"ev": "done", "id": message["id"]})
        elif op == "thaw":
            self._frozen = False
            processes.signal_until_settled(self._everything, signal.SIGCONT)
            self._send({"ev": "done", "id": message["id"]})
        elif op == "answer":
            self._answer(message)
        elif op == "stop":
            gone = self._kill_everything()
            self._send({"ev": "stopped", "survivors": 0 if gone else len(self._everything())})
            self._ending = True

    def _start(self, message: dict[str, Any], output: int) -> None:
        argv, env = message["argv"], message["env"]
        try:
            processes.tag_children(message["id"])
            os.chdir(message["cwd"])
            pid = os.posix_spawn(
                argv[0],
                argv,
                env,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._devnull, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setpgroup=0,
                setsigmask=[],
                setsigdef=_RESET_IN_COMMANDS,
            )
        except (OSError, ValueError) as error:
            self._send({"ev": "exit", "id": message["id"], "error": str(error)})
            return
        self._commands[pid] = message["id"]

    def _send(self, message: dict[str, Any]) -> None:
        try:
            frames.send(self._control, message)
        except OSError:
            self._ending = True

    # --- processes

    def _drain_wakeups(self) -> None:
        try:
            while os.read(self._wake_r, 512):
                pass
        except BlockingIOError:
            pass

    def _everything(self) -> list[int]:
        return processes.descendants([self._pid]) if processes.LINUX else list(self._commands)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            command = self._commands.pop(pid, None)
            if command is not None:
                code = os.waitstatus_to_exitcode(status)
                self._send({"ev": "exit", "id": command, "code": code if code >= 0 else 128 - code})

    def _kill_command(self, command: int) -> None:
        def of_command() -> list[int]:
            return [pid for pid in processes.descendants([self._pid]) if processes.tag_of(pid) == command]

        for pid, known in list(self._commands.items()):
            if known == command:
                try:
                    os.killpg(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
        processes.kill_until_gone(of_command, self._reap, limit=2.0)

    def _kill_everything(self) -> bool:
        if not processes.LINUX:
            for pid in list(self._commands):
                try:
                    os.killpg(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
        return processes.kill_until_gone(self._everything, self._reap)

    # --- programs inside that ask the emulator

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            conversation, _ = self._listener.accept()
        except OSError:
            return
        self._asking[conversation.fileno()] = conversation
        self._poll.register(conversation, select.POLLIN)

    def _read_question(self, fd: int) -> None:
        conversation = self._asking[fd]
        try:
            # One frame per question; the program sends it in one piece and then waits.
            messages = frames.Receiver(conversation).receive()
        except (EOFError, OSError, ValueError):
            self._hang_up(fd)
            return
        for message, _ in messages:
            self._send({"ev": "ask", "id": fd, "question": message})

    def _answer(self, message: dict[str, Any]) -> None:
        conversation = self._asking.get(message["id"])
        if conversation is None:
            return
        try:
            conversation.settimeout(5.0)
            frames.send(
                conversation, {key: message[key] for key in ("output", "exit_code") if key in message}
            )
        except OSError:
            self._hang_up(message["id"])
            return
        if "exit_code" in message:
            self._hang_up(message["id"])

    def _hang_up(self, fd: int) -> None:
        conversation = self._asking.pop(fd)
        self._poll.unregister(conversation)
        conversation.close()


def main(control: socket.socket, spec: dict[str, Any]) -> None:
    """Runs init to its end; the caller leaves with os._exit afterwards."""
    os.setsid()
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    init = Init(control, spec)
    # Armed only now, in the process that stays: the handler must exist before the signal can come.
    processes.prctl(processes.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == spec["zygote"]:
        init.run()
