"""`start()`: a command in the background, found again by another client, and ended with all that it has started."""

from __future__ import annotations

import io
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from leftovers import processes_with, unique_seconds, until
from workspace_testing import new_sandbox, on_shells, on_shells_and_clients, opened_places

from caged import (
    Caged,
    CagedConnectionError,
    CagedError,
    CagedNotFoundError,
    CagedProcessLostError,
    CagedSandboxError,
    CagedTimeoutError,
    OutputChunk,
    Process,
)

SCRATCH = "/tmp/.caged-sdk"


@pytest.fixture(scope="module")
def places(emulators):
    """Sandboxes of the module's own: its tests look at all processes that were ever started in one."""
    with opened_places(emulators) as places:
        yield places


@pytest.fixture(autouse=True)
def nothing_running(request):
    """Ends what a test has left in the sandboxes that others share."""
    shared = {"box", "process_box", "namespace_box", "busybox_box"}.intersection(request.fixturenames)
    boxes = [request.getfixturevalue(name) for name in shared]
    yield
    for box in boxes:
        for process in box.processes():
            if poll(process) is None:
                process.kill()
        box.exec(f"rm -f {SCRATCH}/* go")


def poll(process):
    try:
        return process.poll()
    except CagedProcessLostError:
        return "lost"


def files_of(box, process):
    """The beginning of the paths of a process's files."""
    found = box.run(f"for f in {SCRATCH}/*.p; do read -r _ pid _ <$f; echo $pid ${{f##*/}}; done").stdout.splitlines()
    (name,) = (line.partition(" ")[2] for line in found if line.startswith(f"{process.pid} "))
    return f"{SCRATCH}/{name[:-2]}"


def test_process_runs_in_the_background_until_it_exits(box):
    process = box.start("echo $$; echo err >&2; while [ ! -e go ]; do sleep 0.02; done; echo end; exit 7")

    assert process.poll() is None
    until(lambda: process.output().stdout == f"{process.pid}\n")
    assert box.run("true").ok
    box.run("touch go")
    assert process.wait() == 7
    assert process.poll() == 7
    assert (process.output().stdout, process.output().stderr) == (f"{process.pid}\nend\n", "err\n")


@on_shells
def test_process_of_a_word_list_with_options(box):
    box.run("mkdir -p 'a b'")
    words = ["sh", "-c", 'printf "%s|" "$A" "$@"; cat; touch here; echo $0', "it's", "$HOME", "a\nb"]

    process = box.start(words, cwd="/workspace/a b", env={"A": "it's\n"}, stdin=b"\0\xffin")

    assert process.wait() == 0
    assert process.output().stdout_bytes == b"it's\n|$HOME|a\nb|\0\xffinit's\n"
    assert box.run("test -e 'a b/here'").ok
    assert "sh -c" in process.command


@on_shells
def test_exit_codes(box):
    cases = {
        "exit 0": 0,
        "exit 255": 255,
        "no-such-program-here": 127,
        "kill -9 $$": 137,
        "kill -TERM $$": 143,
        "kill -INT $$; sleep 60": 130,
        "trap 'exit 9' EXIT; exit 2": 9,
        "set -e; false; exit 0": 1,
        "exec sh -c 'exit 6'": 6,
        "echo 'open": 2,
        "# nothing": 0,
        f": {'a' * 100_000}; exit 4": 4,
    }
    processes = [(code, command, box.start(command)) for command, code in cases.items()]

    for code, command, process in processes:
        assert process.wait() == code, command[:100]
        assert process.command == command


@on_shells_and_clients
def test_stdin_of_any_form_and_size(box):
    for content in (b"", b"short", b"\0\xff" * 50_000):
        for stdin in (content, io.BytesIO(content)):
            process = box.start("cat", stdin=stdin)
            assert process.wait() == 0
            assert process.output().stdout_bytes == content
    process = box.start("cat; echo end")
    assert process.wait() == 0
    assert process.output().stdout == "end\n"


