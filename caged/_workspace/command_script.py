r"""The script that runs one command: shell text, without I/O.

Nothing of a command's output goes through the output of the API's `exec`, which is one text of bounded size: it is
written to two files, and what the script prints is its own:

    @started
    @<name>
    <stdout, base64>
    @
    <stderr, base64>

It exits with the code of the command. In place of the first line there is `@cwd` when the working directory cannot be
entered, and `@user` when there is no such user. Without stderr, there is no line before it. Of a stream of more than
`INLINE` bytes, one more is printed; all of it is then fetched in pieces.

bash runs the command in the shell of the script, because its fork takes a third of the time of a short command, and
prints the rest in a trap at the end, which works after `exit` and errors. Where it does not run, or prints something
else, the files are read by another call (`commands.py`): after `exec`, after SIGKILL, and where the command has a trap
of its own. The trap relies on nothing that the command can have changed: functions, aliases, options, traps, variables,
PATH, hashed programs, low descriptors. Other shells fork faster, and dash has no descriptor above 9: they run the
command in a subshell, and so does bash with fewer descriptors, and where the command limits its shell (`ulimit`).

A sandbox may have functions for all of its shells, with the names of builtins, too: `\command set` is the builtin.

The script has no variables, which the command could see.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Optional, Union

from .. import _arguments as arguments
from .._errors import CagedError
from .command_output import STARTED
from .scratch import MAKE_SCRATCH, SCRATCH
from .script_header import RESTORE_OPTIONS, run_header
from .shell_quoting import quote

Command = Union[str, Sequence[str]]

#: Bytes of each stream that come with the exit code.
INLINE = 256 * 1024
#: Bytes of an input that is sent in the script.
SENT_IN_SCRIPT = 32 * 1024
#: Bytes of a script (platform-behaviour.md A, Helpers). It is one argument of the shell that runs it, which is 128 KiB
#: at most on Linux.
LONGEST_SCRIPT = 96 * 1024
#: Every process of a command has it, apart from those that clear their environment.
MARK = "CAGED_SDK_RUN"

# As the first word of a command they are syntax, unless they are quoted; so is an assignment.
_RESERVED = frozenset(
    {"!", "{", "}", "[[", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in"}
    | {"select", "then", "time", "until", "while"}
)
# In bash, what a command's environment has of such a name is the shell's value, or nothing.
_OF_THE_SHELL = frozenset(
    {"BASH", "BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_CMDS", "BASH_COMMAND"}
    | {"BASH_LINENO", "BASH_SOURCE", "BASH_SUBSHELL", "BASH_VERSINFO", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS"}
    | {"EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND", "PIPESTATUS", "PPID", "RANDOM", "SECONDS"}
    | {"SHELLOPTS", "SRANDOM", "UID", "_"}
)
#: What bash prints the result to after the command. Higher than a command is likely to use, also by `{name}>` or a
#: process substitution (63 and below).
_RESULT = 97
# Neither PATH nor the hashed paths of a command matter. Where the system's own path has no such program, the files are
# read by another call.
_STANDARD_PROGRAM = "\\command -p"
# `$$`, as a command may write it.
_NUMBER_OF_SHELL = re.compile(r"\$\$|\$\{[#!]?\$")
# What limits its shell so that even a redirection may fail, with an error on the command's stderr.
_LIMITS_SHELL = re.compile(r"\bulimit\b|\bset\s+-[A-Za-z]*r|\brestricted\b")
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
    if isinstance(cwd, PurePosixPath):
        cwd = os.fspath(cwd)
    variables = {} if env is None else arguments.text_mapping("env", env)
    for name, value in variables.items():
        if not _VARIABLE.match(name):
            raise CagedError(f"env has the name {name!r}; a shell takes letters, digits and '_', not first a digit")
        if name in _OF_THE_SHELL:
            raise CagedError(f"env has the name {name!r}, which the shell sets itself; use another name")
        if name == MARK:
            raise CagedError(f"env has the name {name!r}, by which the processes of a command are found")
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
        if (words[0] in _RESERVED or "=" in words[0]) and command.startswith(words[0]):
            command = f"'{words[0]}'{command[len(words[0]) :]}"
    return _without_nul("command", arguments.text("command", command))


def _without_nul(name: str, value: str) -> str:
    if "\0" in value:
        raise CagedError(f"{name} holds a NUL character, which no argument of a program can")
    return value


def files_of(name: str) -> str:
    """The beginning of the paths of a command's files.

    `.1` stdout, `.2` stderr, `.0` stdin, `.c` the command, `.t` when its script was started, of some: see `note_start`.
    """
    return f"{SCRATCH}/{name}"


#: A script with a lower number than this does not note when it was started: only so many processes can be older, and a
#: search for those of a command may look at all of them. The file would take a tenth of the SDK's part of a command.
_FEW_PROCESSES = 4096


def note_start(name: str) -> str:
    """The words that keep the line of /proc of the script's shell, which is older than each process of the command.

    They may print an error, on a system without /proc.
    """
    return (
        f'\\command read -r CAGED_SDK_STAT </proc/self/stat&&\\command echo "$CAGED_SDK_STAT" >{files_of(name)}.t;'
        "\\command unset CAGED_SDK_STAT"
    )


@dataclass(frozen=True)
class StandardInput:
    """Where a command's input comes from.

    Attributes:
        redirection: Of the command.
        preparation: A line of shell that comes before it.
    """

    redirection: str = "</dev/null"
    preparation: str = ""


def inline_input(name: str, content: bytes) -> StandardInput:
    """An input of a few kilobytes, sent in the script."""
    path = f"{files_of(name)}.0"
    encoded = base64.b64encode(content).decode()
    return StandardInput(f"<{path}", f"printf %s {encoded}|base64 -d >{path}||exit 1\n")


def long_program(spec: CommandSpec) -> bytes:
    """The variables and the command, for the file `.c`."""
    return f"exec 8<&-\n{_exports(spec)}\n{spec.line}".encode()


def script(spec: CommandSpec, name: str, stdin: StandardInput, long: bool, finished: Sequence[str] = ()) -> str:
    """The script for one command.

    Args:
        name: New for each command.
        long: Whether the variables and the command are in a file.
        finished: Names of commands whose files are removed.
    """
    path = files_of(name)
    removal = ""
    if finished:
        files = " ".join(f"{files_of(old)}.*" for old in finished)
        # In the background of a subshell: a `wait` in the command waits for the children of its own shell only.
        removal = f'({{ [ -z "$BASH_VERSION" ]||\\command shopt -u failglob;\\command exec rm -f {files};}} &)\n'
    file = f"{path}.c" if long else None
    begin = (
        f"{run_header(name, spec.line)}{MAKE_SCRATCH}[ ! -e {path}.x ]||exit 1\n{removal}{stdin.preparation}"
        f"[ $$ -lt {_FEW_PROCESSES} ]||{{ {note_start(name)};}}\n"
    )
    if spec.user is not None:
        line = _READ_PROGRAM if long else f"{_exports(spec)}\n{spec.line}"
        return f"{begin}{_in_subshell(spec, name, stdin, file, line)}"
    # `$1` has the options, see `script_header.py`. `$2` is in the script once, for either kind of shell; `shift` leaves
    # the command without arguments. It has a line of its own: the shell shows a line that has an error.
    program = f"\\command shift;{_READ_PROGRAM if long else _exports(spec)}"
    if not long:
        program += f"\n{spec.line}"
    line = '\\command eval "$1"'
    if _NUMBER_OF_SHELL.search(spec.line):
        # In a subshell that is the number of the shell around it. A shell of its own takes time.
        line = f'\\command exec {SHELL} -c "$1" "$0" -'
    begin += f'\\command set -- "$1" {quote(program)}\n'
    if _LIMITS_SHELL.search(spec.line):
        return f"{begin}{_in_subshell(spec, name, stdin, file, line)}"
    return (
        f"{begin}"
        # Under a limit of files, there is no such descriptor.
        f'if [ -n "$BASH_VERSION" ]&&{{ \\command exec {_RESULT}>&1;}} 2>/dev/null;then\n'
        f"{_in_shell(spec, name, stdin, file)}else\n{_in_subshell(spec, name, stdin, file, line)}fi\n"
    )


def _in_shell(spec: CommandSpec, name: str, stdin: StandardInput, file: Optional[str]) -> str:
    """The lines that run the command `$2` in the shell of the script, which is bash."""
    path, result = files_of(name), f">&{_RESULT}"
    program = "" if file is None else f" 8<{file}"
    # What a trace (`set -x`), traps and ended jobs of the command print about these lines is not its output. Aliases
    # are off for the lines that are read later, so that their keywords are keywords.
    reset = "{ \\command trap - DEBUG ERR CHLD;\\command set +exmu;\\command shopt -u expand_aliases;} >/dev/null 2>&1"
    # A child that a signal ends early still has the trap: between its fork and the reset of its traps. Where the output
    # goes to a process, as after `exec > >(tee log)`, that process ends after this one. Where the command has made all
    # descriptors copies of its output, the result would be part of it.
    is_complete = "[[ $BASHPID = $$ && ! -p /dev/fd/1 && ! -p /dev/fd/2 && ! "
    is_complete += f"/dev/fd/{_RESULT} -ef {path}.1 && ! /dev/fd/{_RESULT} -ef {path}.2 ]]"
    printed = streams(name, result, _STANDARD_PROGRAM)
    trap = f"{reset}\n{is_complete}&&{{ {printed}}} >/dev/null 2>&1"
    return (
        f"\\command exec{program} {stdin.redirection} >>{path}.1 2>>{path}.2 9>&2||exit 1\n"
        f"\\command trap '{trap}' EXIT\n\\command export {MARK}={name};{_enter(spec, result)}"
        # In POSIX mode, `command eval` would keep errors of builtins inside it from ending the shell. A function of the
        # other name would run in its place, and the command not at all.
        f"\\command unset -f builtin;\\command echo {STARTED} {result};"
        f'{RESTORE_OPTIONS}\\builtin eval "$1"\n'
    )


def _in_subshell(spec: CommandSpec, name: str, stdin: StandardInput, file: Optional[str], line: str) -> str:
    """The lines that run the command in a subshell.

    Args:
        line: Runs it.
    """
    path = files_of(name)
    # Descriptor 9 is a second mark, for a process that clears its environment, see `process_scan.py`.
    command = body(spec, name, file, f"\\command echo {STARTED} >&9;\\command exec 9>&2;", line)
    # What the shell itself says about a process that a signal has ended is not the command's output. A group `{ ( ); }`
    # with redirections of both does not work: busybox's shell (1.35) ignores the inner ones. The shell has the second
    # mark as well: when the command takes too long, it ends with it.
    return (
        f">{path}.1 2>{path}.2||exit 1\n\\command exec 2>/dev/null 9>>{path}.2\n\\command trap - EXIT\n"
        f"({command}) 9>&1 {stdin.redirection} >>{path}.1 2>>{path}.2\n"
        f"\\command set -- $?\n{streams(name)}\\command exit $1\n"
    )


def streams(name: str, result: str = "", program: str = "\\command") -> str:
    """The lines that print what a command has written; first `!`, where it has removed the files of that.

    Args:
        result: The redirection of what they print.
        program: The words before the name of a program.
    """
    path = files_of(name)
    # The command may have been in the same shell: `\command` is no alias, and runs no function.
    return (
        f"\\command echo @{name} {result}\n"
        f"\\command [ -e {path}.1 ]&&\\command [ -e {path}.2 ]||\\command echo ! {result}\n"
        f"\\command [ -s {path}.1 ]&&{_encode(f'{path}.1', result, program)}\n"
        f"\\command [ -s {path}.2 ]&&\\command echo @ {result}&&{_encode(f'{path}.2', result, program)}\n"
    )


def _encode(path: str, result: str, program: str) -> str:
    # An error, of a sandbox without `base64` for example, is no base64, and so does not pass for an empty stream.
    return f"{{ {program} head -c {INLINE + 1} {path}|{program} base64;}} {result} 2>&1"


def _exports(spec: CommandSpec) -> str:
    return "".join(f"\\command export {name}={quote(value)};" for name, value in spec.env.items())


def _enter(spec: CommandSpec, result: str) -> str:
    """The words that enter the working directory.

    Args:
        result: The redirection of what they print when it cannot be entered.
    """
    if spec.cwd is None:
        return ""
    # With "./" in front, neither CDPATH nor the special meaning of "-" matters.
    path = spec.cwd if spec.cwd.startswith("/") else f"./{spec.cwd}"
    return f"\\command cd {quote(path)} 2>/dev/null||{{ echo @cwd {result};exit 1;}};"


# bash where there is one: `exec` of the API runs it. Other shells have no variable of this name.
SHELL = '"${BASH:-/bin/sh}"'
_READ_PROGRAM = 'eval "$(cat <&8)"'


def exec_shell(spec: CommandSpec, file: Optional[str]) -> str:
    """The words that replace the shell by one that runs the command."""
    if file is not None:
        return f"\\command exec {SHELL} -c {quote(_READ_PROGRAM)}"
    return f"{_exports(spec)}\\command exec {SHELL} -c {quote(spec.line)}"


def body(spec: CommandSpec, name: str, file: Optional[str], start: str, line: str) -> str:
    """What the subshell of a command runs: `start` and `line`, in the working directory, and as the user.

    Args:
        file: Of variables and command, where they are in one.
        start: Says that the command is started. Where something fails before it, descriptor 9 gets a line that says
            what.
        line: The command, with the options that the sandbox gives to a shell.
    """
    mark = f"\\command export {MARK}={name};"
    inner = _enter(spec, ">&9")
    inner += start if spec.user is not None else f"{start}{RESTORE_OPTIONS}"
    inner += line
    if spec.user is not None:
        user = shlex.quote(spec.user)
        inner = (
            f'id -u -- {user} >/dev/null 2>&1||{{ echo @user >&9;exit 1;}};\\command set -- "$1" {quote(inner)};'
            # A sandbox that has one user, in a user namespace, cannot change it, not even to itself.
            f'if [ "$(id -u -- {user})" = "$(id -u)" ];then {RESTORE_OPTIONS}\\command exec {SHELL} -c "$1";fi;'
            f'{RESTORE_OPTIONS}\\command exec su -s {SHELL} -c "$1" -- {user}'
        )
    # Opened here: another user cannot read the file by its path.
    return mark + inner if file is None else f"\\command exec 8<{file}||exit 1;{mark}{inner}"
