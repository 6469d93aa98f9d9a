"""Starting a command: without input and with pipes for its output, or on a terminal."""

from __future__ import annotations

import os
import signal

from . import processes, terminals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Python ignores SIGPIPE and SIGXFSZ, the zygote the terminal's signals: commands get the defaults back. All signals are
# named, because the C library looks at each other one first, by a system call.
_DEFAULT_IN_COMMANDS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def start(message: dict[str, Any], devnull: int, outputs: list[int]) -> int:
    """Start `argv` of a `run` request in a process group of its own.

    Args:
        message: The request: id, argv, env, cwd.
        devnull: Its standard input.
        outputs: Its standard output and error: one descriptor for both, or one each.

    Returns:
        The process number.

    Raises:
        OSError, ValueError: It could not be started.
    """
    processes.tag_children(message["id"])
    os.chdir(message["cwd"])
    argv = message["argv"]
    pid = os.posix_spawn(
        argv[0],
        argv,
        message["env"],
        file_actions=[
            (os.POSIX_SPAWN_DUP2, devnull, 0),
            (os.POSIX_SPAWN_DUP2, outputs[0], 1),
            (os.POSIX_SPAWN_DUP2, outputs[-1], 2),
        ],
        setpgroup=0,
        setsigmask=[],
        setsigdef=_DEFAULT_IN_COMMANDS,
    )
    processes.prefer_as_victim(pid)
    return pid


def start_in_terminal(message: dict[str, Any]) -> tuple[int, int]:
    """Start `argv` of a `pty` request in a session of its own that a new terminal controls.

    Returns:
        The process number, and the controlling side of the terminal.

    Raises:
        OSError, ValueError, NotImplementedError: It could not be started.
    """
    processes.tag_children(message["id"])
    os.chdir(message["cwd"])
    pid, terminal = terminals.spawn(message, _DEFAULT_IN_COMMANDS)
    processes.prefer_as_victim(pid)
    return pid, terminal
