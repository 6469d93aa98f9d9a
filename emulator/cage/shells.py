"""How shells are started: long commands, and the settings of interactive shells."""

from __future__ import annotations

#: LANG in each command.
LOCALE = "C.UTF-8"
#: A command with more bytes is read from a file: the kernel takes at most 128 KiB in one argument.
_ARGUMENT_BYTES = 100_000

#: The init file of a person's shell. It reads what a login shell reads, but not the host's /etc/profile, which would
#: replace PATH. `set +h`: bash does not remember where programs are, since a stub may be put in front of one any time.
PERSONAL_SETTINGS = r"""
PS1='\u@${CAGED_SANDBOX_ID}:\w\$ '
for __file in ~/.bash_profile ~/.bash_login ~/.profile; do
    if [ -r "$__file" ]; then . "$__file"; break; fi
done
if [ "$__file" = ~/.profile ] && [ -r ~/.bashrc ]; then . ~/.bashrc; fi
unset __file
set +h
"""

#: Options of bash on a terminal that programs use: it prints nothing of its own.
QUIET_OPTIONS = ("--noprofile", "--norc", "--noediting", "+H", "-i")


def fits_in_argument(command: str) -> bool:
    """Whether a command can be an argument of its shell."""
    return len(command.encode("utf-8", "surrogateescape")) < _ARGUMENT_BYTES


def run_file_command(path: str, posix: bool) -> str:
    """Return a short command that runs the one in a file.

    Args:
        path: The file, as the sandbox has it.
        posix: Whether it is for `sh`, which has no `read -d`.
    """
    return f". {path}" if posix else f'IFS= read -r -d "" __c < {path}; eval "unset __c; $__c"'
