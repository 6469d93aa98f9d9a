"""A terminal inside the sandbox, and the program on it. Loaded in the zygote, because the isolation may hide Python's
modules."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IFLAG, OFLAG, _CFLAG, LFLAG = range(4)


def open_pair(rows: int, cols: int, quiet: bool) -> tuple[int, int]:
    """Open a new terminal.

    Args:
        rows: Lines.
        cols: Characters of a line.
        quiet: For programs instead of a person: without echo, without line editing and the kernel's limit of 4095 bytes
            per line, and with output as it was written.

    Returns:
        The controlling side and the program's side.
    """
    master, slave = os.openpty()
    try:
        attributes = termios.tcgetattr(slave)
        attributes[IFLAG] |= getattr(termios, "IUTF8", 0)
        if quiet:
            attributes[LFLAG] &= ~(termios.ECHO | termios.ICANON)
            attributes[OFLAG] &= ~termios.OPOST
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
    except BaseException:
        os.close(master)
        os.close(slave)
        raise
    return master, slave


def spawn(message: dict[str, Any], signals: list[Any]) -> tuple[int, int]:
    """Start a program in a session of its own that a new terminal controls.

    Args:
        message: The request `pty`; see `init.py`.
        signals: Signals that the program gets with their default effect.

    Returns:
        The process number and the controlling side of the terminal.

    Raises:
        OSError, ValueError, NotImplementedError: It could not be started.
    """
    try:
        master, slave = open_pair(message["rows"], message["cols"], message["quiet"])
    except OSError as error:
        raise OSError(error.errno, f"no terminal can be opened: {error.strerror}") from error
    try:
        # Opened by name in the new session, it becomes the session's controlling terminal.
        opened = (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0)
        pid = os.posix_spawn(
            message["argv"][0],
            message["argv"],
            message["env"],
            file_actions=[opened, (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)],
            setsid=True,
            setsigmask=[],
            setsigdef=signals,
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return pid, master
