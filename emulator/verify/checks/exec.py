"""Commands in a sandbox."""

from __future__ import annotations

import httpx

from ..assertions import assert_equal, assert_error, assert_status, assert_true, read_object
from ..check import Group
from ..context import Context
from ..errors import Mismatch
from ..shapes import EXEC

group = Group("exec")

_LARGE = 1_000_000


@group.contract("shape", "A command returns 200 with output and exit code.", "wire-contract 3.2")
def shape(context: Context) -> None:
    answer = context.exec("echo hello")
    assert_status(answer, 200)
    read_object(answer, EXEC)


@group.contract("output", "The output is exactly what the command printed.", "wire-contract 3.2")
def output(context: Context) -> None:
    assert_equal("output", context.exec_result("printf 'a  b\\n\\nc'")["output"], "a  b\n\nc")


@group.contract("exit-0", "A command that succeeds has exit code 0 and no error.", "wire-contract 3.2")
def exit_0(context: Context) -> None:
    result = context.exec_result("true")
    assert_equal("exit_code", result["exit_code"], 0)
    assert_true(not result.get("error"), "no error", repr(result.get("error")))


@group.contract("nonzero-exit-is-200", "A command that fails returns 200 with its exit code.", "wire-contract 3.2")
def nonzero_exit(context: Context) -> None:
    answer = context.exec("exit 3")
    assert_status(answer, 200)
    assert_equal("exit_code", read_object(answer)["exit_code"], 3)


@group.contract(
    "failure-is-no-error", "`error` is set only for commands that could not be started.", "wire-contract 3.2"
)
def failure_is_not_an_error(context: Context) -> None:
    error = context.exec_result("false").get("error")
    assert_true(not error, "no error", repr(error))


@group.contract("shell", "Pipes, redirections and variables work.", "wire-contract 3.2")
def shell(context: Context) -> None:
    command = "x=$(printf 'b\\na\\n' | sort | tr '\\n' ,); echo \"$x\" 2>/dev/null && (exit 1) || echo or"
    assert_equal("output", context.exec_result(command)["output"], "a,b,\nor\n")


@group.contract("lines", "A command is one shell text, also of several lines.", "platform-behaviour B5")
def lines(context: Context) -> None:
    assert_equal("output", context.exec_result("echo one\necho two\n")["output"], "one\ntwo\n")


@group.contract("unicode", "Commands and output are Unicode.", "wire-contract 1.3")
def unicode(context: Context) -> None:
    assert_equal("output", context.exec_result("echo 'grüße 漢字 🙂'")["output"], "grüße 漢字 🙂\n")


@group.contract("empty", "An empty command is accepted.", "wire-contract 3.2")
def empty(context: Context) -> None:
    assert_status(context.exec(""), 200)


@group.contract("env", "A command has the variables of the sandbox.", "wire-contract 3.1")
def env(context: Context) -> None:
    assert_equal("output", context.exec_result("echo $CAGED_VERIFY")["output"], f"{context.label}\n")


@group.contract("state", "Files survive the command that wrote them.", "wire-contract 3.2")
def state(context: Context) -> None:
    name = context.unique_name()
    context.run_command(f"echo here > {name}")
    assert_equal("output", context.exec_result(f"cat {name}")["output"], "here\n")


@group.decision("merged", "stdout and stderr are one text, in the order of writing.", "Part A, Exec")
def merged(context: Context) -> None:
    result = context.exec_result("echo 1; echo 2 >&2; echo 3; echo 4 >&2")
    assert_equal("output", result["output"], "1\n2\n3\n4\n")


@group.decision("signal", "A command ended by a signal has exit code 128 + n.", "Part A, Exec")
def signal(context: Context) -> None:
    assert_equal("exit_code", context.exec_result("kill -KILL $$")["exit_code"], 137)


@group.decision("not-found", "An unknown program has exit code 127.", "Part A, Exec")
def not_found(context: Context) -> None:
    assert_equal("exit_code", context.exec_result("caged-verify-none")["exit_code"], 127)


@group.decision("cwd", "The working directory of a command is /workspace.", "Part A, Exec")
def cwd(context: Context) -> None:
    assert_equal("output", context.exec_result("pwd")["output"], "/workspace\n")


@group.decision("fresh-shell", "Every command has a shell of its own.", "Part A, Exec")
def fresh_shell(context: Context) -> None:
    context.run_command("cd /tmp; CAGED_VERIFY_VARIABLE=1; export CAGED_VERIFY_VARIABLE")
    assert_equal("output", context.exec_result('echo "$PWD$CAGED_VERIFY_VARIABLE"')["output"], "/workspace\n")


_VARIABLES = {"HOME": "/root", "USER": "root", "TERM": "dumb", "TMPDIR": "/tmp"}


@group.decision("variables", "HOME, USER, TERM, TMPDIR and CAGED_SANDBOX_ID are set.", "Part A, Exec")
def variables(context: Context) -> None:
    names = [*_VARIABLES, "CAGED_SANDBOX_ID"]
    command = "; ".join(f'echo "${name}"' for name in names)
    assert_equal(
        "output", context.exec_result(command)["output"].splitlines(), [*_VARIABLES.values(), context.sandbox_id]
    )


@group.decision("stdin", "stdin is empty.", "Part A, Exec")
def stdin(context: Context) -> None:
    assert_equal("output", context.exec_result("cat; echo end")["output"], "end\n")


@group.decision("background", "A command returns without waiting for its background processes.", "Part A, Exec")
def background(context: Context) -> None:
    name = context.unique_name()
    try:
        with context.time_budget.extra_time(min(15.0, context.time_budget.limit)):
            result = context.exec_result(f"sleep 60 & echo $! > {name}; echo started")
    except (httpx.TimeoutException, Mismatch) as error:
        raise Mismatch("an answer while a child sleeps for 60 s", error) from None
    assert_equal("output", result["output"], "started\n")
    assert_equal("the child", context.exec_result(f"kill $(cat {name}) && echo lived")["output"], "lived\n")


@group.decision("bad-utf8", "Output that is not UTF-8 is decoded with replacement characters.", "Part A, Exec")
def bad_utf8(context: Context) -> None:
    assert_equal("output", context.exec_result("printf 'a\\377b'")["output"], "a\ufffdb")


@group.decision("large", "A megabyte of output is returned completely.", "Part A, Exec")
def large(context: Context) -> None:
    result = context.exec_result(f"head -c {_LARGE} /dev/zero | tr '\\0' x")
    assert_true(result["output"] == "x" * _LARGE, f"{_LARGE} characters", f"{len(result['output'])} characters")


@group.contract("not-get", "A GET request of the exec path returns 404 or 405.", "wire-contract 3.2")
def not_get(context: Context) -> None:
    assert_error(context.get(f"/sandboxes/{context.sandbox_id}/exec"), 404, 405)
