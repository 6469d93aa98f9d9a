"""The scripts of background processes: shell text, without I/O.

A process has files beside those of a command (`command_script`):

- `.l`: the command, base64.
- `.p`: `@started`, then two pairs of numbers: of the process and of its supervisor, the pid and the time at which it
  was started, in ticks since boot. Together they name a process for as long as the machine is up. Then the id of the
  sandbox: a snapshot has these files, and may be restored into another one.
- `.x`: the exit code. Without it, a process that has ended was lost.

The processes in the sandbox, each the child of the one before:

    script          waits for the helper
      helper        is killed as soon as the command runs, so that the script ends
        supervisor  waits for the command, and writes its exit code
          command

The supervisor is not started with `&`: a shell without job control lets such a process and all its children ignore
SIGINT, for ever. It begins a session, where there is a program for that, so that the command may send signals to its
whole process group. They do not end the supervisor, which has handlers; its children get the default again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from .command_script import SHELL, CommandSpec, StandardInput, body, exec_shell, files_of, note_start
from .scratch import MAKE_SCRATCH, SCRATCH
from .script_header import USUAL_OPTIONS
from .shell_quoting import quote

#: Bytes that a piece of output begins at a multiple of, and most of them that come at once.
BLOCK = 4096
_BLOCKS = 256

_SIGNALS = "HUP INT QUIT TERM USR1 USR2 ALRM PIPE"
# `find_ticks PID` sets `caged_ticks` to the time at which a process was started, "" if it does not run. A command could
# see shorter names of variables if its environment has them.
_FIND_TICKS = """\
find_ticks(){
  caged_ticks=;{ read -r caged_stat <"/proc/$1/stat";} 2>/dev/null||return 0
  set -- ${caged_stat##*) };[ "$1" = Z ]||caged_ticks=${20}
}
"""
# `find_state PATH` sets `state`. A supervisor that still runs after its command is about to write the exit code.
_FUNCTIONS = (
    _FIND_TICKS
    + """\
runs(){ find_ticks "$1";[ -n "$caged_ticks" ]&&[ "$caged_ticks" = "$2" ];}
find_state(){
  f=$1;state=lost;code=;pid=;start=
  { read -r _ pid start super since owner <$f.p;} 2>/dev/null||return 0
  if [ ! -s $f.x ];then
    runs "$pid" "$start"&&{ state=running;return 0;}
    k=0
    while [ ! -s $f.x ]&&runs "$super" "$since";do
      [ $k = 100 ]&&{ state=running;return 0;}
      k=$((k+1));sleep 0.01
    done
  fi
  if [ -s $f.x ];then state=exited;read -r code <$f.x;fi
}
show_state(){ echo "@$state ${pid:-0} ${start:-0} ${code:-0}";}
n=0
pause(){ n=$((n+1));if [ $n -lt 20 ];then sleep 0.02;else sleep 0.1;fi;}
"""
)


def start_script(
    spec: CommandSpec, name: str, stdin: StandardInput, long: bool, encoded: Optional[str], sandbox: str
) -> str:
    """Start a process. Prints the line of `.p`, or why there is none.

    Args:
        encoded: The command, base64; None if it is in its file.
        sandbox: The sandbox's id, as one word.
    """
    path = files_of(name)
    file = f"{path}.c" if long else None
    # The time at which the process was started is among the rest.
    line = (
        "read -r CAGED_SDK_STAT </proc/self/stat;"
        'echo "@started ${CAGED_SDK_STAT%% *} ${CAGED_SDK_STAT##*) }" >&9;unset CAGED_SDK_STAT;exec 9>&2;'
    )
    command = body(spec, name, file, line, exec_shell(spec, file))
    keep_command = f"echo {encoded} >{path}.l||exit 1\n" if encoded is not None else ""
    supervisor = [
        f"{USUAL_OPTIONS}\n{_FIND_TICKS}trap : {_SIGNALS}",
        "read -r caged_super _ </proc/self/stat",
        "find_ticks $caged_super;caged_since=$caged_ticks;caged_helper=$1;shift",
        f"(trap '' {_SIGNALS};mark=;read -r mark pid rest <{path}.f;set -- $rest",
        f'case $mark in @started) mark="$mark $pid ${{20}} $caged_super $caged_since {sandbox}";; esac',
        f'echo "$mark" >{path}.p;kill -9 $caged_helper) &',
        f"({command}) 9>{path}.f {stdin.redirection} >>{path}.1 2>>{path}.2",
        "caged_code=$?",
        "wait",
        f"echo $caged_code >{path}.x",
    ]
    # From a file: the command line of the supervisor does not hold the command, by which programs look for processes.
    lines = [
        f"{MAKE_SCRATCH}[ ! -e {path}.x ]||exit 1\n{stdin.preparation}{keep_command}>{path}.1 2>{path}.2||exit 1",
        f"{{ {note_start(name)};}} 2>/dev/null",
        f"printf %s {quote(chr(10).join(supervisor))} >{path}.s||exit 1",
        f"mkfifo {path}.f||exit 1",
        "exec 2>/dev/null",
        "(read -r caged_helper _ </proc/self/stat;command -v setsid >/dev/null&&caged_setsid=setsid||caged_setsid=",
        f'$caged_setsid {SHELL} {path}.s $caged_helper "$1" </dev/null >/dev/null 2>&1;:)',
        "exec 2>&1",
        f"rm -f {path}.f {path}.c {path}.0 {path}.s",
        f"read -r line <{path}.p||{{ echo 'the process, or what watches it, was killed as it was started';exit 1;}}",
        'echo "$line"',
        f"case $line in @started*) ;; *) head -c 2000 {path}.2|base64;rm -f {path}.*;; esac",
    ]
    return "\n".join(lines)


def list_script(sandbox: str) -> str:
    """Print the state of every process of a sandbox: a line, one with its name, and the lines of its command.

    A process whose files are removed meanwhile, or are not complete, does not keep the others from being listed.

    Args:
        sandbox: As in `start_script`. Those of another one came with a snapshot of it.
    """
    return (
        f'{_FUNCTIONS}for p in {SCRATCH}/*.p;do [ -s "$p" ]||continue\n'
        f'owner=;find_state "${{p%.p}}";case $owner in ""|"{sandbox}") ;; *) continue;; esac\n'
        'show_state;echo "${f##*/}";cat $f.l 2>/dev/null;done;:\n'
    )


def wait_script(name: str, rounds: int) -> str:
    """Print the state of a process when it has ended, or after some rounds of up to 0.1 s."""
    return (
        f"{_FUNCTIONS}while :;do find_state {files_of(name)}\n"
        f"[ $state = running ]&&[ $n -lt {rounds} ]||break;pause;done;show_state\n"
    )


def output_script(name: str, stdout: int, stderr: int, rounds: int) -> str:
    """Print the state, and what a process has written after so many bytes of each stream.

    It waits some rounds while there is nothing and the process runs. A piece begins at a multiple of `BLOCK`; a stream
    that has not more gives none.
    """
    path = files_of(name)
    return (
        f"{_FUNCTIONS}while :;do find_state {path}\n"
        f"one=$({{ wc -c <{path}.1;}} 2>/dev/null)||one=0;two=$({{ wc -c <{path}.2;}} 2>/dev/null)||two=0\n"
        f"[ $one -le {stdout} ]&&[ $two -le {stderr} ]&&[ $state = running ]&&[ $n -lt {rounds} ]||break;pause;done\n"
        f"show_state\n[ $one -le {stdout} ]||{_piece(f'{path}.1', stdout)}\n"
        f"echo @\n[ $two -le {stderr} ]||{_piece(f'{path}.2', stderr)}\n"
    )


def _piece(path: str, offset: int) -> str:
    return f"dd if={path} bs={BLOCK} skip={offset // BLOCK} count={_BLOCKS} 2>/dev/null|base64"


@dataclass(frozen=True)
class State:
    """The state of a process.

    Attributes:
        status: ``running``, ``exited`` or ``lost``.
        started: In ticks since boot.
        exit_code: None unless it has exited.
    """

    status: str
    pid: int
    started: int
    exit_code: Optional[int]


def parsed_state(words: Sequence[str]) -> State:
    """Parse the words of a line that `show_state` printed.

    Raises:
        ValueError: It is something else.
    """
    if len(words) != 4:
        raise ValueError(words)
    status = words[0].partition("@")[2]
    return State(status, int(words[1]), int(words[2]), int(words[3]) if status == "exited" else None)
