"""Ending all processes of a command that takes too long."""

from __future__ import annotations

from .._core import Plan
from .._errors import CagedError
from .binding import MAKE_SCRATCH, Binding, decoded
from .command_script import MARK, files_of

#: Bytes of each stream that the error of a command that took too long has.
_KEPT = 256 * 1024
_TIMEOUT = 30.0
# A process is the command's if it has its mark or its descriptor 9, if its output is the command's, or if its parent is
# one. Those that start while one looks are found in the next round; it ends when a round finds none, or after 50 of
# them. The file `.x` keeps a command from starting that arrives later than this.
_SCRIPT = """\
f={path};{make_scratch}>$f.x
found() {{
  case " $all " in *" $1 "*) return 1;; esac
  case " $all " in *" $2 "*) return 0;; esac
  [ "/proc/$1/fd/1" -ef $f.1 ]&&return 0
  [ "/proc/$1/fd/2" -ef $f.2 ]&&return 0
  [ "/proc/$1/fd/9" -ef $f.2 ]&&return 0
  case "$(tr '\\0' '\\n' 2>/dev/null <"/proc/$1/environ")" in *{mark}={name}*) return 0;; esac
  return 1
}}
round=0
while [ $round -lt 50 ];do
  round=$((round+1));all=none;more=1
  while [ $more = 1 ];do
    more=0
    for d in /proc/[0-9]*;do
      pid=${{d#/proc/}}
      [ "$pid" = $$ ]&&continue
      {{ read -r line <"$d/stat";}} 2>/dev/null||continue
      line=${{line##*) }};state=${{line%% *}};line=${{line#* }}
      [ "$state" = Z ]&&continue
      if found "$pid" "${{line%% *}}";then all="$all $pid";more=1;fi
    done
  done
  ended=0
  for pid in $all;do
    [ "$pid" = none ]||{{ kill -9 "$pid" 2>/dev/null&&ended=1;}}
  done
  [ $ended = 0 ]&&break
done
tail -c {kept} $f.1 2>/dev/null|base64;echo @;tail -c {kept} $f.2 2>/dev/null|base64
rm -f $f.[0-9c]
"""


def end_processes(binding: Binding, name: str) -> Plan[tuple[bytes, bytes]]:
    """End every process of a command. Returns the end of what it printed on stdout and stderr.

    Raises:
        CagedError: They may still run; the message says why they could not be ended.
    """
    script = _SCRIPT.format(path=files_of(name), mark=MARK, name=name, kept=_KEPT, make_scratch=MAKE_SCRATCH)
    try:
        output = yield from binding.execute("end a command", script, _TIMEOUT)
    except CagedError as problem:
        raise CagedError(f"the command took too long, and its processes could not be ended: {problem}") from None
    binding.finished.append(name)
    stdout, _, stderr = output.partition("@")
    return decoded(binding, stdout), decoded(binding, stderr)
