"""`run()`: streams, exact bytes, input, quoting, errors, and the end of everything that a command has started."""

from __future__ import annotations

import asyncio
import io
import pickle
import re
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import pytest
from cases import each
from leftovers import processes_with, unique_seconds, until
from workspace_testing import new_sandbox, on_shells, on_shells_and_clients

from caged import (
    AsyncCaged,
    CagedCommandError,
    CagedCommandTimeoutError,
    CagedError,
    CagedNotFoundError,
    CagedSandboxError,
)
from caged._workspace import pieces
from caged._workspace.binding import Binding

SCRATCH = "/tmp/.caged-sdk"
#: Seconds after which a command that would not end is ended, in tests whose commands need less.
SHORT = 1.5


def test_streams_are_separate_and_exit_code_is_kept(box):
    result = box.run("echo out; echo err >&2; exit 3")

    assert (result.stdout, result.stderr, result.exit_code, result.ok) == ("out\n", "err\n", 3, False)
    assert result.duration > 0


@on_shells
def test_bytes_are_exact(box):
    for content in (b"a\0b\0", b"\xff\xfe\x80", b"no newline", b"\n\n", b"", b"@", b"\r\n", bytes(range(256))):
        octal = "".join(f"\\{byte:03o}" for byte in content)

        result = box.run(f"printf '{octal}'; printf '{octal}' >&2")

        assert result.stdout_bytes == result.stderr_bytes == content


def test_text_replaces_what_is_not_utf8(process_box):
    result = process_box.run("printf 'a\\377\\303\\251'; printf '\\377' >&2")

    assert (result.stdout, result.stderr) == ("a\ufffd\xe9", "\ufffd")


@on_shells
def test_output_of_several_megabytes_on_both_streams_is_whole(box):
    result = box.run("yes 0123456789abcde | head -c 3500001; yes err | head -c 1000003 >&2")

    assert result.stdout_bytes == (b"0123456789abcde\n" * 218751)[:3500001]
    assert result.stderr_bytes == (b"err\n" * 250001)[:1000003]
    assert box.run("cat", stdin="after").stdout == "after"


@each("size", [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1])
def test_output_around_limit_of_first_answer_is_whole(process_box, size):
    result = process_box.run(f"head -c {size} /dev/zero; head -c {size} /dev/zero >&2")

    assert result.stdout_bytes == result.stderr_bytes == bytes(size)


@on_shells_and_clients
def test_stdin_is_exact_in_every_form_and_size(box):
    contents = [b"", b"short\0\xff", bytes(range(256)) * 256, b"x" * (32 * 1024), b"y" * (32 * 1024 + 1)]
    for content in contents:
        assert box.run("cat", stdin=content).stdout_bytes == content
        assert box.run("cat", stdin=io.BytesIO(content)).stdout_bytes == content
    assert box.run("cat", stdin="h\xe9llo").stdout == "h\xe9llo"
    assert box.run("cat", stdin=io.StringIO("h\xe9llo")).stdout == "h\xe9llo"


def test_stdin_of_several_megabytes_is_exact(process_box, busybox_box, tmp_path):
    content = bytes(range(256)) * 16 * 1024 + b"end"
    (tmp_path / "input").write_bytes(content)
    for box in (process_box, busybox_box):
        with (tmp_path / "input").open("rb") as file:
            file.seek(256)
            assert box.run("cat", stdin=file).stdout_bytes == content[256:]


def test_without_stdin_input_is_empty(box):
    assert box.run("cat; echo end").stdout == "end\n"


@each("stdin", [5, ["a"], object()])
def test_stdin_of_another_type_is_refused(process_box, stdin):
    with pytest.raises(CagedError, match="stdin must be str, bytes or an open file, not"):
        process_box.run("cat", stdin=stdin)


def test_stdin_file_that_is_closed_or_gives_numbers_is_refused(process_box):
    closed = io.BytesIO(b"x")
    closed.close()

    class Numbers:
        def read(self, _size):
            return 5

    with pytest.raises(CagedError, match="the file cannot be read"):
        process_box.run("cat", stdin=closed)
    with pytest.raises(CagedError, match="the file gives int"):
        process_box.run("cat", stdin=Numbers())


@on_shells
def test_words_of_a_list_arrive_as_they_are(box):
    words = ["", "a b", "$HOME", "`id`", "it's", '"', "\\", "*", "a\nb", "-n", "h\xe9", "$$", ";", "!", "~"]

    assert box.run(["printf", "[%s]", *words]).stdout == "".join(f"[{word}]" for word in words)
    for first in ("if", "!", "{", "A=b", "A=b c"):
        refused = box.run([first, "true"])
        assert (refused.exit_code, first in refused.stderr) == (127, True), first


@each("command", [[], "a\0b", ["a\0"], 5, [5], None])
def test_invalid_command_is_refused(process_box, command):
    with pytest.raises(CagedError, match="command"):
        process_box.run(command)