@on_shells
def test_process_that_cannot_start_is_an_error_and_leaves_nothing(box):
    for options, message in (
        ({"cwd": "/missing"}, "working directory '/missing' cannot be entered"),
        ({"user": "unknown-user"}, "no user 'unknown-user'"),
        ({"env": {"1A": ""}}, "name '1A'"),
    ):
        with pytest.raises(CagedError, match=message):
            box.start("touch /workspace/ran", **options)
    assert [process for process in box.processes() if "/workspace/ran" in process.command] == []
    assert not box.run("test -e /workspace/ran").ok


def test_process_of_another_user(namespace_box):
    box = namespace_box
    if not box.run("su daemon -s /bin/sh -c true").ok:
        pytest.skip("this sandbox has root as its only user")
    seconds = unique_seconds()

    process = box.start(f"id -un; cat; pwd; echo $$; sleep {seconds}", user="daemon", cwd="/tmp", stdin="in;")

    until(lambda: process.output().stdout == f"daemon\nin;/tmp\n{process.pid}\n")
    process.kill("TERM")
    assert process.wait() == 143
    assert processes_with(seconds) == []
    long = box.start(f": {'a' * 100_000}; id -un", user="daemon")
    assert long.wait() == 0
    assert long.output().stdout == "daemon\n"


def test_wait_ends_as_soon_as_the_process(process_box, busybox_box):
    for box in (process_box, busybox_box):
        process = box.start("while [ ! -e go ]; do sleep 0.01; done; exit 3")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(process.wait)
            assert not waiting.done()
            box.run("touch go")
            assert waiting.result(60) == 3


@on_shells
def test_wait_that_is_too_short_says_what_was_printed(box):
    process = box.start("echo started; echo problem >&2; sleep 1000")
    until(lambda: process.output().stderr)

    with pytest.raises(CagedTimeoutError) as raised:
        process.wait(0.2)

    assert raised.value.timeout == 0.2
    assert str(raised.value) == (
        f"process {process.pid} (command 'echo started; echo problem >&2; sleep 1000') of sandbox {box.id} still runs "
        "after 0.2 s\nstdout: started\nstderr: problem"
    )
    assert process.poll() is None


TREES = {
    "child": "sleep {seconds}",
    "session": "setsid sleep {seconds} & wait",
    "daemon": "(setsid sleep {seconds} >/dev/null 2>&1 </dev/null &); sleep {seconds}",
    "daemon that was left": "(setsid sleep {seconds} >/dev/null 2>&1 </dev/null &)",
    "empty environment": "(env -i setsid sleep {seconds} >/dev/null 2>&1 </dev/null &); sleep {seconds}",
    "ignores TERM": "trap '' TERM HUP INT; sleep {seconds}; sleep {seconds}",
    "restarts children": "while :; do sh -c 'sleep {seconds}'; done",
}


def kill_and_find_nothing(box, kinds):
    for what in kinds:
        seconds = unique_seconds()
        process = box.start(TREES[what].format(seconds=seconds))
        until(lambda mark=seconds: any(f"sleep {mark}" in line for line in processes_with(mark)))
        if what == "daemon that was left":
            assert process.wait() == 0

        process.kill()

        assert processes_with(seconds) == [], what
        assert process.wait() in ((0,) if what == "daemon that was left" else (137,)), what
        process.kill()


@on_shells
def test_kill_ends_the_whole_tree(box):
    kill_and_find_nothing(box, TREES)


@pytest.mark.parametrize("place", ["bwrap-sync", "process-async"], indirect=True)
def test_kill_ends_the_whole_tree_at_other_levels(box):
    kill_and_find_nothing(box, ["child", "daemon that was left", "empty environment"])


def test_command_line_of_what_watches_a_process_does_not_hold_the_command(namespace_box):
    seconds = unique_seconds()
    namespace_box.start(f"exec sleep {seconds}")

    until(lambda: [line.partition(": ")[2] for line in processes_with(seconds)] == [f"sleep {seconds} "])


def test_kill_ends_no_other_process(namespace_box):
    seconds = unique_seconds()
    other = namespace_box.start(f"sleep {seconds}")
    process = namespace_box.start("sleep 1000")

    process.kill()

    assert process.wait() == 137
    assert other.poll() is None
    assert processes_with(seconds)


