"""Commands."""

from __future__ import annotations

import httpx

from ..check import Different, Group
from ..context import Context
from ..expect import an_object, refused, same, status, true
from ..shapes import EXEC

group = Group("exec")

_LARGE = 1_000_000


@group.contract("shape", "A command answers 200 with output and exit code.", "wire-contract 3.2")
def shape(bench: Context) -> None:
    answer = bench.exec("echo hello")
    status(answer, 200)
    an_object(answer, EXEC)


@group.contract("output", "The output is what the command printed, to the byte.", "wire-contract 3.2")
def output(bench: Context) -> None:
    same("output", bench.executed("printf 'a  b\\n\\nc'")["output"], "a  b\n\nc")


@group.contract("exit-0", "A command that succeeds has exit code 0 and no error.", "wire-contract 3.2")
def exit_0(bench: Context) -> None:
    result = bench.executed("true")
    same("exit_code", result["exit_code"], 0)
    true(not result.get("error"), "no error", repr(result.get("error")))


@group.contract("nonzero-exit-is-200", "A command that fails is a 200 with its exit code.", "wire-contract 3.2")
def nonzero_exit(bench: Context) -> None:
    answer = bench.exec("exit 3")
    status(answer, 200)
    same("exit_code", an_object(answer)["exit_code"], 3)


@group.contract("failure-is-no-error", "`error` is for commands that could not be started.", "wire-contract 3.2")
def failure_is_no_error(bench: Context) -> None:
    error = bench.executed("false").get("error")
    true(not error, "no error", repr(error))


@group.contract("shell", "Pipes, redirections and variables work.", "wire-contract 3.2")
def shell(bench: Context) -> None:
    command = "x=$(printf 'b\\na\\n' | sort | tr '\\n' ,); echo \"$x\" 2>/dev/null && (exit 1) || echo or"
    same("output", bench.executed(command)["output"], "a,b,\nor\n")


@group.contract("lines", "A command may have several lines.", "wire-contract 3.2")
def lines(bench: Context) -> None:
    same("output", bench.executed("echo one\necho two\n")["output"], "one\ntwo\n")


@group.contract("unicode", "Commands and output are Unicode.", "wire-contract 1.3")
def unicode(bench: Context) -> None:
    same("output", bench.executed("echo 'grüße 漢字 🙂'")["output"], "grüße 漢字 🙂\n")


@group.contract("empty", "An empty command is taken.", "wire-contract 3.2")
def empty(bench: Context) -> None:
    status(bench.exec(""), 200)


@group.contract("env", "The sandbox's variables are there.", "wire-contract 3.1")
def env(bench: Context) -> None:
    same("output", bench.executed("echo $CAGED_VERIFY")["output"], f"{bench.label}\n")


@group.contract("state", "Files outlive the command that made them.", "wire-contract 3.2")
def state(bench: Context) -> None:
    name = bench.name()
    bench.shell(f"echo here > {name}")
    same("output", bench.executed(f"cat {name}")["output"], "here\n")


@group.decision("merged", "stdout and stderr are one text, in the order written.", "Part A, Exec")
def merged(bench: Context) -> None:
    result = bench.executed("echo 1; echo 2 >&2; echo 3; echo 4 >&2")
    same("output", result["output"], "1\n2\n3\n4\n")


@group.decision("signal", "A command that dies of a signal has exit code 128 + n.", "Part A, Exec")
def signal(bench: Context) -> None:
    same("exit_code", bench.executed("kill -KILL $$")["exit_code"], 137)


@group.decision("not-found", "A program that does not exist is exit code 127.", "Part A, Exec")
def not_found(bench: Context) -> None:
    same("exit_code", bench.executed("caged-verify-none")["exit_code"], 127)


@group.decision("cwd", "A command begins in /workspace.", "Part A, Exec")
def cwd(bench: Context) -> None:
    same("output", bench.executed("pwd")["output"], "/workspace\n")


@group.decision("fresh-shell", "Every command has a shell of its own.", "Part A, Exec")
def fresh_shell(bench: Context) -> None:
    bench.shell("cd /tmp; CAGED_VERIFY_VARIABLE=1; export CAGED_VERIFY_VARIABLE")
    same("output", bench.executed('echo "$PWD$CAGED_VERIFY_VARIABLE"')["output"], "/workspace\n")


_VARIABLES = {"HOME": "/root", "USER": "root", "TERM": "dumb", "TMPDIR": "/tmp"}


@group.decision("variables", "HOME, USER, TERM, TMPDIR and CAGED_SANDBOX_ID are set.", "Part A, Exec")
def variables(bench: Context) -> None:
    names = [*_VARIABLES, "CAGED_SANDBOX_ID"]
    command = "; ".join(f'echo "${name}"' for name in names)
    same("output", bench.executed(command)["output"].splitlines(), [*_VARIABLES.values(), bench.box])


@group.decision("stdin", "stdin is empty.", "Part A, Exec")
def stdin(bench: Context) -> None:
    same("output", bench.executed("cat; echo end")["output"], "end\n")


@group.decision("background", "The answer does not wait for children in the background.", "Part A, Exec")
def background(bench: Context) -> None:
    name = bench.name()
    try:
        with bench.patience.aside(min(15.0, bench.patience.limit)):
            result = bench.executed(f"sleep 60 & echo $! > {name}; echo started")
    except (httpx.TimeoutException, Different) as error:
        raise Different("an answer while a child sleeps for 60 s", error) from None
    same("output", result["output"], "started\n")
    same("the child", bench.executed(f"kill $(cat {name}) && echo lived")["output"], "lived\n")


@group.decision("bad-utf8", "Output that is no UTF-8 is replaced, not refused.", "Part A, Exec")
def bad_utf8(bench: Context) -> None:
    same("output", bench.executed("printf 'a\\377b'")["output"], "a\ufffdb")


@group.decision("large", "A megabyte of output arrives whole.", "Part A, Exec")
def large(bench: Context) -> None:
    result = bench.executed(f"head -c {_LARGE} /dev/zero | tr '\\0' x")
    true(result["output"] == "x" * _LARGE, f"{_LARGE} characters", f"{len(result['output'])} characters")


@group.contract("not-get", "A command is a POST; a GET of it does not run one.", "wire-contract 3.2")
def not_get(bench: Context) -> None:
    refused(bench.get(f"/sandboxes/{bench.box}/exec"), 404, 405)