@on_shells_and_clients
def test_long_command_runs(box):
    long = "a" * 200_000

    assert box.run(f": {long}; echo $0 >/dev/null; printf '%s' end").stdout == "end"
    assert box.run(f'x={long}; printf %s "$x"').stdout == long
    assert box.run(f": {long}; echo $$", env={"A": "b"}).stdout.strip().isdigit()
    assert box.run(f": {long}\nexit 7").exit_code == 7


@on_shells
def test_command_of_characters_that_are_long_when_quoted_runs(box):
    quotes = "'" * 20_000

    assert box.run(["printf", "%s", quotes]).stdout == quotes


@on_shells
def test_long_variables_arrive(box):
    value = "it's " * 20_000

    assert box.run('printf %s "$A$B"', env={"A": value, "B": "b"}).stdout == value + "b"


def test_cwd_env_and_directory_of_the_sandbox(box):
    box.run(["mkdir", "-p", "/workspace/a b/-c\n'd"])

    # Not with `pwd`: at level `process` it is another path on the host.
    assert box.run("touch here", cwd="/workspace/a b/-c\n'd").ok
    assert box.run(["ls", "/workspace/a b/-c\n'd"]).stdout == "here\n"
    assert box.run("touch there", cwd="a b").ok
    assert "there" in box.run("ls", cwd="/workspace/a b").stdout.split()
    given = {"A": "it's $HOME\n`x`", "EMPTY": "", "LANG": "C"}
    assert box.run('printf "%s|%s|%s" "$A" "$EMPTY" "$LANG"', env=given).stdout == "it's $HOME\n`x`||C"
    assert box.run('printf "%s" "${A-unset}"').stdout == "unset"


@on_shells
def test_directory_that_cannot_be_entered_is_an_error_and_nothing_runs(box):
    box.run("rm -f ran; echo >file")
    for cwd in ("/missing", "/workspace/file", "-", "-P", "--"):
        with pytest.raises(CagedError, match=f"working directory '{cwd}' cannot be entered"):
            box.run("touch /workspace/ran", cwd=cwd)
    assert not box.run("test -e ran").ok


@each(
    "options, message",
    [
        ({"cwd": ""}, "cwd is empty"),
        ({"cwd": "a\0"}, "cwd holds a NUL"),
        ({"user": ""}, "user is empty"),
        ({"user": 0}, "user must be"),
        ({"env": {"1A": "x"}}, "name '1A'"),
        ({"env": {"A=B": "x"}}, "name 'A=B'"),
        ({"env": {"A": "\0"}}, "NUL"),
        ({"env": {"A": 1}}, "env"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"check": 1}, "check"),
    ],
)
def test_bad_option_is_refused(process_box, options, message):
    with pytest.raises(CagedError, match=message):
        process_box.run("true", **options)


@on_shells
def test_unknown_user_is_an_error(box):
    with pytest.raises(CagedError, match="no user 'unknown-user'"):
        box.run("id", user="unknown-user")
    with pytest.raises(CagedError, match="no user '-x'"):
        box.run("id", user="-x")


def test_command_of_another_user(places):
    for place in ("namespace-sync", "busybox-sync"):
        box = places.box(place)
        users = box.run("cat /proc/self/uid_map | wc -l; id -u")
        if users.stdout.split()[1] != "0" or not box.run("su daemon -s /bin/sh -c true").ok:
            pytest.skip("this sandbox has root as its only user")

        result = box.run("id -un; pwd; cat; echo $A; exit 4", user="daemon", cwd="/tmp", stdin="in;", env={"A": "b'c"})

        assert (result.stdout, result.exit_code) == ("daemon\n/tmp\nin;b'c\n", 4)
        assert box.run(f": {'a' * 100_000}; id -un", user="daemon").stdout == "daemon\n"
        assert box.run(["printf", "%s", "'" * 5000], user="daemon").stdout == "'" * 5000
        assert box.run("cat", user="daemon", stdin=b"z" * 100_000).stdout == "z" * 100_000
        with pytest.raises(CagedError, match="cannot be entered"):
            box.run("true", user="daemon", cwd=SCRATCH)


@on_shells
def test_exit_codes_are_those_of_a_shell(box):
    cases = {
        "exit 0": 0,
        "exit 255": 255,
        "false": 1,
        "no-such-program-here": 127,
        "/etc": 126,
        "kill -TERM $$": 143,
        "kill -9 $$": 137,
        "kill -SEGV $$; sleep 60": 139,
        "sh -c 'kill -INT $$'": 130,
        "set -e; false; echo not here": 1,
        "set -u; echo $undefined_name": None,
        "trap 'exit 9' EXIT; exit 2": 9,
        "exec sh -c 'exit 6'": 6,
        "(exit 5)": 5,
        "# nothing": 0,
        "": 0,
        "if": 2,
        "echo 'open": 2,
        "exit 8; )": None,
    }
    for command, code in cases.items():
        result = box.run(command)

        assert "not here" not in result.stdout, command
        assert result.exit_code == code or (code is None and result.exit_code != 0), command


