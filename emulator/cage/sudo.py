"""The command sudo in sandboxes where the host's does not work, or does not exist.

Commands are root already, so that it only has to run a command, possibly as another user. In a user namespace the
host's program does not belong to root, and refuses to work.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .toolchains import STANDARD_PATH, write_script

_SCRIPT = r"""# Runs a command as root, which it is already, or by -u and -g as another user and group.
user=root group= directory= shell= login= home= background= without=
fail() { echo "sudo: $1" >&2; exit 1; }
# By name or, after a number sign, by number.
entry() { getent "$1" "${2#"#"}" || grep "^${2#"#"}:" "/etc/$1" || fail "'$2' is not in /etc/$1"; }
is_program() (
    case $1 in */*) exit 0 ;; esac
    IFS=:
    for place in $PATH; do [ -f "$place/$1" ] && [ -x "$place/$1" ] && exit 0; done
    exit 1
)
[ "$(id -u)" = 0 ] || fail "a command of another user cannot become root in this sandbox"
while [ $# -gt 0 ]; do
    option= letters= value=
    case $1 in
        --) shift; break ;;
        --*=*) option=${1%%=*} value=${1#*=} ;;
        --*) option=$1 ;;
        -?*) letters=${1#-} ;;
        [A-Za-z_]*=*) export "$1"; shift; continue ;;
        *) break ;;
    esac
    shift
    while [ -n "$option$letters" ]; do
        if [ -n "$letters" ]; then
            option=-${letters%"${letters#?}"} letters=${letters#?}
        fi
        case $option in
            -[CDTghpu]|--user|--group|--chdir|--prompt|--close-from|--host|--command-timeout)
                if [ -n "$letters" ]; then
                    value=$letters letters=
                elif [ -z "$value" ]; then
                    [ $# -gt 0 ] || fail "option '$option' needs a value"
                    value=$1; shift
                fi ;;
        esac
        case $option in
            -u|--user) user=$value ;;
            -g|--group) group=$value ;;
            -D|--chdir) directory=$value ;;
            -i|--login) login=1 shell=1 home=1 ;;
            -s|--shell) shell=1 ;;
            -H|--set-home) home=1 ;;
            -b|--background) background=1 ;;
            -v|--validate|-k|--reset-timestamp|-K|--remove-timestamp) without=1 ;;
            -l|--list) echo "User root may run the following commands: (ALL : ALL) NOPASSWD: ALL"; exit 0 ;;
            -V|--version) echo "sudo of the emulator: commands of a sandbox are root"; exit 0 ;;
            -[ABCENPSThnp]|--askpass|--bell|--preserve-env|--non-interactive|--preserve-groups|--stdin) ;;
            --prompt|--close-from|--host|--command-timeout) ;;
            *) fail "option '$option' is unknown" ;;
        esac
        option= value=
    done
done
while [ $# -gt 0 ]; do
    case $1 in [A-Za-z_]*=*) export "$1"; shift ;; *) break ;; esac
done
if [ $# -eq 0 ] && [ -z "$shell" ]; then
    [ -n "$without" ] || fail "no command was given"
    exit 0
fi
program=${SHELL:-/bin/sh}
if [ -n "$home" ] || [ "${user#"#"}" != "$user" ]; then
    found=$(entry passwd "$user") || exit 1
    IFS=: read -r user _ _ _ _ found_home found_shell <<END
$found
END
    [ -z "$home" ] || export HOME="$found_home"
    [ -z "$login" ] || export SHELL="${found_shell:-/bin/sh}" USER="$user" LOGNAME="$user"
    [ -z "$login" ] || program=$SHELL directory=${directory:-$HOME}
fi
if [ -n "$group" ]; then
    found=$(entry group "$group") || exit 1
    group=${found%%:*}
fi
if [ -n "$shell" ]; then
    words=
    for word in "$@"; do
        words="$words $(printf '%s' "$word" | sed 's/[^A-Za-z0-9_$-]/\\&/g')"
    done
    set -- "$program" ${login:+-l} ${words:+-c "${words# }"}
fi
[ -z "$directory" ] || cd "$directory" || exit 1
is_program "$1" || fail "$1: command not found"
export SUDO_USER=root SUDO_UID=0 SUDO_GID=0 SUDO_COMMAND="$*"
[ "$user:${group:-root}" = root:root ] || set -- runuser -u "$user" ${group:+-g "$group"} -- "$@"
[ -n "$background" ] || exec "$@"
"$@" &"""


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
