"""The entries of directories of a sandbox, and of those below them."""

from __future__ import annotations

from typing import Any

from .. import _arguments as arguments
from .._core import CallPlan
from .._errors import CagedError
from .binding import Binding, new_name
from .file_stat import EMIT, FileStat, parse
from .globs import matcher
from .path_scripts import number, variables, work_on
from .paths import absolute
from .scratch import MAKE_SCRATCH, SCRATCH

# Lines of records that come with one call.
_LINES = 20_000
# One entry after another of one directory after another. A program is started for each 100 entries; `q0`, `q1` and so
# on are a queue of directories. `each` gets up to 100 paths. What lies deeper than a path can tell is not left out
# silently.
WALK = """\
stat -L -c '' -- "$p" >/dev/null||exit 1
[ -d "$p" ]||refuse 'Not a directory'
set --
q0=${p%/};i=0;n=1
while [ $i -lt $n ];do
  eval "d=\\$q$i;unset q$i";i=$((i+1))
  if [ ! -r "$d/" ]||[ ! -x "$d/" ];then
    [ -d "$d/" ]||continue
    # busybox's test says so of what root may enter nevertheless.
    (cd "$d/"&&ls) >/dev/null 2>&1||{ c=4;refuse "${d:-/}: Permission denied";}
  fi
  for e in "$d"/* "$d"/.[!.]* "$d"/..?*;do
    skip "${e##*/}" "$e"&&continue
    if [ -L "$e" ];then :
    elif [ -d "$e" ];then
      if [ $deep = 1 ];then eval "q$n=\\$e";n=$((n+1));fi
    elif [ ! -e "$e" ];then
      [ ${#e} -lt 4096 ]||refuse 'File name too long'
      continue
    fi
    set -- "$@" "$e"
    if [ $# -ge 100 ];then each "$@"||exit 1;set --;fi
  done
done
[ $# = 0 ]||each "$@"||exit 1
"""
SKIP_NOTHING = "skip() { return 1;}\n"


def list_(binding: Binding, path: Any, recursive: Any, glob: Any) -> CallPlan[list[FileStat]]:
    """The entries of a directory that match, sorted by path."""
    checked = absolute(path)
    deep = arguments.boolean("recursive", recursive)
    matches = None
    if glob is not None:
        matches = matcher(arguments.text("glob", glob))
        if glob.startswith("/"):
            raise CagedError(f"glob {glob!r} begins with a slash; it is compared with the path below {checked!r}")
        deep = deep or "/" in glob
    entries = yield from records(binding, checked, deep, SKIP_NOTHING)
    if matches is not None:
        below = len(checked.rstrip("/")) + 1
        entries = [entry for entry in entries if matches(entry.path[below:])]
    return sorted(entries, key=lambda entry: entry.path.split("/"))


def records(binding: Binding, path: str, deep: bool, skip: str, more: str = "") -> CallPlan[list[FileStat]]:
    """What is known of each entry, as the sandbox finds them.

    Args:
        path: The directory.
        deep: Whether to go into directories below it.
        skip: A shell function that succeeds for an entry that is left out; its arguments are name and path.
        more: A line of shell that is run for up to 100 paths, its arguments.
    """
    key, name = new_name(), f"{SCRATCH}/{new_name()}.l"
    body = f'{variables(p=path, k=key, deep=str(int(deep)))}{EMIT}{skip}each() {{ emit "$@";{more or ":"};}}\n'
    # The list is complete before any of it is read, so that a failure is known first.
    body = f"({body}{WALK}) >{name}||{{ rm -f {name};exit 1;}}\n"
    body += f"n=$(wc -l <{name});echo $n\nhead -n {_LINES} {name}\n[ $n -gt {_LINES} ]||rm -f {name}\n"
    output = yield from work_on(binding, "cannot list", path, body, preparation=MAKE_SCRATCH)
    count, _, text = output.partition("\n")
    texts = [text]
    for first in range(_LINES, number(count), _LINES):
        page = yield from binding.execute("read a list", f"tail -n +{first + 1} {name}|head -n {_LINES}")
        texts.append(page)
    if len(texts) > 1:
        yield from binding.execute("remove a list", f"rm -f {name}")
    return parse("".join(texts), key)