@on_shells
def test_syntax_error_is_reported_on_stderr(box):
    result = box.run("echo 'open")

    assert result.stdout == ""
    assert result.stderr


@on_shells
def test_trap_at_exit_prints(box):
    assert box.run("trap 'echo bye' EXIT; echo hello; exit 3").stdout == "hello\nbye\n"


# What a command does to its own shell, and its exit code and stdout; nothing on stderr.
SHELL_CHANGES = {
    "echo a; set -e; false; echo b": (1, "a\n"),
    "set -f; echo *; exit 3": (3, "*\n"),
    "set -C; set -o noglob; echo a; exit 3": (3, "a\n"),
    "die() { echo dying; exit 5; }; die": (5, "dying\n"),
    "echo a | while read -r line; do exit 9; done; exit 5": (5, ""),
    "exec >/dev/null; echo a; exit 3": (3, ""),
    "exec 2>&1; echo a >&2; exit 3": (3, "a\n"),
    "exec >&- 2>&- <&- 8>&- 9>&-; exit 3": (3, ""),
    "exec 5>&1 >/dev/null; echo a >&5; exit 3": (3, "a\n"),
    "exec sh -c 'echo a; exit 6'": (6, "a\n"),
    "IFS=0123456789/e@; echo a; exit 3": (3, "a\n"),
    "PATH=/nowhere; echo a; exit 3": (3, "a\n"),
    "set -e; PATH=/nowhere; echo a; exit 3": (3, "a\n"),
    "PATH=/nowhere; exit 3": (3, ""),
    "readonly PATH IFS; echo a; exit 3": (3, "a\n"),
    "mkdir gone; cd gone; rmdir ../gone; echo a; exit 3": (3, "a\n"),
    "umask 777; echo a; exit 3": (3, "a\n"),
    "ulimit -f 0; exit 3": (3, ""),
    "echo() { date; }; head() { date; }; base64() { date; }; printf a; false": (1, "a"),
    "trap - EXIT; echo a; exit 3": (3, "a\n"),
    "trap 'echo bye' EXIT; echo a": (0, "a\nbye\n"),
    "trap 'exit 9' EXIT; echo a; exit 3": (9, "a\n"),
    "(trap 'echo bye' EXIT); exit 3": (3, "bye\n"),
    "trap '' TERM INT HUP PIPE; kill -TERM $$; echo a; exit 3": (3, "a\n"),
    "trap 'echo got' TERM; kill -TERM $$; exit 3": (3, "got\n"),
    "echo a; kill -TERM $$; sleep 60": (143, "a\n"),
    "echo a; kill -9 $$; sleep 60": (137, "a\n"),
    "sleep 0.01 & wait; echo a; exit 3": (3, "a\n"),
    "cat <<end\n$(echo a)\nend\nexit 3": (3, "a\n"),
    "set a b; shift; echo $# $1; exit 3": (3, "1 b\n"),
    "echo $#$*; exit 3": (3, "0\n"),
}
SHELL_CHANGES_OF_BASH = {
    "trap() { date; }; set() { date; }; exit() { date; }; printf a; false": (1, "a"),
    "command() { date; }; printf a; false": (1, "a"),
    "set -n; echo a": (0, ""),
    "set -o posix; echo a; exit 3": (3, "a\n"),
    "echo $BASH_SUBSHELL $((BASHPID - $$)); exit 3": (3, "0 0\n"),
    "trap 'echo debug' DEBUG; echo a": (0, "debug\na\n"),
    "set -T; trap 'echo debug' DEBUG; echo a": (0, "debug\na\n"),
    "trap 'echo child' CHLD; sleep 0; echo a; exit 3": (3, "child\na\n"),
    "set -e; trap 'echo error' ERR; false": (1, "error\n"),
    "shopt -s expand_aliases\nalias echo=date command=date head=date [=date trap=date\nprintf a; exit 3": (3, "a"),
    "enable -n echo command; printf a; exit 3": (3, "a"),
    'trap "(exit 4); $(trap -p EXIT | sed '  # a trap that is added to the one that is there
    '"s/^trap -- \'//; s/\' EXIT$//")" EXIT; echo a; exit 3': (3, "a\n"),
    "exec {file}>file; (( file < 60 )); echo a; exit 3": (3, "a\n"),
    "coproc cat; echo a; kill $COPROC_PID; exit 3": (3, "a\n"),
}


@on_shells
def test_result_is_exact_whatever_the_command_does_to_its_shell(place, box):
    cases = {**SHELL_CHANGES, **(SHELL_CHANGES_OF_BASH if place == "namespace-sync" else {})}
    for command, (code, stdout) in cases.items():
        result = box.run(command)

        assert (result.exit_code, result.stdout, result.stderr) == (code, stdout, ""), command


