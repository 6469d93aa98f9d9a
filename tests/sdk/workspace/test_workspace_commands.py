"""`run()`: exit codes, what a command sees of its shell, and what is reported where it cannot run."""

from __future__ import annotations

import re

import pytest
from cases import each
from leftovers import until
from workspace_testing import new_sandbox, on_shells

from caged import CagedCommandError, CagedCommandTimeoutError, CagedNotFoundError, CagedSandboxError
from caged._workspace.binding import Binding

SCRATCH = "/tmp/.caged-sdk"


def test_streams_are_separate_and_exit_code_is_kept(box):
    result = box.run("echo out; echo err >&2; exit 3")

    assert (result.stdout, result.stderr, result.exit_code, result.ok) == ("out\n", "err\n", 3, False)
    assert result.duration > 0


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
    "set -r; echo a; exit 3": (3, "a\n"),
    "ulimit -n 4; echo a; exit 3": (3, "a\n"),
    "set -o posix; echo a; exit 3": (3, "a\n"),
    "echo $BASH_SUBSHELL $((BASHPID - $$)); exit 3": (3, "0 0\n"),
    "trap 'echo debug' DEBUG; echo a": (0, "debug\na\n"),
    "set -T; trap 'echo debug' DEBUG; echo a": (0, "debug\na\n"),
    "trap 'echo child' CHLD; sleep 0; echo a; exit 3": (3, "child\na\n"),
    "set -e; trap 'echo error' ERR; false": (1, "error\n"),
    "shopt -s expand_aliases\nalias echo=date command=date head=date [=date trap=date\nprintf a; exit 3": (3, "a"),
    "shopt -s expand_aliases\nalias if=date then=date fi=date\nprintf a; exit 3": (3, "a"),
    "shopt -s expand_aliases\nalias {=: }=:\nexec 2>&-; printf a; exit 3": (3, "a"),
    "enable -n echo command; printf a; exit 3": (3, "a"),
    "set -u; unset BASHPID; echo a; exit 3": (3, "a\n"),
    'trap "(exit 4); $(trap -p EXIT | sed '  # a trap that is added to the one that is there
    '"s/^trap -- \'//; s/\' EXIT$//")" EXIT; echo a; exit 3': (3, "a\n"),
    "exec {file}>file; (( file < 60 )); echo a; exit 3": (3, "a\n"),
    "coproc cat; echo a; kill $COPROC_PID; exit 3": (3, "a\n"),
    "exec 2>/dev/null; set -o posix; . /nonexistent; echo a": (1, ""),
    "exec 97>&1; echo a >&97; exit 3": (3, "a\n"),
    "exec 97>&2; echo a; exit 3": (3, "a\n"),
    'for i in {10..100}; do eval "exec $i>&1"; done; exec >/dev/null; exit 3': (3, ""),
}


@on_shells
def test_result_is_exact_whatever_the_command_does_to_its_shell(place, box):
    cases = {**SHELL_CHANGES, **(SHELL_CHANGES_OF_BASH if place == "namespace-sync" else {})}
    for command, (code, stdout) in cases.items():
        result = box.run(command)

        assert (result.exit_code, result.stdout, result.stderr) == (code, stdout, ""), command


def test_child_that_ends_with_the_traps_of_its_shell_leaves_the_result_alone(namespace_box):
    for _ in range(20):
        result = namespace_box.run("sleep 5 & p=$!; kill $p; wait $p; echo done; exit 3")

        assert (result.stdout, result.exit_code) == ("done\n", 3)
        assert "@" not in result.stderr


def test_command_that_leaves_its_shell_alone_needs_one_request(namespace_box, requests):
    commands = ("echo a", "echo a; exit 3", "set -eux; echo a", "die() { exit 3; }; echo a; die", "exec 8>file")
    commands += ("if", "sleep 5 & kill $!; wait", "sleep 5 & kill $!; echo a")
    for command in commands:
        namespace_box.run(command)
    assert len(requests) <= len(commands) + 1  # sometimes, files of earlier commands are removed
    requests.clear()
    for command in ("exec true", "trap 'echo bye' EXIT", "kill -9 $$", "exec > >(cat)", "exec 2> >(cat)"):
        namespace_box.run(command)
    assert len(requests) == 10


def test_output_that_another_process_writes_at_the_end_is_read_after_it(namespace_box):
    # Without a wait for it in the command, it may be later.
    until(lambda: namespace_box.run("exec > >(sed s/^/X/); echo a").stdout == "Xa\n")
    command = "exec 4>&1 > >(sleep 0.3; sed s/^/X/); reader=$!; echo a; exec >&4; wait $reader; exit 3"
    assert (namespace_box.run(command).stdout, namespace_box.run(command).exit_code) == ("Xa\n", 3)


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


def test_programs_that_the_command_prefers_do_not_print_its_result(namespace_box):
    namespace_box.run("mkdir bin; cd bin; for name in head base64; do echo 'echo fake' >$name; done; chmod +x *")
    changes = ["PATH=$PWD/bin:$PATH", "hash -p $PWD/bin/head head; hash -p $PWD/bin/base64 base64"]
    changes.append("BASH_CMDS[head]=$PWD/bin/head; BASH_CMDS[base64]=$PWD/bin/base64")
    for change in changes:
        result = namespace_box.run(f"{change}; echo a; echo b >&2; exit 3")

        assert (result.stdout, result.stderr, result.exit_code) == ("a\n", "b\n", 3), change


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


def test_sandbox_without_the_programs_that_are_needed_is_reported(places):
    with new_sandbox(places.served("process-sync"), env={"PATH": "/nowhere"}) as sandbox_id:
        box = places.served("process-sync").client.sandboxes.bind(sandbox_id)

        with pytest.raises(CagedSandboxError, match=r"could not run a script of the SDK.*not found"):
            box.run("echo out")


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


_BUILTINS = ("builtin", "cd", "echo", "eval", "exec", "export", "read", "set", "shift", "trap", "unset")
STARTUP_FILES = {
    "limit": "ulimit -n 64",
    "limit-posix": "ulimit -n 64; set -o posix",
    "trap": "trap 'echo bye' EXIT",
    "functions": "".join(f"{name}() {{ :; }};" for name in _BUILTINS),
}


@each("settings", list(STARTUP_FILES))
def test_command_runs_under_settings_and_functions_of_the_sandbox(places, settings):
    with new_sandbox(places.served("namespace-sync"), env={"BASH_ENV": "/root/settings"}) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, "sync")
        box.exec(f"cat >/root/settings <<'end'\n{STARTUP_FILES[settings]}\nend")
        result = box.run("/bin/echo $A $PWD $#; /bin/echo b >&2; (exit 3)", cwd="/tmp", env={"A": "1 2"})

        assert (result.stdout, result.stderr, result.exit_code) == ("1 2 /tmp 0\n", "b\n", 3)
        assert box.run("exec /bin/echo a; /bin/echo b").stdout.rstrip() == ("b" if settings == "functions" else "a")
        if box.run("command -v su").ok:
            result = box.run("/bin/echo a; (exit 3)", user="root")
            expected = "a\nbye\n" if settings == "trap" else "a\n"
            assert (result.stdout, result.stderr, result.exit_code) == (expected, "", 3)


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
            box.run("exec /bin/sh -c 'echo out; exit 3'")
        with pytest.raises(CagedSandboxError, match="it has no program 'base64'"):
            box.run("cat", stdin="in")
