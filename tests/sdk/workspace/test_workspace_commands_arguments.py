"""What `run()` is given: words and lines of any length, input, directory, variables and user."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import pytest
from cases import each
from workspace_testing import on_shells, on_shells_and_clients

from caged import CagedError

SCRATCH = "/tmp/.caged-sdk"


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


@pytest.mark.parametrize("place", ["bwrap-sync", "busybox-sync"], indirect=True)
def test_command_of_the_user_whom_commands_have_anyway_needs_no_su(box):
    result = box.run("id -un; echo $#; cat; echo $A; exit 4", user="root", stdin="in;", env={"A": "b'c"})

    assert (result.stdout, result.stderr, result.exit_code) == ("root\n0\nin;b'c\n", "", 4)
    assert box.run(f": {'a' * 100_000}; id -un", user="root").stdout == "root\n"
    process = box.start("id -un; exit 5", user="root")
    assert (process.wait(30), process.output().stdout) == (5, "root\n")


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


def test_names_that_the_shell_sets_itself_are_refused(process_box):
    names = ["BASH", "UID", "SHELLOPTS", "RANDOM", "LINENO", "SECONDS", "EPOCHSECONDS", "OPTIND", "GROUPS", "FUNCNAME"]
    names.append("PIPESTATUS")
    for name in [*names, "BASHPID", "_"]:
        with pytest.raises(CagedError, match=f"env has the name '{name}', which the shell sets itself"):
            process_box.run("true", env={name: "7"})


def test_name_of_the_mark_of_a_command_is_refused(namespace_box):
    with pytest.raises(CagedError, match="'CAGED_SDK_RUN', by which the processes of a command are found"):
        namespace_box.run("true", env={"CAGED_SDK_RUN": "7"})


def test_first_word_that_begins_with_a_minus_is_a_program(process_box):
    assert process_box.run(["-x"]).exit_code == 127


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