def test_command_that_leaves_its_shell_alone_needs_one_request(namespace_box, monkeypatch):
    requests = []
    send = Binding.send

    def counted(*args, **options):
        requests.append(args)
        return send(*args, **options)

    monkeypatch.setattr(Binding, "send", counted)
    commands = ("echo a", "echo a; exit 3", "set -eux; echo a", "die() { exit 3; }; echo a; die", "exec 8>file", "if")
    for command in commands:
        namespace_box.run(command)
    assert len(requests) <= len(commands) + 1  # sometimes, files of earlier commands are removed
    requests.clear()
    for command in ("exec true", "trap 'echo bye' EXIT", "kill -9 $$"):
        namespace_box.run(command)
    assert len(requests) == 6


@on_shells
def test_trace_has_the_lines_of_the_command_alone(box):
    result = box.run("set -x; echo a; exit 3")

    assert (result.stdout, result.exit_code) == ("a\n", 3)
    assert [line.lstrip("+") for line in result.stderr.splitlines()] == [" echo a", " exit 3"]


@on_shells
def test_files_that_the_command_opens_get_nothing_of_the_result(box):
    numbers = range(3, 10)
    files = " ".join(f"{number}>opened{number}" for number in numbers)
    for end in ("exit 3", "die() { exit 3; }; die", "set -e; (exit 3); :"):
        assert box.run(f"exec {files}; {end}").exit_code == 3
        assert box.run("cat opened*; rm opened*").stdout == ""


def test_functions_and_traps_of_a_command_do_not_run_after_its_end(namespace_box):
    functions = "".join(f"{name}() {{ : >ran-{name}; }};" for name in ("echo", "head", "base64", "set", "trap", "test"))
    for change in (functions, "function [ { : >ran-bracket; }", "trap ': >ran-child' CHLD"):
        result = namespace_box.run(f"{change}\nprintf a; exit 3")

        assert (result.stdout, result.stderr, result.exit_code) == ("a", "", 3), change
    assert namespace_box.run("ls ran-*").stdout == ""


def test_command_has_no_child_process_of_the_sdk(namespace_box):
    # More than the files of which are removed by one script.
    for _ in range(20):
        assert namespace_box.run("echo ${!-none}; wait -n; echo $?").stdout == "none\n127\n"


def test_command_that_ends_its_whole_process_group_keeps_its_output(own_box):
    result = own_box.run("echo before; trap '' TERM; kill -9 0; sleep 60")

    assert result.stdout == "before\n"
    assert result.exit_code == 137


@on_shells
def test_command_sees_no_variables_of_the_sdk(box):
    names = box.run("set").stdout
    mine = [line for line in names.splitlines() if SCRATCH in line]

    assert [line for line in mine if not line.startswith(("_=", "BASH_EXECUTION_STRING="))] == []
    assert box.run("set -u; echo ${f-none} ${name-none}").stdout == "none none\n"


def test_number_of_the_shell_is_that_of_the_process_of_the_command(box):
    assert box.run("echo $$; exec sh -c 'echo $$'").stdout.split()[0].isdigit()
    first, second = box.run("echo $$; exec sh -c 'echo $$'").stdout.split()
    assert first == second


def test_number_of_the_shell_in_braces_is_that_of_the_command(namespace_box):
    for form in ("${$}", "${$%x}"):
        first, second = namespace_box.run(f"echo {form}; exec sh -c 'echo $$'").stdout.split()
        assert first == second, form


