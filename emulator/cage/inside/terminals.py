"""A terminal inside of the sandbox, and the program that it controls. Loaded in the zygote, before the isolation hide
where Python's modules are."""

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
    """(controlling side, program's side) of a new terminal. `quiet`: no echo, input without line editing and without
    the kernel's limit of 4095 bytes per line, output as it was written."""
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
    """Starts `argv` in a session of its own that the new terminal controls. Returns (pid, controlling side).

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
