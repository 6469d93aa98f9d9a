"""Scripts that work on paths: how they report what the operating system refuses."""

from __future__ import annotations

import shlex
from typing import Any

from .._constants import EXEC_TIMEOUT
from .._core import CallPlan
from .._errors import CagedError
from .binding import Binding, new_name
from .paths import absolute, absolute_file, names_directory, path_error

_REFUSED = "refused: "
# What stderr has at its end is why something failed, whatever command it is of. `exec 3>&1` keeps the output apart.
_WRAPPED = """\
LC_ALL=C;export LC_ALL
refuse() {{ printf '%s\\n' "refused: $1" >&2;exit ${{c:-1}};}}
exec 3>&1
e=$({{
{body}
}} 2>&1 >&3 3>&-)
s=$?
exec 3>&-
printf '\\n@%s %s\\n' {key} $s
[ $s = 0 ]||printf %s "$e"|tail -c 2000
exit 0
"""


def work_on(
    binding: Binding, action: str, path: str, body: str, target: str = "", preparation: str = ""
) -> CallPlan[str]:
    """Run the script of one operation on a path. Returns what it printed.

    Args:
        action: What the operation cannot do, for the message of its error, e.g. ``cannot read``.
        path: For the error.
        body: Shell. Where it fails, it exits with another code than 0, after a message on stderr that ends with the
            operating system's reason; `refuse REASON` does both. Where the shell variable `c` is 4,
            `refuse PATH: REASON` is about another path.
        target: A second path. The error is about it where the shell variable `c` is 3.
        preparation: Shell that comes before; where it fails, the path is not at fault.

    Raises:
        CagedPathError: It failed.
        CagedSandboxError: The preparation failed.
    """
    key = new_name()
    title = f"{action.replace('cannot ', '')} {path}"
    script = preparation + _WRAPPED.format(body=body.rstrip("\n"), key=key)
    output = yield from binding.execute(title, script, EXEC_TIMEOUT)
    printed, mark, ending = output.rpartition(f"\n@{key} ")
    if not mark:
        raise binding.failure(output)
    code, _, said = ending.partition("\n")
    if code.strip() != "0":
        if target and code.strip() == "3":
            raise path_error(f"{action} {path!r} to", target, said)
        # Of a long message the end alone is there; then the path is that of the call.
        if code.strip() == "4" and said.startswith(_REFUSED):
            where, _, reason = said.removeprefix(_REFUSED).rpartition(": ")
            raise path_error(action, where, reason)
        raise path_error(action, path, said)
    return printed


def number(printed: str) -> int:
    """A number that a program of the sandbox printed.

    Raises:
        CagedError: It is none.
    """
    text = printed.strip()
    if not (text.isascii() and text.isdecimal()):
        raise CagedError(
            f"the sandbox gives {text[:200]!r} as a number of bytes or lines; `stat` or `wc` in the sandbox may have"
            " been replaced"
        )
    return int(text)