def test_no_script_is_longer_than_the_platform_is_known_to_run(namespace_box, monkeypatch):
    lengths = []
    send = Binding.send

    class Measured(Exception):
        """Raised in place of running what is measured."""

    def measured(binding, text, timeout, repeatable=False):
        if not re.match(r"# caged-sdk (run|helper \"(start|write) )", text):
            return send(binding, text, timeout, repeatable)
        lengths.append(len(text.encode()))
        raise Measured

    assert namespace_box.run(f"cat; : {'a' * 39_000}", stdin="x" * 32 * 1024).stdout == "x" * 32 * 1024
    process = namespace_box.start(f"exit 3; : {'a' * 39_000}", stdin="x" * 32 * 1024)
    assert process.wait(30) == 3
    monkeypatch.setattr(Binding, "send", measured)
    for size in (9_000, 20_000, 38_000, 62_000):
        for stdin in ("", "x" * 32 * 1024):
            for filler in ("a", "'", "\xe9"):
                command = [":", filler * (size // len(filler.encode()))]
                for call in (namespace_box.run, namespace_box.start):
                    with pytest.raises(Measured):
                        call(command, stdin=stdin)
    for path in ("p", "/".join(["'\xe9\x01" * 50] * 18)):
        with pytest.raises(Measured):
            namespace_box.write(path, "x" * 64 * 1024)

    assert 80 * 1024 < max(lengths) <= 96 * 1024


def test_background_child_that_holds_the_output_is_not_waited_for(box):
    result = box.run("(sleep 1000; echo late) & echo $!")

    assert result.ok
    child = result.stdout.strip()
    assert box.run(f"kill -0 {child}").ok
    box.run(f"kill -9 {child}")


@on_shells
def test_output_of_the_sdks_own_marks_is_data(box):
    text = "@started\n@cwd\n@user\n@0123 0\n@\n"

    result = box.run("cat; cat /dev/null >&2; echo @cwd >&9 2>/dev/null", stdin=text)

    assert result.stdout == text


# Busy for the last 0.1 s and while it is ended, where the machine is not so slow that it still sleeps then.
BUSY = f"sleep {SHORT - 0.1}; while :; do :; done"
ENDLESS = {
    "child": "sleep {seconds}",
    "session": "setsid sleep {seconds}",
    "session in the background": "setsid sleep {seconds} & wait",
    "nohup": "(nohup sleep {seconds} || sleep {seconds}) >/dev/null 2>&1 & wait",  # some busybox have none
    "double fork": "(sleep {seconds} &); while :; do sleep 1; done",
    "double fork without output": "(setsid sleep {seconds} >/dev/null 2>&1 </dev/null &); while :; do sleep 1; done",
    "empty environment": "env -i sleep {seconds}",
    "daemon with an empty environment": "(env -i setsid sleep {seconds} >/dev/null 2>&1 </dev/null &)\nsleep {seconds}",
    "ignores TERM": "trap '' TERM INT HUP; sleep {seconds}; sleep {seconds}",
    "pipe": "sleep {seconds} | sleep {seconds}",
    "busy": f": {{seconds}}; {BUSY}",
    "busy shell without output": f"exec >/dev/null 2>&1; : {{seconds}}; {BUSY}",
    "busy child without output": f"exec >/dev/null 2>&1; sh -c ': {{seconds}}; {BUSY}'; :",
    "restarts children": "while :; do sh -c 'sleep {seconds}'; done",
}


#: Those that are found by different facts of /proc, of which an isolation level may show others.
FOUND_DIFFERENTLY = ("child", "double fork", "double fork without output", "empty environment", "restarts children")


def left_after_timeout(box, kinds):
    """What is left of commands of these kinds after their timeouts.

    A few at once: each search for the processes of a command looks at those of the others.
    """

    def run(kind):
        seconds = unique_seconds()
        with pytest.raises(CagedCommandTimeoutError):
            box.run(f"echo started; {ENDLESS[kind].format(seconds=seconds)}", timeout=SHORT)
        return processes_with(seconds)

    with ThreadPoolExecutor(5) as pool:
        return dict(zip(kinds, pool.map(run, kinds)))


@on_shells
def test_timeout_ends_every_process_of_the_command(box):
    assert left_after_timeout(box, ENDLESS) == {kind: [] for kind in ENDLESS}
    assert box.run("echo still works").stdout == "still works\n"


@pytest.mark.parametrize("place", ["bwrap-sync", "process-async"], indirect=True)
def test_timeout_ends_every_process_at_other_levels(box):
    assert left_after_timeout(box, FOUND_DIFFERENTLY) == {kind: [] for kind in FOUND_DIFFERENTLY}
    assert box.run("echo still works").stdout == "still works\n"


def test_timeout_ends_nothing_of_other_commands(process_box):
    seconds = unique_seconds()
    process_box.run(f"sleep {seconds} >/dev/null 2>&1 &")

    with pytest.raises(CagedCommandTimeoutError):
        process_box.run("sleep 1000", timeout=SHORT)

    assert len(processes_with(seconds)) == 1
    own = processes_with(seconds)[0].partition(":")[0]
    process_box.run(f"kill -9 {own}")


@on_shells
def test_timeout_error_says_what_was_printed_and_can_be_pickled(box):
    command = "printf 'half a line'; printf problem >&2; sleep 1000"

    with pytest.raises(CagedCommandTimeoutError) as raised:
        box.run(command, timeout=SHORT)

    error = raised.value
    assert (error.command, error.timeout, error.stdout, error.stderr) == (command, SHORT, "half a line", "problem")
    assert (
        str(error) == f"command {command!r} took longer than 1.5 s and was ended\nstdout: half a line\nstderr: problem"
    )
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.stdout) == (str(error), error.stdout)


def test_timeout_error_of_a_long_command_that_printed_much_is_short(process_box):
    with pytest.raises(CagedCommandTimeoutError) as raised:
        process_box.run(f": {'a' * 50_000}; yes | head -c 1000000; sleep 1000", timeout=SHORT)

    assert len(str(raised.value)) < 3000
    assert raised.value.stdout == "y\n" * 128 * 1024


def test_check_raises_an_error_with_the_output(box):
    with pytest.raises(CagedCommandError) as raised:
        box.run(["sh", "-c", "echo out; echo 'what is wrong' >&2; exit 5"], check=True)

    error = raised.value
    assert (error.exit_code, error.stdout, error.stderr) == (5, "out\n", "what is wrong\n")
    assert "exited with 5\nstderr: what is wrong" in str(error)
    assert "sh -c" in error.command
    assert box.run("true", check=True).ok


def test_check_shows_stdout_where_stderr_is_empty(process_box):
    with pytest.raises(CagedCommandError, match="exited with 1\nstdout: 3 failed"):
        process_box.run("echo 3 failed; exit 1", check=True)
    with pytest.raises(CagedCommandError, match="exited with 1; it printed nothing"):
        process_box.run("exit 1", check=True)


def test_paused_sandbox_is_an_error_and_a_resumed_one_runs_again(own_box, client):
    client.sandboxes.pause(own_box.id)

    with pytest.raises(CagedSandboxError, match=r"cannot run commands: .*paused"):
        own_box.run("true")
    client.sandboxes.resume(own_box.id)

    assert own_box.run("echo back").stdout == "back\n"


def test_destroyed_or_unknown_sandbox_is_not_found(places, client):
    with new_sandbox(places.served("process-sync")) as sandbox_id:
        box = client.sandboxes.bind(sandbox_id)
        assert box.run("true").ok
    for gone in (box, client.sandboxes.bind("cage_unknown")):
        with pytest.raises(CagedNotFoundError):
            gone.run("true")


def test_scratch_directory_that_is_a_link_is_not_used(own_box):
    own_box.exec("mkdir -p /tmp/elsewhere && rm -rf /tmp/.caged-sdk && ln -s /tmp/elsewhere /tmp/.caged-sdk")

    with pytest.raises(CagedSandboxError, match=r"could not run a script of the SDK.*[Ff]ile exists"):
        own_box.run("true")
    with pytest.raises(CagedSandboxError, match=r"could not run a script of the SDK.*[Ff]ile exists"):
        own_box.run("cat", stdin=b"x" * 100_000)


def test_scratch_directory_of_another_user_is_not_used(places):
    served = places.served("namespace-sync")
    with new_sandbox(served) as sandbox_id:
        made = served.client.sandboxes.exec(sandbox_id, f"mkdir -m 777 {SCRATCH} && chown daemon {SCRATCH}")
        if not made.ok:
            pytest.skip(f"this sandbox has root as its only user: {made.output}")

        with pytest.raises(CagedSandboxError, match="could not run a script of the SDK"):
            served.client.sandboxes.bind(sandbox_id).run("true")


def test_scratch_directory_that_was_removed_is_made_again(process_box):
    process_box.exec(f"rm -rf {SCRATCH}")

    assert process_box.run("cat", stdin=b"x" * 100_000).stdout == "x" * 100_000


def test_files_of_commands_are_removed(process_box):
    process_box.exec(f"rm -rf {SCRATCH}")
    for _ in range(24):
        process_box.run("cat", stdin="x")
    process_box.run("head -c 1000000 /dev/zero", stdin=b"x" * 100_000)

    def few():
        return len(process_box.run(["ls", SCRATCH]).stdout.split()) < 40

    until(few)


def test_many_commands_at_once_keep_their_own_output(process_box, busybox_box):
    def run(number):
        box = process_box if number % 2 else busybox_box
        result = box.run(f"cat; echo {number} >&2; exit {number}", stdin=f"in {number}")
        return result.stdout, result.stderr, result.exit_code

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(run, range(64)))

    assert results == [(f"in {number}", f"{number}\n", number) for number in range(64)]