def test_signal_by_name_and_number(namespace_box):
    for name in ("TERM", "SIGTERM", "sigterm", 15, signal.SIGTERM):
        process = namespace_box.start("trap 'echo got it; exit 4' TERM; echo ready; while :; do sleep 0.02; done")
        assert next(iter(process.stream())).text == "ready\n"

        process.kill(name)

        assert process.wait() == 4, name
        assert process.output().stdout == "ready\ngot it\n"


@on_shells
def test_interrupt_ends_a_process_that_does_not_ignore_it(box):
    seconds = unique_seconds()
    process = box.start(f"sleep {seconds}; echo not here")
    until(lambda: any(f"sleep {seconds}" in line for line in processes_with(seconds)))

    process.kill("INT")

    assert process.wait() == 130
    assert processes_with(seconds) == []


def test_process_can_be_stopped_and_continued(namespace_box):
    process = namespace_box.start("while :; do echo x; sleep 0.02; done")
    until(lambda: process.output().stdout)
    process.kill("STOP")
    assert process.poll() is None
    before = process.output().stdout
    assert process.output().stdout == before

    process.kill("CONT")

    until(lambda: len(process.output().stdout) > len(before))


def test_signal_that_does_not_exist_is_refused(process_box):
    process = process_box.start("sleep 1000")

    for name in ("", "TREM", "SIG", 0, -1, 65, 1.5, None, True):
        with pytest.raises(CagedError, match="signal"):
            process.kill(name)

    assert process.poll() is None


def test_misspelled_signal_gets_a_suggestion(process_box):
    with pytest.raises(CagedError, match="signal 'TREM' is unknown; did you mean 'TERM'"):
        process_box.start("true").kill("TREM")


def test_stream_gives_both_streams_until_the_end(box):
    process = box.start(
        "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two >&2; printf 'half '; sleep 0.1; echo line; exit 1"
    )
    stream = iter(process.stream())

    assert next(stream) == OutputChunk("stdout", b"one\n", "one\n")
    box.run("touch go")
    rest = list(stream)

    assert "".join(chunk.text for chunk in rest if chunk.stream == "stdout") == "half line\n"
    assert b"".join(chunk.data for chunk in rest if chunk.stream == "stderr") == b"two\n"
    assert process.poll() == 1
    assert [chunk.stream for chunk in process.stream()] == ["stdout", "stderr"]


@on_shells
def test_stream_of_much_output_is_whole(box):
    process = box.start("yes 0123456789abcde | head -c 2500001; yes err | head -c 1200000 >&2")
    received = {"stdout": b"", "stderr": b""}

    for chunk in process.stream():
        received[chunk.stream] += chunk.data

    assert received["stdout"] == (b"0123456789abcde\n" * 156251)[:2500001]
    assert received["stderr"] == b"err\n" * 300000
    output = process.output()
    assert (output.stdout_bytes, output.stderr_bytes) == (received["stdout"], received["stderr"])


def test_characters_in_pieces_are_text(process_box):
    process = process_box.start(
        "printf 'a\\303'; while [ ! -e go ]; do sleep 0.02; done; printf '\\251'; printf 'b\\342\\202' >&2"
    )
    stream = iter(process.stream())

    first = next(stream)
    process_box.run("touch go")
    rest = list(stream)

    assert (first.text, first.data) == ("a", b"a\303")
    texts = {name: "".join(chunk.text for chunk in rest if chunk.stream == name) for name in ("stdout", "stderr")}
    assert texts == {"stdout": "\xe9", "stderr": "b\ufffd"}
    assert b"".join(chunk.data for chunk in rest if chunk.stream == "stderr") == b"b\342\202"


def test_process_is_found_by_another_client(box, served):
    first = box.start("echo one; sleep 1000")
    second = box.start(["sh", "-c", "exit 5", "it's"])
    assert second.wait() == 5

    with Caged(api_key=served.api_key, base_url=served.base_url) as other:
        again = other.sandboxes.bind(box.id)
        found = {process.pid: process for process in again.processes()}

        assert set(found) == {first.pid, second.pid}
        assert found[first.pid].command == "echo one; sleep 1000"
        assert found[second.pid].command == second.command
        assert found[second.pid].poll() == 5
        process = again.process(first.pid)
        assert isinstance(process, Process)
        until(lambda: process.output().stdout == "one\n")
        process.kill()
    assert first.wait() == 137


