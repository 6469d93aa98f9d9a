"""`caged-emulator serve`, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading

import fork_server
import httpx
import pytest
from cli_testing import COMMAND, run
from emulator_testing import eventually


def test_serve_prints_the_url_and_lines_that_work_in_a_shell(serve, env):
    served = serve()
    exports = served.exports()
    assert re.fullmatch(r"Caged emulator \S+ on http://127\.0\.0\.1:\d+ \(isolation: \w+\)\n", served.lines[0])
    assert list(exports) == ["CAGED_BASE_URL", "CAGED_API_KEY", "CAGED_EMULATOR_URL", "CAGED_EMULATOR_ADMIN_KEY"]
    assert exports["CAGED_EMULATOR_URL"] == exports["CAGED_BASE_URL"]
    assert re.fullmatch(r"caged_adm_[a-z0-9]{32}", exports["CAGED_EMULATOR_ADMIN_KEY"])
    assert exports["CAGED_BASE_URL"] in served.lines[0]
    assert re.fullmatch(r"caged_sk_[a-z0-9]{32}", exports["CAGED_API_KEY"])
    assert served.get("/v1/account").status_code == 200
    # They work in a shell.
    script = "".join(line for line in served.lines if line.startswith("export")) + "env"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=env, timeout=60)
    assert {f"{name}={value}" for name, value in exports.items()} <= set(done.stdout.splitlines()), done.stderr


def test_the_ready_file_is_written_once_it_answers_and_is_the_users_alone(serve, tmp_path):
    ready = tmp_path / "ready.json"
    ready.write_text("old")
    ready.chmod(0o666)
    served = serve("--port", "0", "--ready-file", str(ready))

    def written():
        try:
            text = ready.read_text()
        except FileNotFoundError:
            return None  # the old one is gone, the new one not there yet
        return text != "old" and json.loads(text)

    content = eventually(written, "the ready file")
    assert httpx.get(f"{content['base_url']}/healthz", trust_env=False, verify=False, timeout=60).status_code == 200
    assert set(content) == {"base_url", "api_key", "admin_key", "pid"}
    assert content["pid"] == served.process.pid
    assert content["base_url"] == served.exports()["CAGED_BASE_URL"]
    assert content["api_key"] == served.exports()["CAGED_API_KEY"]
    assert content["admin_key"] == served.exports()["CAGED_EMULATOR_ADMIN_KEY"]
    assert ready.stat().st_mode & 0o777 == 0o600
    served.process.send_signal(signal.SIGINT)
    served.end()
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]


def test_a_ready_file_that_became_anothers_is_left_alone(serve, tmp_path):
    ready = tmp_path / "ready.json"
    served = serve("--port", "0", "--ready-file", str(ready))
    eventually(ready.exists, "the ready file")
    ready.write_text('{"pid": 1}')
    served.process.send_signal(signal.SIGTERM)
    served.end()
    assert ready.read_text() == '{"pid": 1}'


def test_a_ready_file_that_cannot_be_written_is_a_usage_error(env, tmp_path):
    state = tmp_path / "state"
    done = run(
        "serve", "--port", "0", "--state-dir", str(state), "--ready-file", str(tmp_path / "no" / "ready"), env=env
    )
    assert done.returncode == 2
    assert "ready file" in done.stderr
    assert "Traceback" not in done.stderr
    assert not state.exists()


def test_a_ready_file_may_be_named_relative_to_the_current_directory(env, tmp_path):
    process = fork_server.Process(
        [*COMMAND, "serve", "--port", "0", "--ready-file", "ready"],
        cwd=tmp_path,
        env={**env, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually((tmp_path / "ready").exists, "the ready file")
    process.terminate()
    assert process.wait(60) == 0
    assert list(tmp_path.iterdir()) == []


def test_keys_a_port_and_other_settings_can_be_given(serve):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = ("--api-key", "caged_sk_mine", "--admin-key", "caged_adm_mine")
    others = ("--tier", "free", "--budget-action", "destroy", "--seed", "1")
    hosts = ("--allow-host", "one.internal", "--allow-host", "two.internal")
    served = serve("--port", str(port), *keys, *others, *hosts)
    exports = served.exports()
    assert exports == {
        "CAGED_BASE_URL": f"http://127.0.0.1:{port}",
        "CAGED_API_KEY": "caged_sk_mine",
        "CAGED_EMULATOR_URL": f"http://127.0.0.1:{port}",
        "CAGED_EMULATOR_ADMIN_KEY": "caged_adm_mine",
    }
    assert served.get("/v1/account").json()["tier"] == "free"
    url = exports["CAGED_BASE_URL"]
    for name, status in (("one.internal", 200), ("two.internal", 200), ("three.internal", 403)):
        answer = httpx.get(f"{url}/healthz", headers={"Host": name}, trust_env=False, verify=False, timeout=60)
        assert answer.status_code == status


def test_the_keys_may_come_from_the_environment(serve):
    exports = serve(CAGED_EMULATOR_API_KEY="caged_sk_env", CAGED_EMULATOR_ADMIN_KEY="caged_adm_env").exports()
    assert exports["CAGED_API_KEY"] == "caged_sk_env"
    assert exports["CAGED_EMULATOR_ADMIN_KEY"] == "caged_adm_env"


def test_a_port_in_use_is_a_usage_error_in_plain_words(env, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), "--state-dir", str(tmp_path / "s"), env=env)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "choose another port" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--isolation", "vm"], "namespace"),
        (["--isolation", "vm"], "vm"),
        (["--port", "70000"], "65535"),
        (["--port", "-1"], "65535"),
        (["--port", "http"], "http"),
        (["--api-key", ""], "api_key"),
        (["--admin-key", ""], "admin_key"),
        (["--tier", "gold"], "gold"),
        (["--budget-action", "warn"], "warn"),
        (["--seed", "x"], "x"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["--host", "203.0.113.1"], "203.0.113.1"),
        (["--state-dir", "/dev/null/x"], "/dev/null/x"),
        (["--state-dir", "/tmp/with space/x"], "without spaces"),
        (["--ready-file", "/"], "/"),
        (["--no-such-option"], "no-such-option"),
    ],
)
def test_a_setting_that_cannot_be_used_is_a_usage_error_in_plain_words(env, tmp_path, options, text):
    if "with space" in options[-1]:
        options = ["--state-dir", str(tmp_path / "with space")]
    elif "--state-dir" not in options:
        options = [*options, "--state-dir", str(tmp_path / "state")]
    if "--port" not in options:
        options = [*options, "--port", "0"]
    done = run("serve", *options, env=env)
    assert done.returncode == 2, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_isolation_that_the_environment_asks_for_in_vain_is_refused(env):
    done = run("serve", "--port", "0", env={**env, "CAGED_ISOLATION": "vm"})
    assert done.returncode == 2
    assert "use one of auto, namespace, bwrap, process" in done.stderr


# SIGINT and SIGHUP: tests/system/test_nothing_is_left.py.
def test_a_signal_stops_it_cleanly(serve, tmp_path):
    served = serve("--port", "0", "--isolation", "process")  # process numbers are the host's
    box = served.post("/v1/sandboxes", {"template": "minimal"}).json()["id"]
    said = served.post(f"/v1/sandboxes/{box}/exec", {"command": "sleep 1000 & echo $!"}).json()
    served.process.send_signal(signal.SIGTERM)
    assert served.end() == 0
    assert "Traceback" not in "".join(served.errors)
    assert list((tmp_path / "tmp").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(said["output"]), 0)


def test_ctrl_c_in_the_middle_of_a_command_stops_it(serve):
    served = serve()
    box = served.post("/v1/sandboxes", {"template": "minimal"}).json()["id"]
    answers = []
    command = {"command": "touch begun; sleep 1000"}
    thread = threading.Thread(target=lambda: answers.append(served.post(f"/v1/sandboxes/{box}/exec", command).json()))
    thread.start()
    eventually(
        lambda: served.get(f"/v1/sandboxes/{box}/files/content?path=begun").status_code == 200, "the command to begin"
    )
    served.process.send_signal(signal.SIGINT)
    assert served.end() == 0
    thread.join(60)
    assert answers[0]["exit_code"] == -1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_stops_it_at_once(serve, tmp_path, number, code):
    served = serve()
    box = served.post("/v1/sandboxes", {"template": "minimal"}).json()["id"]
    # Many processes and files, so that an orderly end takes a moment.
    served.post(f"/v1/sandboxes/{box}/exec", {"command": "touch $(seq 1000); for i in $(seq 10); do sleep 1000 & done"})
    served.process.send_signal(number)
    served.process.send_signal(number)
    assert served.end() in (code, 0)  # the two may arrive as one
    assert "Traceback" not in "".join(served.errors)
    eventually(lambda: list((tmp_path / "tmp").iterdir()) == [], "the directory to go")