def test_cancelled_command_is_ended(places):
    served = places.served("process-async")
    seconds = unique_seconds()

    async def main():
        async with AsyncCaged(api_key=served.api_key, base_url=served.base_url) as client:
            box = client.sandboxes.bind(places.box("process-sync").id)
            work = asyncio.ensure_future(box.run(f"sleep {seconds}"))
            await asyncio.to_thread(until, lambda: processes_with(seconds))
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            return (await box.run("echo after")).stdout

    assert asyncio.run(asyncio.wait_for(main(), 60)) == "after\n"
    until(lambda: not processes_with(seconds))


def test_commands_of_one_async_sandbox_run_at_once(places):
    box = places.box("process-async").awaited
    loop = places.box("process-async")._loop

    async def main():
        meeting = unique_seconds()
        wait = f"while [ ! -e {{}}-{meeting} ]; do sleep 0.02; done"
        first = box.run(f"touch a-{meeting}; {wait.format('b')}", timeout=30)
        second = box.run(f"touch b-{meeting}; {wait.format('a')}", timeout=30)
        return [result.exit_code for result in await asyncio.gather(first, second)]

    assert loop.run(main()) == [0, 0]


def test_sandbox_without_the_programs_that_are_needed_is_reported(places):
    with new_sandbox(places.served("process-sync"), env={"PATH": "/nowhere"}) as sandbox_id:
        box = places.served("process-sync").client.sandboxes.bind(sandbox_id)

        with pytest.raises(CagedSandboxError, match=r"could not run a script of the SDK.*not found"):
            box.run("echo out")