def variables(**paths: str) -> str:
    """Shell variables with these values."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in paths.items())


def require_directory(given: Any, variable: str = "p") -> str:
    """A line that fails where a path ends with a slash and does not lead to a directory.

    Args:
        given: As the caller gave it.
        variable: That of the shell which has it, without the slash.
    """
    if not names_directory(given):
        return ""
    return f"stat -L -c '' -- \"${variable}\" >/dev/null||exit 1\n[ -d \"${variable}\" ]||refuse 'Not a directory'\n"


def written_file(binding: Binding, action: str, given: Any, name: str = "path") -> CallPlan[str]:
    """The absolute path of a file that is written.

    Raises:
        CagedNotADirectoryError: It ends with a slash, and leads to something else than a directory.
        CagedIsADirectoryError: It ends with a slash.
    """
    checked = absolute(given, name)
    if names_directory(given):
        body = f'{variables(p=checked)}[ -d "$p" ]||[ ! -e "$p" ]||refuse \'Not a directory\'\n'
        yield from work_on(binding, action, checked, body)
    return absolute_file(given, name)


#: `$d` becomes the directory of `$p`, made if it does not exist.
MAKE_PARENTS = """\
d=${p%/*};d=${d:-/}
[ -d "$d" ]||mkdir -p -- "$d"||{ [ -e "$d" ]||exit ${c:-1};refuse 'Not a directory';}
"""

#: `check_outside DIRECTORY WHAT` fails where `$p` is below a directory, given without links. It comes before what makes
#: the directories above `$p`.
CHECK_OUTSIDE = """\
check_outside() {
  g=${p%/*}
  while [ -n "$g" ]&&[ ! -e "$g" ];do g=${g%/*};done
  g=$(readlink -f -- "${g:-/}"&&echo x)
  case ${g%?x}/ in "${1%/}"/*) refuse "it would be $2 into itself";; esac
}
"""

#: Where `$p` is a symbolic link, it becomes the file that the link leads to, whether it exists or not. (`readlink -f`
#: of busybox cannot do it where it does not.) The x keeps line breaks at the end of a name.
FOLLOW = """\
h=0
while [ -L "$p" ];do
  [ $h -lt 40 ]||refuse 'Too many levels of symbolic links'
  h=$((h+1))
  r=$(readlink -- "$p"&&echo x)||exit 1
  r=${r%?x}
  case $r in /*) p=$r;; *) p=${p%/*}/$r;; esac
done
"""


def removal(path: str, name: str, follow: bool = True) -> str:
    """Shell that removes what a call has made beside a path, or in it, as `.caged-NAME`.

    Args:
        follow: Whether the call follows a link that the path is of.
    """
    return (
        f"(refuse() {{ exit 1;}}\n{variables(p=path)}{FOLLOW if follow else ''}"
        f"one=${{p%/*}}/.caged-{name};two=${{p%/}}/.caged-{name}\n"
        # What the call was doing is ended at the same time, and may still write there.
        'for i in 1 2 3 4 5 6 7 8 9;do rm -rf -- "$one" "$two";[ -e "$one" ]||[ -e "$two" ]||break;sleep 0.1;done'
        ") 2>/dev/null"
    )


#: `each_mount COMMAND` runs a command with each mount point as `$m`; a space in its name is written in another
#: way there. `$q` becomes the path of `$s` without links in its directory.
MOUNTS = """\
each_mount() { [ ! -r /proc/self/mountinfo ]||while read -r _ _ _ _ m _;do "$@";done </proc/self/mountinfo;}
q=${s%/*};q=$(readlink -f -- "${q:-/}"&&echo x)||exit 1
q=${q%?x};q=${q%/}/${s##*/}
"""

#: Fails where a file system is mounted at the directory `$q`, or below it: `rm -rf` would remove all that is in it, and
#: then find that it cannot remove the directory.
CHECK_MOUNTS = """\
free() { case $m/ in "$q"/*) refuse "a file system is mounted at $m; nothing was changed";; esac;}
each_mount free
"""

#: Succeeds where `$q` can be renamed to something in `$d`. The same file system may be mounted at both places, which a
#: rename cannot cross either; its number is for mount points whose names are not readable.
IS_SAME_MOUNT = """\
same_mount() {
  [ "$(stat -c %d -- "$s")" = "$(stat -L -c %d -- "$d")" ]||return 1
  f=$(readlink -f -- "$d"&&echo x)||exit 1
  f=${f%?x};f=${f%/}/;x=;y=
  each_mount longest
  [ "$x" = "$y" ]
}
longest() {
  case $q/ in "${m%/}"/*) [ ${#m} -lt ${#x} ]||x=$m;; esac
  case $f in "${m%/}"/*) [ ${#m} -lt ${#y} ]||y=$m;; esac
}
"""

#: Fails where `$p` cannot be written as a regular file.
CHECK_WRITABLE = """\
[ -d "$p" ]&&refuse 'Is a directory'
if [ -e "$p" ];then
  [ -f "$p" ]||refuse 'it is a device, a named pipe or a socket'
  [ -w "$p" ]||refuse 'Permission denied'
fi
"""

#: Fails where `$p` has become a directory just before `$t` was to take its place: then `mv` has put it in there.
CHECK_REPLACED = """\
t=$p/${t##*/}
{ [ -e "$t" ]||[ -L "$t" ];}&&{ rm -rf -- "$t";refuse 'Is a directory';}
:
"""

#: `$t` takes the place of `$p` in one step. It gets the owner of a file that was there, and the mode `$m`, or that of
#: the file.
REPLACE = (
    """\
if [ -f "$p" ];then
  chown "$(stat -L -c %u:%g -- "$p")" "$t" 2>/dev/null
  m=${m:-$(stat -L -c %a -- "$p")}
fi
[ -z "$m" ]||chmod "$m" "$t"
mv -f -- "$t" "$p"||{ rm -rf -- "$t";exit 1;}
"""
    + CHECK_REPLACED
)
