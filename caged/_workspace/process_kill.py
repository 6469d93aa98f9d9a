"""Signals to all processes of a command, and their end when it takes too long."""

from __future__ import annotations

from contextlib import suppress

from .._core import CallPlan
from .._errors import CagedError
from .binding import Binding, decode_base64
from .command_script import files_of
from .process_scan import scan_functions
from .scratch import MAKE_SCRATCH

#: Bytes of each stream that the error of a command that took too long has.
_KEPT = 256 * 1024
_TIMEOUT = 30.0
_SIGKILL = 9

# `send NUMBER` sends a signal to the processes that `find_all` has found, and fails if none was left to get it.
_SEND = """\
send() {
  sent=1
  for one in $all;do
    pid=${one%:*}
    read_stat "$pid"&&[ "$one" = "$pid:$ticks" ]&&kill "-$1" "$pid" 2>/dev/null&&sent=0
  done
  return $sent
}
"""
# SIGKILL, until two rounds have found no process, or 50 rounds are over.
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


def end_processes(binding: Binding, name: str) -> CallPlan[tuple[bytes, bytes]]:
    """End every process of a command. Returns the end of what it printed on stdout and stderr.

    Raises:
        CagedError: They may still run; the message says why they could not be ended.
    """
    # The file `.x` keeps a command from starting that arrives later than this.
    script = f"{MAKE_SCRATCH}>{files_of(name)}.x\n{scan_functions(name)}{_SEND}{_KILL}{_PRINT.format(kept=_KEPT)}"
    try:
        output = yield from binding.execute("end a command", script, _TIMEOUT)
    except CagedError as problem:
        raise CagedError(f"its processes could not be ended: {problem}") from None
    stdout, _, stderr = output.partition("@")
    return decode_base64(binding, stdout), decode_base64(binding, stderr)


def send_signal(binding: Binding, name: str, number: int) -> CallPlan[None]:
    """Send a signal to every process of a command; SIGKILL until none is left."""
    send = _KILL if number == _SIGKILL else _SIGNAL.format(number=number)
    yield from binding.execute(f"send signal {number}", scan_functions(name) + _SEND + send, _TIMEOUT)


def end_lost_start(binding: Binding, name: str) -> CallPlan[None]:
    """End every process of a command whose start was not answered, and remove its files; nothing where that fails."""
    # The file `.x` keeps a command from starting that arrives later than this.
    script = f"{MAKE_SCRATCH}>{files_of(name)}.x\n{scan_functions(name)}{_SEND}{_KILL}rm -f $f.[!x]\n"
    with suppress(CagedError):
        yield from binding.execute("end a command", script, _TIMEOUT)
        binding.finished.append(name)


def removal_of_processes(name: str) -> str:
    """Shell that ends every process of a command that was being started, and removes its files."""
    return f"({scan_functions(name)}{_SEND}{_KILL}rm -f $f.*)"
