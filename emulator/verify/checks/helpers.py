"""What the SDK's helpers rely on: a shell, programs and files of a sandbox, and sizes of requests and answers.

The helpers (`caged/_workspace`) work over `exec` and files of the API. The checks before `run` are made with calls of
the API alone, so that one that is different says why a helper fails; the others call the helpers.
"""

from __future__ import annotations

import base64
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from caged import BoundSandbox, Caged, CagedCommandTimeoutError, CagedError, CagedFileNotFoundError
from caged._workspace.command_script import LONGEST_SCRIPT, MARK
from caged._workspace.pieces import PIECE
from caged._workspace.scratch import MAKE_SCRATCH, SCRATCH

from ..assertions import assert_contains, assert_equal, assert_status, assert_success, assert_true, read_object
from ..check import Group
from ..context import Context
from ..errors import Mismatch
from ..raw_client import path_segment
from .snapshots import create_shared_snapshot

group = Group("helpers")

_SOURCE = "Part A, Helpers"
_PROGRAMS = (
    "base64 cat chmod chown cp dd head id kill ln ls mkdir mkfifo mv printf pwd readlink rm rmdir sh sleep stat"
    " tail tar touch tr wc"
)
#: Base64 of a piece; JSON's quotes come with it.
_LARGE = 4 * ((PIECE + 2) // 3)
_LONG_SCRIPT = LONGEST_SCRIPT


def _output(context: Context, script: str) -> str:
    """The output of a script that must succeed."""
    result = context.exec_result(script)
    assert_equal("exit_code", result["exit_code"], 0)
    return str(result["output"])


@group.decision("shell", "A script has functions, subshells, traps and further file descriptors.", _SOURCE)
def shell(context: Context) -> None:
    script = (
        "put(){ printf '%s,' \"$1\";}\n"
        "f=a.b.c;put ${f%%.*};put ${f##*.};set -- one 'two three';for x;do put \"$x\";done\n"
        "(eval 'echo nine >&9;exit 7') 9>&1\n"
        'put $?;trap : TERM;kill -TERM $$;put trapped;case abc in *[b]*) put case;; esac;echo "$((6*7))"\n'
        "trap 'echo end' EXIT;exit 7"
    )
    result = context.exec_result(script)
    assert_equal("output", result["output"], "a,c,one,two three,nine\n7,trapped,case,42\nend\n")
    assert_equal("exit_code", result["exit_code"], 7)


@group.decision("programs", "sh, base64, tar and the coreutils that the helpers call are on PATH.", _SOURCE)
def programs(context: Context) -> None:
    script = f"for p in {_PROGRAMS};do command -v $p >/dev/null||echo $p;done;echo missing"
    assert_equal("programs that are", _output(context, script), "missing\n")


@group.decision("options", "These programs have the options that the helpers use.", _SOURCE)
def options(context: Context) -> None:
    name = context.unique_name()
    script = (
        f"mkdir -p {name}/d&&cd {name}&&printf 0123456789 >f&&chmod 640 f&&touch -d @1000000000 f&&ln -s f l&&"
        "head -c 3 f&&tail -c 2 f&&dd if=f bs=2 skip=2 count=1 2>/dev/null&&stat -L -c ' %s %a %Y' l&&"
        'readlink f l;[ "$(readlink -f -- l)" = "$PWD/f" ]&&mv -f -- f d&&rm -rf -- d&&echo gone&&'
        "printf 'x\\0y'|tr '\\0' '\\n'"
    )
    assert_equal("output", _output(context, script), "0128945 10 640 1000000000\nf\ngone\nx\ny")


@group.decision("base64", "base64 encodes and decodes any bytes.", _SOURCE)
def base64_bytes(context: Context) -> None:
    encoded = base64.b64encode(bytes(range(256))).decode()
    output = _output(context, f"printf %s {encoded}|base64 -d|base64")
    assert_equal("bytes", "".join(output.split()), encoded)


@group.decision("copies", "cp keeps modes and links, and lines of a file are counted and cut.", _SOURCE)
def copies(context: Context) -> None:
    name = context.unique_name()
    script = (
        f"mkdir -p -m 750 {name}/d&&cd {name}&&printf 'one\\ntwo\\nthree\\n' >d/f&&chmod 604 d/f&&ln -s f d/l&&"
        "cp -a d e&&cp -p d/f g&&stat -c '%n %s %a' e/f g&&stat -c '%f' e/f|tr a-f A-F&&readlink e/l&&"
        "wc -l <g|tr -d ' '&&tail -n +2 g|head -n 1&&rm -r e&&rmdir e 2>/dev/null||echo copied"
    )
    assert_equal("output", _output(context, script), "e/f 14 604\ng 14 604\n8184\nf\n3\ntwo\ncopied\n")


@group.decision("reasons", "With LC_ALL=C, a program's message ends with the operating system's reason.", _SOURCE)
def reasons(context: Context) -> None:
    name = context.unique_name()
    script = (
        f"LC_ALL=C;export LC_ALL;mkdir {name};for c in 'cat {name}/no' 'rmdir {name}/no' 'mv {name}/no {name}/to';do\n"
        'e=$($c 2>&1 >/dev/null);printf "%s\\n" "${e##*: }";done'
    )
    assert_equal("reasons", _output(context, script), "No such file or directory\n" * 3)


@group.decision("tar", "tar packs a directory with modes and links, and unpacks it elsewhere.", _SOURCE)
def tar(context: Context) -> None:
    name = context.unique_name()
    script = (
        f"mkdir -p {name}/from/d {name}/to&&cd {name}&&echo text >from/d/x&&chmod 751 from/d/x&&ln -s d/x from/l&&"
        "mkdir to/d&&(cd from&&tar -cf - --no-recursion -- d d/x l)|tar -xopf - -C to&&"
        "cat to/l&&stat -c %a to/d/x&&readlink to/l"
    )
    assert_equal("output", _output(context, script), "text\n751\nd/x\n")


@group.decision("scratch", f"A command may make a directory of its own in /tmp ({SCRATCH}), which stays.", _SOURCE)
def scratch(context: Context) -> None:
    name = f"{SCRATCH}/{context.unique_name()}"
    _output(context, f"{MAKE_SCRATCH}echo kept >{name}")
    assert_equal("the file", _output(context, f"[ -O {SCRATCH} ]&&cat {name}&&rm {name}"), "kept\n")


@group.decision("scratch-write", "A file that the API writes into that directory is one that commands read.", _SOURCE)
def scratch_write(context: Context) -> None:
    name = f"{SCRATCH}/{context.unique_name()}"
    _output(context, MAKE_SCRATCH)
    context.require_success(context.write(name, "by the API"), "writing a file")
    assert_equal(
        "the file", _output(context, f"cat {name}&&rm {name}&&echo ' and removed'"), "by the API and removed\n"
    )


@group.decision("large-write", f"A request of {_LARGE >> 20} MiB writes a file.", _SOURCE)
def large_write(context: Context) -> None:
    name = f"{SCRATCH}/{context.unique_name()}"
    _output(context, MAKE_SCRATCH)
    answer = context.write(name, "x" * _LARGE)
    assert_true(answer.status_code < 300, "a written file", f"HTTP {answer.status_code}")
    assert_equal("its size", _output(context, f"wc -c <{name};rm {name}").split(), [str(_LARGE)])


@group.decision("large-output", f"{_LARGE >> 20} MiB of a command's output are returned completely.", _SOURCE)
def large_output(context: Context) -> None:
    output = _output(context, f"head -c {_LARGE} /dev/zero|tr '\\0' y")
    assert_true(output == "y" * _LARGE, f"{_LARGE} characters", f"{len(output)} characters")


@group.decision("long-command", f"A command of {_LONG_SCRIPT} characters is run.", _SOURCE)
def long_command(context: Context) -> None:
    text = "z" * _LONG_SCRIPT
    assert_equal("the size", _output(context, f"printf %s {text}|wc -c").split(), [str(_LONG_SCRIPT)])


@group.decision("proc", "A command sees processes, their variables and files in /proc, and can end them.", _SOURCE)
def proc(context: Context) -> None:
    script = (
        f"{MARK}=verify sleep 60 >/dev/null 2>&1 &\n"
        # Until then it is a copy of the shell, which has other variables.
        f'pid=$!;n=0;marked(){{ tr "\\0" "\\n" <"/proc/$pid/environ"|while read -r line;do\n'
        f'[ "$line" = {MARK}=verify ]&&echo marked;done;}}\n'
        'until [ -n "$(marked)" ]||[ $n = 50 ];do sleep 0.1;n=$((n+1));done;marked\n'
        '{ read -r line <"/proc/$pid/stat";}&&set -- ${line##*) }&&[ "${20}" -gt 0 ]&&echo started\n'
        '[ "/proc/$pid/fd/1" -ef /dev/null ]&&echo opened\n'
        "kill -9 $pid;{ wait $pid;} 2>/dev/null;echo $?"
    )
    assert_equal("output", _output(context, script).splitlines(), ["marked", "started", "opened", "137"])


@group.decision("second-command", "A command runs while the client does not wait for another one any more.", _SOURCE)
def second_command(context: Context) -> None:
    name = context.unique_name()
    try:
        with context.time_budget.extra_time(min(1.0, context.time_budget.limit)):
            context.exec(f"echo $$ >{name};exec sleep 60")
    except (httpx.TimeoutException, Mismatch):
        pass
    script = (
        f"n=0;until [ -s {name} ]||[ $n = 50 ];do sleep 0.1;n=$((n+1));done;read -r pid <{name}\n"
        'kill -9 "$pid" 2>/dev/null&&echo ended||{ [ -n "$pid" ]&&echo ended before;}'
    )
    output = _output(context, script)
    assert_true(output.startswith("ended"), "the process of the first command", repr(output))


@group.decision("user", "su runs a command as another user, or fails and says why.", _SOURCE)
def user(context: Context) -> None:
    result = context.exec_result("exec su -s /bin/sh -c 'id -un;echo as user' -- daemon")
    if result["exit_code"] == 0:
        assert_equal("output", result["output"], "daemon\nas user\n")
    else:
        assert_true("as user" not in result["output"] and result["output"].strip(), "a reason", repr(result["output"]))


@group.decision("restore-elsewhere", "A snapshot can be restored into another sandbox of the account.", _SOURCE)
def restore_elsewhere(context: Context) -> None:
    snapshot_id = str(create_shared_snapshot(context).json()["id"])
    context.wait_for_snapshot(snapshot_id)
    other = context.second_sandbox_id
    assert_success(context.post(f"/snapshots/{path_segment(snapshot_id)}/restore", json={"target_sandbox_id": other}))
    result = context.exec_result("cat in-the-snapshot;echo elsewhere", other)
    assert_equal("output", result["output"], "then\nelsewhere\n")


@group.decision("create-error", "After a failed init_script the status is error, and the log has the reason.", _SOURCE)
def create_error(context: Context) -> None:
    word = context.unique_name()
    answer = context.create(init_script=f"echo {word}; exit 3", memory_mb=256)
    assert_status(answer, 201)
    sandbox = read_object(answer)
    assert_equal("status", sandbox["status"], "error")
    path = f"/sandboxes/{path_segment(str(sandbox['id']))}"
    log = context.get(f"{path}/logs", params={"tail": 10}).text
    assert_success(context.delete(path))
    assert_contains("the log", log, word)


# --- the helpers themselves


@contextmanager
def _box(context: Context) -> Iterator[BoundSandbox]:
    sandbox_id = context.sandbox_id
    with Caged(context.client.api_key, context.client.base_url, timeout=context.time_budget.remaining()) as client:
        try:
            yield client.sandboxes.bind(sandbox_id)
        except CagedError as error:
            raise Mismatch("no error", f"{type(error).__name__}: {error}") from error


@group.decision(
    "run", "run() has exact streams, input, directory, variables, exit code; no wait for children.", _SOURCE
)
def run(context: Context) -> None:
    # The process in the background has the descriptor to which bash prints the result.
    script = 'cat; printf "\\377"; pwd >&2; echo "$WORD" >&2; sleep 60 & exit 5'
    with _box(context) as box:
        result = box.run(script, cwd="/usr", env={"WORD": "a 'b'"}, stdin=b"\x00run\n")
    assert_equal("stdout", result.stdout_bytes, b"\x00run\n\xff")
    assert_equal("stderr", result.stderr, "/usr\na 'b'\n")
    assert_equal("exit_code", result.exit_code, 5)


@group.decision("run-timeout", "The time limit of run() ends the command and its children.", _SOURCE)
def run_timeout(context: Context) -> None:
    name = context.unique_name()
    with _box(context) as box:
        try:
            box.run(f"sleep 60 & echo $! >{name}; echo begun; wait", timeout=1)
        except CagedCommandTimeoutError as error:
            assert_equal("output until then", error.stdout, "begun\n")
        else:
            raise Mismatch("CagedCommandTimeoutError", "no error")
    script = f"read -r pid <{name};kill -0 $pid 2>/dev/null&&echo child lives||echo child ended"
    assert_equal("the child", _output(context, script), "child ended\n")


@group.decision("transfer", "upload() and download() keep names, bytes, modes and links.", _SOURCE)
def transfer(context: Context) -> None:
    remote = f"/workspace/{context.unique_name()}"
    with tempfile.TemporaryDirectory(prefix="caged-verify-") as local, _box(context) as box:
        source, target = Path(local) / "source", Path(local) / "target"
        (source / "a folder").mkdir(parents=True)
        (source / "a folder" / "new\nline").write_bytes(b"\xffbytes")
        (source / "a folder" / "new\nline").chmod(0o751)
        (source / "link").symlink_to("a folder/new\nline")
        box.upload(source, remote)
        box.download(remote, target)
        found = target / "a folder" / "new\nline"
        assert_equal("bytes", found.read_bytes(), b"\xffbytes")
        assert_equal("mode", oct(found.stat().st_mode & 0o777), "0o751")
        assert_true((target / "link").is_symlink(), "a link", "another file")
    _output(context, f"rm -rf {shlex.quote(remote)};echo transferred")


@group.decision("process", "A background command's output and exit code are there after its end.", _SOURCE)
def process(context: Context) -> None:
    with _box(context) as box:
        started = box.start("read -r line; echo got $line; echo err >&2; exit 7", stdin="input")
        assert_equal("exit code", started.wait(timeout=10), 7)
        output = box.process(started.pid).output()
        assert_equal("output", [output.stdout, output.stderr], ["got input\n", "err\n"])
        endless = box.start("sleep 60 & wait")
        assert_equal("exit code of one that runs", endless.poll(), None)
        endless.kill()
        assert_equal("exit code of one that was killed", endless.wait(timeout=10), 137)


@group.decision("paths", "Files can be written, copied, moved, listed and removed; errors have their class.", _SOURCE)
def paths(context: Context) -> None:
    name = f"/workspace/{context.unique_name()}"
    with _box(context) as box:
        box.write(f"{name}/a\nb", b"\xffof paths")
        box.copy(f"{name}/a\nb", f"{name}/copy")
        box.move(f"{name}/copy", f"{name}/moved")
        assert_equal("content", box.read_bytes(f"{name}/moved"), b"\xffof paths")
        assert_equal("size", box.stat(f"{name}/moved").size, 9)
        assert_equal("names", sorted(entry.path for entry in box.list(name)), [f"{name}/a\nb", f"{name}/moved"])
        box.remove(name, recursive=True)
        try:
            box.read_bytes(f"{name}/moved")
        except CagedFileNotFoundError:
            return
    raise Mismatch("CagedFileNotFoundError", "no error")