def test_paths_of_the_sandbox_are_found_in_quotes_of_every_kind(process_box):
    """At this level the emulator replaces them in the text of commands."""
    process_box.run("mkdir -p '/workspace/q q'; echo here >\"/workspace/q q/file\"", check=True)
    for command in (
        ["cat", "/workspace/q q/file"],
        'cat "/workspace/q q/file"',
        "cat '/workspace/q q/file'",
        "'/workspace/q q/program'",
        "sh -c \"cat '/workspace/q q/file'\"",
        "sh -c 'cat \"/workspace/q q/file\"'",
        """python3 -c "print(open('/workspace/q q/file').read(), end='')\"""",
    ):
        process_box.run("printf '#!/bin/sh\ncat file' >'q q/program'; chmod 755 'q q/program'", check=True)
        result = process_box.run(command, cwd="/workspace/q q")

        assert (result.stdout, result.stderr) == ("here\n", ""), command


def test_concurrent_runs_return_their_own_output(process_box):
    results = {}

    def run(word):
        results[word] = process_box.run(f"echo {shlex.quote(word)}").stdout

    threads = [threading.Thread(target=run, args=(f"w {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert results == {f"w {number}": f"w {number}\n" for number in range(8)}


def test_output_that_the_command_opens_again_is_appended(process_box):
    result = process_box.run("echo one; echo two >>/dev/stdout; echo three; echo a >&2; echo b >>/dev/stderr")
    assert (result.stdout, result.stderr) == ("one\ntwo\nthree\n", "a\nb\n")


def test_output_whose_files_the_command_removes_is_an_error(own_box):
    message = f"exited with 3, but it has removed the files of its output in {SCRATCH}; what it printed is lost"
    with pytest.raises(CagedSandboxError, match=message):
        own_box.run(f"rm -rf {SCRATCH}; echo hi; exit 3", check=True)
    assert own_box.run("echo next").stdout == "next\n"


def test_output_that_becomes_shorter_while_it_is_fetched_is_an_error(process_box, monkeypatch):
    def nothing(*_):
        return b""
        yield

    monkeypatch.setattr(pieces, "fetch_piece", nothing)
    with pytest.raises(CagedError, match="became shorter while it was read: 0 of 600000 bytes"):
        process_box.run("head -c 600000 /dev/zero")


def test_names_that_the_shell_sets_itself_are_refused(process_box):
    names = ["BASH", "UID", "SHELLOPTS", "RANDOM", "LINENO", "SECONDS", "EPOCHSECONDS", "OPTIND", "GROUPS", "FUNCNAME"]
    for name in [*names, "BASHPID", "_"]:
        with pytest.raises(CagedError, match=f"env has the name '{name}', which the shell sets itself"):
            process_box.run("true", env={name: "7"})


def test_name_of_the_mark_of_a_command_is_refused(namespace_box):
    with pytest.raises(CagedError, match="'CAGED_SDK_RUN', by which the processes of a command are found"):
        namespace_box.run("true", env={"CAGED_SDK_RUN": "7"})


def test_first_word_that_begins_with_a_minus_is_a_program(process_box):
    assert process_box.run(["-x"]).exit_code == 127


SHELL_OPTIONS = {
    "file": {"BASH_ENV": "/root/options"},
    "errexit": {"SHELLOPTS": "errexit:nounset:allexport"},
    "noglob": {"SHELLOPTS": "noglob:noclobber:pipefail"},
    "xtrace": {"SHELLOPTS": "xtrace:verbose"},
    "failglob": {"BASHOPTS": "failglob:nocasematch"},
}


@each("options", list(SHELL_OPTIONS))
def test_shell_options_of_the_sandbox_are_for_commands_and_not_for_helpers(places, options):
    with new_sandbox(places.served("namespace-sync"), env=SHELL_OPTIONS[options]) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, "sync")
        box.exec("echo 'set -eux; shopt -s failglob' >/root/options")

        box.write("folder/file", "old")
        box.write("folder/file", "new")
        for command in ("echo $- $#; false; echo end", "echo $- $#; : $$; false; echo end"):
            expected = box.exec(f"exec 2>/dev/null; {command}")
            result = box.run(f"exec 2>/dev/null; {command}")
            assert (result.stdout, result.exit_code) == (expected.output.rpartition("+ exec\n")[2], expected.exit_code)
            process = box.start(f"exec 2>/dev/null; {command}")
            assert (process.wait(30), process.output().stdout) == (result.exit_code, result.stdout)
        assert box.run("false").exit_code == 1
        assert box.read_text("folder/file") == "new"
        assert [entry.name for entry in box.list("folder")] == ["file"]
        assert [found.pid for found in box.processes()] != []
        with pytest.raises(CagedCommandTimeoutError):
            box.run("sleep 1000", timeout=0.3)


def test_every_name_of_the_environment_arrives_or_is_refused(namespace_box):
    names = namespace_box.run(["bash", "-c", "compgen -v; type -P printenv"]).stdout.split()
    printenv = names.pop()
    lost = []
    for name in names:
        try:
            if namespace_box.run(f"{printenv} {name}", env={name: "7"}).stdout != "7\n":
                lost.append(name)
        except CagedError:
            pass
    assert "RANDOM" in names
    assert lost == []


def test_working_directory_may_be_a_path(namespace_box):
    assert namespace_box.run("pwd", cwd=PurePosixPath("/usr/bin")).stdout == "/usr/bin\n"


@pytest.fixture
def faulty_box(emulator):
    """A sandbox of an emulator that injects faults."""
    with emulator.client() as client, client.sandboxes.open() as box:
        yield box


@each("fault", [{"status": 503}, {"drop": "after"}])
def test_output_whose_fetching_fails_once_is_fetched_again(emulator, faulty_box, fault):
    with emulator.faults.add("sandboxes.exec", after=1, times=1, **fault):
        assert faulty_box.run("echo >>count; head -c 600000 /dev/zero").stdout_bytes == bytes(600_000)
    assert faulty_box.run("wc -l <count; rm count").stdout.strip() == "1"


def test_output_that_cannot_be_fetched_is_an_error_that_says_that_the_command_ran(emulator, faulty_box):
    message = r"the command ran and exited with 4, but its output could not be fetched: .*injected"
    with emulator.faults.add("sandboxes.exec", after=1, status=500), pytest.raises(CagedSandboxError, match=message):
        faulty_box.run("head -c 600000 /dev/zero; exit 4")

    def large():
        return faulty_box.run(f"find {SCRATCH} -size +100k").stdout

    assert large()
    until(lambda: not large())


def test_output_after_a_trap_at_exit_is_read_again_when_that_fails_once(emulator, faulty_box):
    with emulator.faults.add("sandboxes.exec", after=1, times=1, status=503) as fault:
        assert faulty_box.run("trap 'echo bye' EXIT; exit 4").stdout == "bye\n"
        assert fault.triggered
    message = r"the command ran and exited with 4, but its output could not be fetched: .*injected"
    with emulator.faults.add("sandboxes.exec", after=1, status=500), pytest.raises(CagedSandboxError, match=message):
        faulty_box.run("trap 'echo bye' EXIT; exit 4")


def test_output_that_cannot_be_removed_is_returned_and_removed_later(emulator, faulty_box):
    with emulator.faults.add("sandboxes.exec", after=4, times=1, status=500) as fault:
        assert faulty_box.run("head -c 600000 /dev/zero").stdout_bytes == bytes(600_000)
        assert fault.triggered
    until(lambda: not faulty_box.run(f"find {SCRATCH} -size +100k").stdout)


def test_timeout_whose_processes_cannot_be_ended_is_a_timeout_that_says_so(emulator, faulty_box):
    with emulator.faults.add("sandboxes.exec", after=1, times=1, status=503):
        with pytest.raises(CagedCommandTimeoutError) as raised:
            faulty_box.run("sleep 1000", timeout=0.3)

    message = "took longer than 0.3 s, and may still run: its processes could not be ended: .*injected"
    assert re.search(message, str(raised.value))
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (str(copy), copy.timeout) == (str(raised.value), 0.3)


def test_files_of_a_command_that_took_too_long_are_removed_later(emulator, faulty_box):
    with pytest.raises(CagedCommandTimeoutError):
        faulty_box.run("sleep 1000", timeout=0.3)

    assert faulty_box.run(f"ls {SCRATCH}/*.x").ok
    until(lambda: not faulty_box.run(f"ls {SCRATCH}/*.x").ok)


def test_sandbox_without_base64_is_reported_by_its_name(places):
    with new_sandbox(places.served("namespace-sync"), env={"PATH": "/root/programs"}) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, "sync")
        box.exec(
            "PATH=/usr/bin:/bin; mkdir /root/programs; for name in mkdir head rm cat wc; do "
            'ln -s "$(command -v $name)" /root/programs/$name; done'
        )
        assert box.run("true").ok
        message = "the command ran and exited with 3, but .* it has no program 'base64', which the SDK needs"
        with pytest.raises(CagedSandboxError, match=message):
            box.run("echo out; exit 3")
        with pytest.raises(CagedSandboxError, match="it has no program 'base64'"):
            box.run("cat", stdin="in")
