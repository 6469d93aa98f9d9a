"""Mapping more than one user into a user namespace, by the programs newuidmap and newgidmap.

Root inside is the emulator's user, and the other users are that user's subordinate ids (/etc/subuid, /etc/subgid).
Their files can only be removed from within such a namespace, which `remove` does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

from . import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Optional

_CLONE_NEWUSER = 0x10000000
#: Seconds for both programs, which may look up users in a directory service.
LIMIT = 20.0
_MOST_OUTPUT = 4096
#: What the process in the new namespace reads once it is mapped; anything else is an error.
MAPPED = b"mapped"


def write_maps(pid: int, users: dict[str, Any]) -> None:
    """Map the users of a process's new user namespace.

    Args:
        pid: The process.
        users: `SubordinateIds.as_json`.

    Raises:
        IsolationError: A program cannot be started, refuses, or does not end within LIMIT seconds.
    """
    started: list[_Program] = []
    try:
        for program, ranges in (("newuidmap", users["users"]), ("newgidmap", users["groups"])):
            started.append(_Program([users[program], str(pid), *(str(number) for part in ranges for number in part)]))
    finally:
        failures = [program.end() for program in started]
    for failure in failures:
        if failure:
            raise libc.IsolationError(failure)


class _Program:
    """A program that runs. Raises IsolationError when it cannot be started."""

    def __init__(self, words: list[str]) -> None:
        self._path = words[0]
        self._output, theirs = os.pipe()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, theirs, 2),
        ]
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        # The zygote ignores some signals.
        defaults = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
        try:
            self._pid = os.posix_spawn(self._path, words, environment, file_actions=actions, setsigdef=defaults)
        except OSError as error:
            os.close(self._output)
            raise libc.IsolationError(f"{self._path} cannot be started: {error.strerror}") from error
        finally:
            os.close(theirs)

    def end(self) -> str:
        """Wait for its end, and kill it after LIMIT seconds. Returns why it has failed; "" if it has not."""
        try:
            status = self._wait()
            if status is None:
                return f"{self._path} did not end within {LIMIT:g} s"
            if status == 0:
                return ""
            os.set_blocking(self._output, False)
            try:
                text = os.read(self._output, _MOST_OUTPUT).decode("utf-8", "replace").strip()
            except BlockingIOError:
                text = ""
            name = os.path.basename(self._path)
            return f"{name} failed: {text.removeprefix(f'{name}: ') or f'status {status}'}"
        finally:
            os.close(self._output)

    def _wait(self) -> Optional[int]:
        deadline = time.monotonic() + LIMIT
        pause = 0.0002
        while True:
            try:
                found, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:
                return 0  # a program that ignores SIGCHLD does not get the status; the mapped process finds out
            if found:
                return status
            if time.monotonic() > deadline:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                return None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)


def wait_for_maps(fd: int) -> None:
    """In the new namespace, wait until it is mapped, and become its root, without further groups.

    Args:
        fd: What gets MAPPED, or why the maps cannot be written; closed afterwards.

    Raises:
        IsolationError: They cannot be written, or the process that writes them has ended.
    """
    received = b""
    while piece := os.read(fd, _MOST_OUTPUT):
        received += piece
    os.close(fd)
    if received != MAPPED:
        raise libc.IsolationError(received.decode("utf-8", "replace") or "mapping the users: interrupted")
    os.setgroups([])


def finish(fd: int, pid: int, users: dict[str, Any]) -> str:
    """Map the users of a child that calls `wait_for_maps`, and report to it. Returns the error; "" for none.

    Args:
        fd: The end of the pipe to write to; closed afterwards.
        pid: The child.
        users: `SubordinateIds.as_json`.
    """
    failure = ""
    try:
        write_maps(pid, users)
    except libc.IsolationError as error:
        failure = str(error)
    try:
        os.write(fd, failure.encode() or MAPPED)
    except OSError:
        pass  # it has ended
    os.close(fd)
    return failure


def enter_new_user_namespace() -> None:
    """Move this process, which has one thread, into a new user namespace. Raises IsolationError."""
    if ctypes.CDLL(None, use_errno=True).unshare(ctypes.c_int(_CLONE_NEWUSER)) != 0:
        number = ctypes.get_errno()
        raise libc.IsolationError(f"unshare into a new user namespace: {os.strerror(number)}")


def remove(paths: Sequence[str], users: dict[str, Any]) -> None:
    """Remove trees with files of subordinate users, by a process in a namespace that has these users.

    Args:
        paths: The trees.
        users: `SubordinateIds.as_json`.

    Raises:
        IsolationError: The namespace cannot be made, or rm fails.
        OSError: No process can be started.
    """
    ready, is_ready = os.pipe()
    mapped, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        _remove_in_child(paths, ready, is_ready, mapped, go)
    for fd in (is_ready, mapped):
        os.close(fd)
    text = b""
    while piece := os.read(ready, _MOST_OUTPUT):
        text += piece
        if text == MAPPED:
            break
    os.close(ready)
    if text == MAPPED:
        failure = finish(go, pid, users)
    else:
        os.close(go)
        failure = text.decode("utf-8", "replace") or "the process that removes has ended"
    status = os.waitpid(pid, 0)[1]
    if failure or status:
        raise libc.IsolationError(failure or f"rm: status {status}")


def _remove_in_child(paths: Sequence[str], ready: int, is_ready: int, mapped: int, go: int) -> None:
    try:
        os.close(ready)
        os.close(go)
        try:
            enter_new_user_namespace()
        except libc.IsolationError as error:
            os.write(is_ready, str(error).encode())
            return
        os.write(is_ready, MAPPED)
        os.close(is_ready)
        wait_for_maps(mapped)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        # By rm, because a tree in a sandbox may be deeper than Python's own removal can go.
        os.execvp("rm", ["rm", "-rf", "--", *paths])
    finally:
        os._exit(1)


def main(paths: Sequence[str], users: dict[str, Any]) -> None:
    """Remove trees, as a program; see `remove`. Errors go to standard error."""
    try:
        remove(paths, users)
    except (OSError, libc.IsolationError) as error:
        sys.exit(str(error))
