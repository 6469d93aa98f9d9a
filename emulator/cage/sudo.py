"""The command sudo in sandboxes where the host's does not work, or does not exist.

Commands are root already, so that it only has to run a command, possibly as another user. In a user namespace the
host's program does not belong to root, and refuses to work.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .toolchains import STANDARD_PATH, write_script

_SCRIPT = """\
# Runs a command as root, which it is already, or by -u as another user.
user=root shell= directory=
fail() { echo "sudo: $1" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "a command of another user cannot become root in this sandbox"
while [ $# -gt 0 ]; do
    case $1 in
        -u|--user) [ $# -gt 1 ] || fail "option '$1' needs a user"; user=$2; shift ;;
        --user=*) user=${1#*=} ;;
        -D|--chdir) [ $# -gt 1 ] || fail "option '$1' needs a directory"; directory=$2; shift ;;
        --chdir=*) directory=${1#*=} ;;
        -g|--group|-p|--prompt|-C|--close-from|-h|--host|-T|--command-timeout) shift ;;
        -i|--login|-s|--shell) shell=${SHELL:-/bin/sh} ;;
        -v|--validate|-k|--reset-timestamp|-K|--remove-timestamp) [ $# -gt 1 ] || exit 0 ;;
        -l|--list) echo "User root may run the following commands: (ALL : ALL) NOPASSWD: ALL"; exit 0 ;;
        -V|--version) echo "sudo of the emulator: commands of a sandbox are root"; exit 0 ;;
        -[AbEHnPSB]*|--askpass|--background|--bell|--preserve-env*|--set-home|--non-interactive|--stdin) ;;
        -u*) user=${1#-u} ;;
        --) shift; break ;;
        -*) fail "option '$1' is unknown" ;;
        [A-Za-z_]*=*) export "$1" ;;
        *) break ;;
    esac
    shift
done
while [ $# -gt 0 ]; do
    case $1 in [A-Za-z_]*=*) export "$1"; shift ;; *) break ;; esac
done
if [ $# -eq 0 ]; then
    [ -n "$shell" ] || fail "no command was given"
    set -- "$shell"
elif [ -n "$shell" ]; then
    set -- "$shell" -c "$*"
fi
[ -z "$directory" ] || cd "$directory" || exit 1
export SUDO_USER=root SUDO_UID=0 SUDO_GID=0 SUDO_COMMAND="$*"
case $user in
    root|'#0') exec "$@" ;;
    *) exec runuser -u "$user" -- "$@" ;;
esac"""


def install(bin_dir: Path, own_user: bool) -> None:
    """Install it, unless the host's works. Blocks (microseconds).

    Args:
        bin_dir: The sandbox's directory of the emulator's programs.
        own_user: Whether the sandbox is in a user namespace.
    """
    if own_user or not _has_sudo():
        bin_dir.mkdir(exist_ok=True)
        if not os.path.lexists(bin_dir / "sudo"):
            write_script(bin_dir / "sudo", _SCRIPT)


def _has_sudo() -> bool:
    return shutil.which("sudo", path=STANDARD_PATH) is not None
