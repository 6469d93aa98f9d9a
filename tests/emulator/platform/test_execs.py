"""Running commands: the shell, its surroundings, its output, and its end."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cases import each
from emulator_testing import assert_problem, eventually, live, post_and_leave

from caged.emulator import Emulator


def test_the_answer_has_output_and_exit_code_and_the_journal_has_the_duration(api, box):
    assert api.run(box, "sleep 0.02; echo hello") == {"output": "hello\n", "exit_code": 0}
    assert journal_entry(api).duration_ms >= 20


def journal_entry(api):
    """The account's newest command in the emulator's journal."""
    return api.emulator.journal.commands(account=api.account_id)[-1]


@pytest.mark.shared_sandbox
@each(
    ("command", "code"),
    [
        ("true", 0),
        ("false", 1),
        ("exit 7", 7),
        ("exit 255", 255),
        ("", 0),
        ("   ", 0),
        ("# nothing", 0),
        ("no-such-program-at-all", 127),
        ("/workspace", 126),
        ("if", 2),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
        ("sh -c 'kill -INT $$'", 130),
        ("true | false", 1),
        ("false; true", 0),
    ],
)
def test_the_exit_code_is_the_shells(api, box, command, code):
    result = api.run(box, command)
    assert result["exit_code"] == code
    assert "error" not in result


@pytest.mark.shared_sandbox
def test_the_shell_is_bash(api, box):
    assert api.output(box, "a=(1 2 3); echo ${#a[@]} ${BASH_VERSION:+bash}") == "3 bash\n"


@pytest.mark.shared_sandbox
def test_command_runs_in_the_workspace(api, box):
    assert api.output(box, "pwd") == "/workspace\n"


@pytest.mark.shared_sandbox
def test_standard_input_is_empty(api, box):
    assert api.output(box, "cat; read line || echo end") == "end\n"


def test_signal_that_the_emulators_process_ignores_ends_a_command():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with Emulator() as emulator, emulator.client() as client:
            box = client.sandboxes.create().id
            assert client.sandboxes.exec(box, "kill -USR1 $$; echo alive").exit_code == 128 + signal.SIGUSR1
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.shared_sandbox
def test_output_and_errors_come_in_the_order_written(api, box):
    command = "for i in 1 2 3; do echo out $i; echo err $i >&2; done"
    assert api.output(box, command) == "".join(f"out {i}\nerr {i}\n" for i in (1, 2, 3))


def test_the_environment_is_the_documented_one(api):
    box = api.sandbox(env={"MINE": "yes", "EMPTY": ""})
    env = dict(line.split("=", 1) for line in api.output(box, "env -0 | tr '\\0' '\\n'").splitlines())
    for made_by_the_shell in ("PWD", "OLDPWD", "SHLVL", "_"):
        env.pop(made_by_the_shell, None)
    shell, path = env.pop("SHELL"), env.pop("PATH")
    assert shell.rpartition("/")[2] in ("bash", "sh")
    assert "/usr/bin" in path.split(":")
    assert env.pop("LANG").upper().endswith("UTF-8")
    assert env == {
        "HOME": "/root",
        "USER": "root",
        "TERM": "dumb",
        "TMPDIR": "/tmp",
        "CAGED_SANDBOX_ID": box,
        "MINE": "yes",
        "EMPTY": "",
    }


def test_the_environments_values_are_taken_literally(api):
    value = "a b\n$HOME `id` \"'\\ ä€😀 *"
    box = api.sandbox(env={"VALUE": value, "lower-case.odd": "1"})
    assert api.output(box, 'printf %s "$VALUE"') == value


def test_the_sandboxs_env_wins_over_the_defaults(api):
    box = api.sandbox(env={"TERM": "xterm", "LANG": "C"})
    assert api.output(box, "echo $TERM $LANG") == "xterm C\n"


def test_home_and_tmp_are_the_sandboxs_own(api, box):
    api.output(box, "echo h > ~/h; echo t > $TMPDIR/t; echo t2 > /tmp/t2; mktemp > /dev/null")
    assert api.read(box, "/root/h").text == "h\n"
    assert api.read(box, "/tmp/t2").text == "t2\n"
    assert not os.path.exists("/tmp/t2")
    assert api.read(api.sandbox(), "/tmp/t2").status_code == 404


@pytest.mark.shared_sandbox
@each("text", ["ä€😀", "\t\x01\x7f", "\u2028", "a\r\nb", "\ufeff", "\ufffd"])
def test_text_of_any_kind_goes_both_ways(api, box, text):
    assert api.output(box, f"printf %s '{text}'") == text


@pytest.mark.shared_sandbox
def test_output_that_is_not_utf8_is_replaced(api, box):
    assert api.output(box, r"printf 'a\xff\xfeb\xc3'") == "a\ufffd\ufffdb\ufffd"


@pytest.mark.shared_sandbox
def test_a_nul_in_the_output_is_kept(api, box):
    assert api.output(box, r"printf 'a\0b'") == "a\0b"


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("filler", ["x", "ä", "😀"])
@pytest.mark.parametrize("size", [90_000, 150_000, 1_000_000])
def test_a_command_larger_than_an_argument_may_be_runs(api, box, filler, size):
    text = filler * (size // len(filler.encode()))
    assert api.output(box, f"v='{text}'; echo ${{#v}}; exit 0") == f"{len(text)}\n"
    assert api.run(box, f"false # {text}")["exit_code"] == 1


def test_a_large_command_leaves_no_variable_and_no_file_behind(api, box):
    padding = "#" + "x" * 200_000
    assert api.output(box, f"set | grep -c ^__c=; true {padding}") == "0\n"
    assert not [name for name in os.listdir(api.emulator.run_dir / "sandboxes" / box / "opt") if "command" in name]


def test_an_environment_too_large_for_the_kernel_is_an_error_not_a_crash(api):
    box = api.sandbox(env={"BIG": "x" * 200_000})
    result = api.run(box, "true")
    assert (result["exit_code"], result["output"]) == (-1, "")
    assert "could not be started" in result["error"]


def test_exec_answers_when_the_shell_exits_and_children_go_on(api, box):
    # Were it to wait for the pipe, it would wait for a thousand seconds.
    result = api.run(box, "sleep 1000 & echo $! > pid; echo done")
    assert result["output"] == "done\n"
    assert api.output(box, "kill -0 $(cat pid) && echo alive") == "alive\n"


def test_background_child_that_goes_on_writing_is_not_killed(api, box):
    api.output(box, "(while [ ! -e stop ]; do echo noise; sleep 0.01; done; echo survived > after) &")
    api.write(box, "stop", "")
    eventually(lambda: api.read(box, "after").text == "survived\n", "the child to end in order")


def test_what_a_background_child_writes_later_is_in_no_other_output(api, box):
    api.output(box, "(for i in $(seq 50); do echo noise; sleep 0.002; done; touch end) &")
    while api.read(box, "end").status_code == 404:
        assert api.output(box, "echo clean") == "clean\n"


@each(
    "command",
    [
        "sleep 1000",
        "sleep 1000 & wait",
        "setsid -w sleep 1000",
        "trap '' TERM INT HUP; sleep 1000",
        "env -i setsid -w sh -c 'sleep 1000; true'",
    ],
)
def test_a_client_that_hangs_up_kills_the_command_and_its_children(api, box, command):
    api.output(box, "rm -f begun")
    post_and_leave(api, box, f"touch begun; {command}")
    cage = live(api.emulator, box).cage
    eventually(lambda: not children_of(cage.init_pid), "the command to be killed")


def test_hanging_up_leaves_other_commands_alone(api, box):
    api.output(box, "sleep 1000 & echo $! > pid")
    post_and_leave(api, box, "touch begun; sleep 1000")
    cage = live(api.emulator, box).cage
    eventually(lambda: len(children_of(cage.init_pid)) == 1, "the abandoned command to be killed")
    assert api.run(box, "kill -0 $(cat pid)")["exit_code"] == 0


@pytest.mark.parametrize("state", ["paused", "error"])
def test_a_sandbox_that_does_not_run_answers_200_with_an_error(api, state):
    if state == "error":
        box = api.post("/sandboxes", json={"template": "minimal", "init_script": "exit 1"}).json()["id"]
    else:
        box = api.sandbox()
        api.post(f"/sandboxes/{box}/pause")
    result = api.run(box, "echo never")
    assert (result["exit_code"], result["output"]) == (-1, "")
    assert f"is {state}" in result["error"]
    assert ("resume it first" in result["error"]) == (state == "paused")


def test_an_unknown_sandbox_is_a_404(api):
    assert_problem(api.post("/sandboxes/cage_unknown0/exec", json={"command": "true"}), 404, "sandbox not found")


def test_output_over_16_mib_is_cut_and_says_so(api, box):  # 17 MiB through a pipe and JSON
    result = api.run(box, "head -c 17825792 /dev/zero | tr '\\0' x; echo; echo end; exit 3")
    assert (journal_entry(api).truncated, result["exit_code"]) == (True, 3)
    body, _, last = result["output"].rstrip("\n").rpartition("\n")
    assert body == "x" * 16 * 1024 * 1024
    assert "cut" in last
    assert "16 MiB" in last


def test_output_of_exactly_16_mib_is_not_cut(api, box):
    result = api.run(box, "head -c 16777216 /dev/zero | tr '\\0' x")
    assert not journal_entry(api).truncated
    assert result["output"] == "x" * 16 * 1024 * 1024


@pytest.mark.shared_sandbox
@each("missing", ["{}", '{"cmd": "true"}', '{"Command": "true"}'])
def test_a_command_is_required(api, box, missing):
    assert_problem(api.post(f"/sandboxes/{box}/exec", content=missing), 400, "command")


@pytest.mark.shared_sandbox
@each("command", ["a\0b", "\0"])
def test_a_nul_in_a_command_is_a_400(api, box, command):
    assert_problem(api.post(f"/sandboxes/{box}/exec", json={"command": command}), 400, "NUL")


def test_twenty_at_once_are_not_mixed_up(api, box):
    def ask(number):
        return api.output(box, f"echo {number}; sleep 0.0$((RANDOM % 5)); echo {number}")

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(60)))
    assert answers == [f"{number}\n{number}\n" for number in range(60)]


def test_sandboxes_do_not_see_each_others_files(api, box):
    neighbour = api.sandbox()
    api.write(box, "mine", "secret")
    assert api.run(neighbour, "cat /workspace/mine")["exit_code"] != 0
    assert api.output(neighbour, "ls -A") == ""


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /workspace",
        "rm -rf /workspace; echo x > /workspace",
        "rm -rf /workspace; ln -s /nonexistent /workspace",
        'cd ..; rm -rf "$PWD"',
        "rm -rf ~ /tmp",
        "chmod 000 /workspace",
    ],
)
def test_exec_is_answered_after_a_command_removed_what_the_sandbox_needs(api, box, command):
    for padding in (0, 200_000):
        api.run(box, command)
        result = api.run(box, "echo here #" + "x" * padding)
        assert result["output"] == "here\n" or result["error"], padding
    assert api.listing(box).status_code < 500
    assert api.write(box, "f", "x").status_code < 500
    assert api.get(f"/sandboxes/{box}/git/diff").status_code < 500
    assert api.post(f"/sandboxes/{box}/pause").status_code == 204
    assert api.post(f"/sandboxes/{box}/resume").status_code == 204
    assert api.delete(f"/sandboxes/{box}").status_code == 204


def test_a_removed_workspace_comes_back_with_the_next_command(api, box):
    api.run(box, "rm -rf /workspace")
    assert api.output(box, "pwd; ls -A") == "/workspace\n"


def test_commands_are_in_the_log(api, box):
    api.run(box, "exit 4")
    api.run(box, "echo " + "x" * 2000)
    first, second = [line["message"] for line in api.logs(box) if line["type"] == "command"]
    assert first.startswith("$ exit 4 (exit 4, ")
    assert len(second) < 600


def test_a_slow_command_does_not_hold_up_other_requests(api, box):
    thread = threading.Thread(target=lambda: api.run(box, "touch begun; while [ ! -e go ]; do sleep 0.01; done"))
    thread.start()
    eventually(lambda: api.read(box, "begun").status_code == 200, "the slow one to begin")
    assert api.output(box, "echo quick") == "quick\n"
    assert api.write(box, "go", "").status_code == 200
    thread.join(60)
    assert not thread.is_alive()


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return children.read().split()
