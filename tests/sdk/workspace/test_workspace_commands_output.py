"""What `run()` returns: exact streams of any size, and the files that hold them meanwhile."""

from __future__ import annotations

import shlex
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cases import each
from leftovers import until
from workspace_testing import new_sandbox, on_shells

from caged import CagedError, CagedSandboxError
from caged._workspace import pieces

SCRATCH = "/tmp/.caged-sdk"


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
        results = list(pool.map(run, range(32)))

    assert results == [(f"in {number}", f"{number}\n", number) for number in range(32)]


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
