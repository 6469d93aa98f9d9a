"""The program behind `claude`, `codex`, `aider`, … inside a sandbox: asks the emulator and prints the answer.

    agent.py DIRECTORY PROGRAM [ARGUMENT ...]

DIRECTORY holds the socket of the sandbox's init. What the words mean is decided by the emulator, not here;
standard input is read only when the emulator wants it (no prompt among the words), and never from a terminal.
"""

from __future__ import annotations

import os
import socket
import sys

from . import frames


def main(directory: str, program: str, *arguments: str) -> int:
    question = {
        "program": program,
        "arguments": arguments,
        "cwd": os.getcwd(),
        "stdin": "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read(),
    }
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    home = os.getcwd()
    os.chdir(directory)
    try:
        connection.connect("init.sock")
    except OSError as error:
        print(f"{program}: the emulator does not answer ({error})", file=sys.stderr)
        return 1
    os.chdir(home)
    frames.send(connection, question)
    receiver = frames.Receiver(connection)
    while True:
        try:
            messages = receiver.receive()
        except (EOFError, OSError):
            print(f"{program}: the emulator went away before it answered", file=sys.stderr)
            return 1
        for message, _ in messages:
            sys.stdout.write(message.get("output", ""))
            sys.stdout.flush()
            if "exit_code" in message:
                return int(message["exit_code"])
