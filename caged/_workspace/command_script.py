"""The script that runs one command: shell text, without I/O.

Nothing of a command's output goes through the output of the API's `exec`, which is one text of bounded size: it is
written to two files, and what the script prints is its own:

    @<name> <exit code>
    <stdout, base64>
    @
    <stderr, base64>

The first line is `@cwd` when the working directory cannot be entered, and `@user` when there is no such user. Of a
stream of more than `INLINE` bytes, one more is printed; all of it is then fetched in pieces.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from .. import _arguments as arguments
from .._errors import CagedError
from .binding import MAKE_SCRATCH, SCRATCH

Command = Union[str, Sequence[str]]

#: Bytes of each stream that come with the exit code.
INLINE = 256 * 1024
#: Bytes of a command or an input that are sent in the script. An argument of a program is 128 KiB at most on Linux.
SENT_IN_SCRIPT = 32 * 1024
#: Every process of a command has it, apart from those that clear their environment.
MARK = "CAGED_SDK_RUN"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class CommandSpec:
    """What to run, checked.

    Attributes:
        line: For the shell.
        cwd: None means ``/workspace``.
        user: None means the user whom the platform runs commands as.
    """

    line: str
    cwd: Optional[str] = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: Optional[str] = None


def checked_command(command: Any, cwd: Any, env: Any, user: Any) -> CommandSpec:
    """Check what a caller gave.

    Raises:
        CagedError: An argument that cannot be used; nothing is sent.
    """
    variables = {} if env is None else arguments.text_mapping("env", env)
    for name, value in variables.items():
        if not _VARIABLE.match(name):
            raise CagedError(f"env has the name {name!r}; a shell takes letters, digits and '_', not first a digit")
        _without_nul(f"env[{name!r}]", value)
    for name, given in (("cwd", cwd), ("user", user)):
        if given is not None and not _without_nul(name, arguments.text(name, given)):
            raise CagedError(f"{name} is empty; leave it out for the sandbox's own")
    return CommandSpec(command_line(command), cwd, variables, user)


def command_line(command: Any) -> str:
    """A command as one line for the shell; the words of a list are quoted."""
    if isinstance(command, (list, tuple)):
        words = arguments.texts("command", command)
        if not words:
            raise CagedError("command is an empty list; its first word names a program")
        command = shlex.join(words)
    return _without_nul("command", arguments.text("command", command))


def _without_nul(name: str, value: str) -> str:
    if "\0" in value:
        raise CagedError(f"{name} holds a NUL character, which no argument of a program can")
    return value


def files_of(name: str) -> str:
    """The beginning of the paths of a command's files: `.1` stdout, `.2` stderr, `.0` stdin, `.c` the command."""
    return f"{SCRATCH}/{name}"


@dataclass(frozen=True)
class StandardInput:
    """Where a command's input comes from.

    Attributes:
        redirection: Of the command.
        preparation: A line of shell that comes before it; may use ``$f``.
    """

    redirection: str = "</dev/null"
    preparation: str = ""


def inline_input(content: bytes) -> StandardInput:
    """An input of a few kilobytes, sent in the script."""
    return StandardInput("<$f.0", f"printf %s {base64.b64encode(content).decode()}|base64 -d >$f.0\n")


def script(
    spec: CommandSpec, name: str, stdin: StandardInput, line: Optional[str] = None, finished: Sequence[str] = ()
) -> str:
    """The script for one command.

    Args:
        name: New for each command.
        finished: Names of commands whose files are removed.
        line: In place of the command itself, where it is in a file.
    """
    path = files_of(name)
    body = f"export {MARK}={name};" + "".join(f"export {key}={shlex.quote(value)};" for key, value in spec.env.items())
    if spec.cwd is not None:
        body += f"cd -- {shlex.quote(spec.cwd)} 2>/dev/null||{{ echo @cwd >&9;exit 1;}};"
    body += f"eval {shlex.quote(spec.line if line is None else line)} 9>&-"
    if spec.user is not None:
        body = _as_user(spec.user, body)
    removal = f"rm -f {' '.join(f'{files_of(old)}.*' for old in finished)} &\n" if finished else ""
    return (
        f"{MAKE_SCRATCH}{removal}f={path}\n{stdin.preparation}"
        f"({body}) 9>&1 {stdin.redirection} >$f.1 2>$f.2\n"
        f'echo "@{name} $?"\n'
        f"if [ -s $f.1 ];then head -c {INLINE + 1} $f.1|base64;fi;echo @\n"
        f"if [ -s $f.2 ];then head -c {INLINE + 1} $f.2|base64;fi\n"
    )


def _as_user(user: str, body: str) -> str:
    quoted = shlex.quote(user)
    return (
        f"id -u -- {quoted} >/dev/null 2>&1||{{ echo @user >&9;exit 1;}};"
        f"exec su -s /bin/sh -c {shlex.quote('echo @started >&9;' + body)} -- {quoted}"
    )