def test_number_of_no_process_is_an_error(process_box):
    process = process_box.start("sleep 1000")

    with pytest.raises(CagedError, match=f"no process 1 in sandbox .*its processes: {process.pid}"):
        process_box.process(1)
    with pytest.raises(CagedError, match="pid"):
        process_box.process("1")


def test_another_process_with_the_same_number_is_not_mistaken(process_box):
    process = process_box.start("sleep 1000")
    path = files_of(process_box, process)
    # As if the number had been given to a process that was started later: the record is older than what runs.
    process_box.run(f"read -r a b c d e f <{path}.p; echo $a $b $((c-1)) $d $((e-1)) $f >{path}.p")

    with pytest.raises(CagedProcessLostError) as raised:
        process_box.process(process.pid).poll()

    assert raised.value.pid == process.pid
    process_box.run(f"read -r a b c d e f <{path}.p; echo $a $b $((c+1)) $d $((e+1)) $f >{path}.p")
    assert process.poll() is None


@on_shells
def test_process_whose_supervisor_was_killed_runs_on_and_is_then_lost(box):
    process = box.start("echo started; while [ ! -e go ]; do sleep 0.02; done; echo end")
    path = files_of(box, process)
    box.run(f"read -r _ _ _ super _ <{path}.p; kill -9 $super", check=True)
    assert process.poll() is None

    box.run("touch go")
    with pytest.raises(CagedProcessLostError, match=f"process {process.pid} .*was lost") as raised:
        process.wait()

    error = raised.value
    assert isinstance(error, CagedSandboxError)
    assert (error.sandbox_id, error.command) == (box.id, process.command)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with pytest.raises(CagedProcessLostError):
        process.poll()
    received = []
    with pytest.raises(CagedProcessLostError):
        received.extend(process.stream())
    assert process.output().stdout == "started\nend\n"


def test_process_whose_files_were_removed_is_lost(process_box):
    process = process_box.start("sleep 1000")
    path = files_of(process_box, process)
    process_box.exec(f"read -r _ pid _ <{path}.p; kill -9 $pid; rm -f {SCRATCH}/*")

    with pytest.raises(CagedProcessLostError):
        process.wait()


def test_process_whose_exit_code_was_overwritten_is_an_error(own_box):
    process = own_box.start("exit 3")
    path = files_of(own_box, process)
    until(lambda: own_box.run(f"[ -s {path}.x ]&&echo abc >{path}.x").ok)

    for call in (process.poll, process.wait, process.output, lambda: list(process.stream())):
        with pytest.raises(CagedSandboxError, match=r"exited .* abc"):
            call()


def test_process_that_is_killed_as_it_is_started_is_an_error(places):
    with new_sandbox(places.served("namespace-sync"), env={"BASH_ENV": "/root/file"}) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, "sync")
        # `$0` of the shell that watches a process is the file of its script.
        box.exec("echo 'case $0 in *.s) kill -9 0;; esac' >/root/file")

        with pytest.raises(CagedSandboxError, match="was killed as it was started"):
            box.start("echo a")
        assert box.processes() == []
        assert box.run(f"ls {SCRATCH}/*.l {SCRATCH}/*.s").stdout == ""


@on_shells
def test_empty_command_is_a_process_like_others(box):
    process = box.start("")

    assert process.wait() == 0
    assert [(one.pid, one.command, one.poll()) for one in box.processes()] == [(process.pid, "", 0)]


@on_shells
def test_incomplete_record_leaves_the_other_processes_in_the_list(box):
    broken = [box.start("exit 3") for _ in range(4)]
    whole = box.start("exit 4")
    for process in (*broken, whole):
        process.wait()
    no_command, half_command, no_numbers, no_code = (files_of(box, process) for process in broken)

    box.exec(f"rm {no_command}.l; echo a >{half_command}.l; echo @x >{no_numbers}.p; echo x >{no_code}.x")

    listed = {process.pid: process.command for process in box.processes()}
    expected = {broken[0].pid: "", broken[1].pid: "", whole.pid: "exit 4"}
    assert {pid: command for pid, command in listed.items() if pid in expected} == expected
    assert box.process(whole.pid).poll() == 4


