"""The shell function that finds all processes of a command.

A process belongs to the command if one of these holds:

1. Its standard output or error is the file that gets the command's.
2. Its descriptor 9 is that file: a mark for processes that redirect both.
3. Its environment has the command's mark (`command_script.MARK`).
4. Its parent belongs to the command.

and if it was not started before the command's script: a machine without namespaces has hundreds of older processes.
A start time that is missing, or that a shell cannot compare, leaves no process out.

The scan is repeated until a round finds no other process, because processes may start meanwhile. To read an environment
takes a process, so processes that do not belong to the command are remembered. One without any environment may just be
replaced by another program, so it is looked at in another round.

A process is known by its pid and its start time: a scan may take seconds, and pids are reused. Who sends a signal
compares both again just before.
"""

from __future__ import annotations

from .command_script import MARK, files_of

# `read_stat PID` sets `parent` and `ticks`, the start time; it fails for a process that has ended. `find_all` sets
# `all` to the words PID:TICKS of the command's processes.
_FIND_ALL = """\
f={path}
since=0
{{ read -r line <$f.t;}} 2>/dev/null&&{{ set -- ${{line##*) }};since=${{20}};}}
read_stat() {{
  {{ read -r line <"/proc/$1/stat";}} 2>/dev/null||return 1
  set -- ${{line##*) }}
  parent=$2;ticks=${{20}}
  [ "$1" != Z ]
}}
is_of_command() {{
  case " $others " in *" $1:$ticks "*) return 1;; esac
  [ "/proc/$1/fd/1" -ef $f.1 ]&&return 0
  [ "/proc/$1/fd/2" -ef $f.2 ]&&return 0
  [ "/proc/$1/fd/9" -ef $f.2 ]&&return 0
  case "$(tr '\\0' '\\n' 2>/dev/null <"/proc/$1/environ")" in
    *{mark}={name}*) return 0;;
    ?*) others="$others $1:$ticks";;
    *) case " $bare " in *" $1:$ticks "*) ;; *) bare="$bare $1:$ticks";more=1;; esac;;
  esac
  return 1
}}
others=
find_all() {{
  all=;bare=;more=1
  while [ $more = 1 ];do
    more=0
    for d in /proc/[0-9]*;do
      pid=${{d#/proc/}}
      [ "$pid" = $$ ]&&continue
      read_stat "$pid"||continue
      [ "$ticks" -lt "$since" ] 2>/dev/null&&continue
      one="$pid:$ticks"
      case " $all " in *" $one "*) continue;; esac
      case " $all " in
        *" $parent:"*)
          of=$parent
          read_stat "$of"&&case " $all " in *" $of:$ticks "*) all="$all $one";more=1;continue;; esac
          read_stat "$pid"||continue;;
      esac
      if is_of_command "$pid";then all="$all $one";more=1;fi
    done
  done
}}
"""


def scan_functions(name: str) -> str:
    """Return the shell functions `read_stat` and `find_all` for a command, and `f`, the beginning of its files."""
    return _FIND_ALL.format(path=files_of(name), mark=MARK, name=name)
