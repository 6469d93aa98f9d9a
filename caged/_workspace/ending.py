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
# one. Those that start while one looks are found in the next round. Others are remembered: to read their environment
# takes a process each. One that is just being replaced by another program has no environment, and is looked at again.
# To look may take seconds, in which numbers are given to new processes. So a process is its number and the time at
# which it was started, and both are compared again before a signal is sent. What was started before the script of the
# command is not its own: a machine without namespaces has hundreds of those. A number that a shell cannot compare, or
# none, leaves nothing out.
_FIND = """\
f={path}
since=0
{{ read -r line <$f.t;}} 2>/dev/null&&{{ set -- ${{line##*) }};since=${{20}};}}
look_at() {{
  {{ read -r line <"/proc/$1/stat";}} 2>/dev/null||return 1
  set -- ${{line##*) }}
  parent=$2;ticks=${{20}}
  [ "$1" != Z ]
}}
found() {{
  case " $others " in *" $1:$ticks "*) return 1;; esac
  [ "/proc/$1/fd/1" -ef $f.1 ]&&return 0
  [ "/proc/$1/fd/2" -ef $f.2 ]&&return 0
  [ "/proc/$1/fd/9" -ef $f.2 ]&&return 0
  case "$(tr '\\0' '\\n' 2>/dev/null <"/proc/$1/environ")" in
    *{mark}={name}*) return 0;;
    ?*) others="$others $1:$ticks";;
  esac
  return 1
}}
others=
find_all() {{
  all=;more=1
  while [ $more = 1 ];do
    more=0
    for d in /proc/[0-9]*;do
      pid=${{d#/proc/}}
      [ "$pid" = $$ ]&&continue
      look_at "$pid"||continue
      [ "$ticks" -lt "$since" ] 2>/dev/null&&continue
      one="$pid:$ticks"
      case " $all " in *" $one "*) continue;; esac
      case " $all " in
        *" $parent:"*)
          of=$parent
          look_at "$of"&&case " $all " in *" $of:$ticks "*) all="$all $one";more=1;continue;; esac
          look_at "$pid"||continue;;
      esac
      if found "$pid";then all="$all $one";more=1;fi
    done
  done
}}
# Sends a signal to what was found, and fails if there was nothing.
send() {{
  sent=1
  for one in $all;do
    pid=${{one%:*}}
    look_at "$pid"&&[ "$one" = "$pid:$ticks" ]&&kill "-$1" "$pid" 2>/dev/null&&sent=0
  done
  return $sent
}}
"""
# It ends when two rounds have found none, or after 50 of them.
_KILL = """\
round=0;quiet=0
while [ $round -lt 50 ]&&[ $quiet -lt 2 ];do
  round=$((round+1));quiet=$((quiet+1))
  find_all
  send 9&&quiet=0
done
:
"""
_SIGNAL = """\
find_all
send {number}
:
"""
_PRINT = """\
tail -c {kept} $f.1 2>/dev/null|base64;echo @;tail -c {kept} $f.2 2>/dev/null|base64
rm -f $f.[0-9ct]
"""


def end_processes(binding: Binding, name: str) -> Plan[tuple[bytes, bytes]]:
    """End every process of a command. Returns the end of what it printed on stdout and stderr.

    Raises:
        CagedError: They may still run; the message says why they could not be ended.
    """
    # The file `.x` keeps a command from starting that arrives later than this.
    script = f"{MAKE_SCRATCH}>{files_of(name)}.x\n{_find(name)}{_KILL}{_PRINT.format(kept=_KEPT)}"
    try:
        output = yield from binding.execute("end a command", script, _TIMEOUT)
    except CagedError as problem:
        raise CagedError(f"the command took too long, and its processes could not be ended: {problem}") from None
    stdout, _, stderr = output.partition("@")
    return decoded(binding, stdout), decoded(binding, stderr)


def send_signal(binding: Binding, name: str, number: int) -> Plan[None]:
    """Send a signal to every process of a command; SIGKILL until none is left."""
    send = _KILL if number == _SIGKILL else _SIGNAL.format(number=number)
    yield from binding.execute(f"send signal {number}", _find(name) + send, _TIMEOUT)


def removal_of_processes(name: str) -> str:
    """Shell that ends every process of a command that was being started, and removes its files."""
    return f"({_find(name)}{_KILL}rm -f $f.*)"


def _find(name: str) -> str:
    return _FIND.format(path=files_of(name), mark=MARK, name=name)


_SIGKILL = 9