def test_reused_number_is_that_of_the_running_process(namespace_box):
    running = namespace_box.start("sleep 1000")
    ended = namespace_box.start("exit 3")
    ended.wait()
    path = files_of(namespace_box, ended)
    # As if the process that has ended had the number, too.
    namespace_box.run(f"read -r a b c <{path}.p; echo $a {running.pid} $c >{path}.p")

    assert namespace_box.process(running.pid).poll() is None


@on_shells
def test_signal_to_the_process_group_leaves_the_exit_code(box):
    assert box.start("kill -TERM 0; sleep 60").wait() == 143


def test_sandbox_that_was_paused_reports_the_process_as_it_is(own_box, client):
    process = own_box.start("sleep 1000")
    done = own_box.start("exit 3")
    assert done.wait() == 3
    client.sandboxes.pause(own_box.id)
    with pytest.raises(CagedSandboxError, match="paused"):
        process.poll()
    client.sandboxes.resume(own_box.id)

    assert own_box.process(done.pid).poll() == 3
    assert poll(process) in (None, "lost")
    assert own_box.start("exit 4").wait() == 4


def test_destroyed_sandbox_is_not_found(client):
    box = client.sandboxes.bind(client.sandboxes.create().id)
    process = box.start("sleep 1000")
    client.sandboxes.destroy(box.id)

    for call in (process.poll, process.wait, process.kill, process.output, box.processes):
        with pytest.raises(CagedNotFoundError):
            call()


def test_process_holds_nothing_of_the_call_that_started_it(process_box):
    process = process_box.start("ls -l /proc/self/fd/; sleep 1000")
    until(lambda: process.output().stdout.count("->") > 2)

    assert [line for line in process.output().stdout.splitlines() if "pipe:" in line and "-> pipe" in line] == []


def test_variables_of_the_sandbox_arrive_unchanged(process_box):
    names = ("f", "n", "line", "code", "stat", "super", "since", "pid", "mark", "rest")
    given = {name: f"own {name}" for name in names}
    result = process_box.start("; ".join(f"echo ${name}" for name in names), env=given)

    assert result.wait() == 0
    assert result.output().stdout == "".join(f"own {name}\n" for name in names)


def test_many_processes_at_once(namespace_box):
    with ThreadPoolExecutor(8) as pool:
        processes = list(pool.map(lambda number: namespace_box.start(f"echo {number}; exit {number}"), range(16)))
        codes = list(pool.map(lambda process: process.wait(), processes))

    assert codes == list(range(16))
    assert [process.output().stdout for process in processes] == [f"{number}\n" for number in range(16)]
    assert {process.pid for process in namespace_box.processes()} == {process.pid for process in processes}


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("answer", "error"),
    [(interrupt, KeyboardInterrupt), (lambda: httpx.ReadError("the connection broke"), CagedConnectionError)],
    ids=["interrupted", "connection lost"],
)
def test_start_whose_answer_does_not_arrive_leaves_no_process(namespace_box, monkeypatch, answer, error):
    box, seconds = namespace_box, unique_seconds()
    exchange = box._session._exchange

    def lost(request):
        arrived = exchange(request)
        if b"@started" in request.content:
            # The process runs, and the answer that says so is lost.
            until(lambda: processes_with(seconds))
            return answer()
        return arrived

    known = len(box.processes())
    monkeypatch.setattr(box._session, "_exchange", lost)

    with pytest.raises(error):
        box.start(f"setsid sleep {seconds}; sleep {seconds}")

    monkeypatch.undo()
    assert processes_with(seconds) == []
    assert len(box.processes()) == known


def test_input_that_cannot_be_read_leaves_no_file(namespace_box):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise OSError("bad disk")

    for _ in range(20):
        with pytest.raises(CagedError, match="bad disk"):
            namespace_box.start("cat", stdin=Failing())
    for _ in range(2):
        namespace_box.run("true")  # removes what is left of others

    assert int(namespace_box.run(f"ls {SCRATCH} | grep -c '[.]0$'").stdout) <= 16
