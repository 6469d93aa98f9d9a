"""`wait_for_port` and `wait_until`: what they wait for, and what their errors say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from cases import each
from workspace_testing import PLACES, new_sandbox, on_shells

from caged import CagedAPIError, CagedError, CagedNotFoundError, CagedSandboxError, CagedTimeoutError

#: Prints the port on which it listens.
SERVER = """\
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def port_of(process):
    return int(next(chunk.text for chunk in process.stream() if chunk.stream == "stdout"))


#: With a network of its own: the port has to be one that has a preview.
@pytest.mark.parametrize("place", ["namespace-sync", "bwrap-async", "busybox-sync"])
def test_wait_for_port_returns_the_preview_url(places, place):
    level, _, kind = place.partition("-")
    server = "httpd -f -p 127.0.0.1:8000" if level == "busybox" else f"python3 -c '{SERVER}' 8000"
    with new_sandbox(places.served(place), level == "busybox", network_mode="none") as sandbox_id:
        box = places.bind(place, sandbox_id, kind)
        process = box.start(f"while [ ! -e go ]; do sleep 0.02; done; exec {server}")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(box.wait_for_port, 8000, 60, process=process)
            assert not waiting.done()
            box.run("echo started >go")
            url = waiting.result(60)

        assert httpx.get(f"{url}/go").text == "started\n"
        assert box.wait_for_port(8000) == url


@pytest.mark.parametrize("place", [place for place in PLACES if place != "busybox-sync"])  # which has no Python
def test_wait_for_port_without_preview_returns_an_empty_url(box):
    process = box.start(["python3", "-c", SERVER, "0"])

    assert box.wait_for_port(port_of(process), process=process) == ""

    process.kill()


@on_shells
def test_wait_for_port_ends_when_the_process_has_exited(box):
    process = box.start("echo starting; echo 'address in use' >&2; exit 3")

    with pytest.raises(CagedSandboxError) as raised:
        box.wait_for_port(65000, 60, process=process)

    assert str(raised.value) == (
        f"process {process.pid} (command {process.command!r}) of sandbox {box.id} exited with 3 before something "
        "listened on port 65000\nstdout: starting\nstderr: address in use"
    )
    assert raised.value.sandbox_id == box.id


@on_shells
def test_wait_for_port_that_takes_too_long_shows_what_the_process_printed(box):
    process = box.start("echo still compiling; sleep 1000")
    next(iter(process.stream()))

    with pytest.raises(CagedTimeoutError) as raised:
        box.wait_for_port(65000, 0.3, process=process)

    assert raised.value.timeout == 0.3
    message = str(raised.value)
    assert message.startswith(f"nothing listens on port 65000 of sandbox {box.id} after 0.3 s; ports on which ")
    assert f"process {process.pid} (command 'echo still compiling; sleep 1000')" in message
    assert message.endswith("runs\nstdout: still compiling")
    process.kill()


def test_wait_for_port_that_takes_too_long_shows_other_ports_and_the_log(own_box):
    process = own_box.start(["python3", "-c", SERVER, "0"])
    port = port_of(process)
    own_box.wait_for_port(port)
    own_box.exec("echo a line of the log")

    with pytest.raises(CagedTimeoutError, match=f"ports on which something listens: {port}\n") as raised:
        own_box.wait_for_port(65000, 0.3)

    assert "The end of its log:\n" in str(raised.value)
    assert "echo a line of the log" in str(raised.value)


def test_wait_for_port_of_a_sandbox_that_does_not_run_is_an_error(own_box, client):
    client.sandboxes.pause(own_box.id)

    with pytest.raises(CagedAPIError, match="paused"):
        own_box.wait_for_port(8000, 60)


@each(
    "port, timeout, message",
    [
        (0, 1, "port must be 1 to 65535, not 0"),
        (65536, 1, "port must be 1 to 65535"),
        ("80", 1, "port"),
        (True, 1, "port"),
        (80, 0, "timeout"),
        (80, None, "timeout must be a number of seconds"),
        (80, "1", "timeout"),
    ],
)
def test_wait_for_port_refuses_invalid_arguments(process_box, port, timeout, message):
    with pytest.raises(CagedError, match=message):
        process_box.wait_for_port(port, timeout)


def test_wait_for_port_refuses_another_process(process_box, own_box):
    with pytest.raises(CagedError, match="process must be what start"):
        process_box.wait_for_port(80, 1, process=5)
    with pytest.raises(CagedError, match=f"of sandbox {own_box.id}, not {process_box.id}"):
        process_box.wait_for_port(80, 1, process=own_box.start("true"))


def test_wait_until_returns_the_sandbox(places, client):
    for kind in ("sync", "async"):
        with new_sandbox(places.served("process-sync")) as sandbox_id:
            box = places.bind("process-sync", sandbox_id, kind)
            assert box.wait_until("running").id == sandbox_id
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(box.wait_until, "paused", 60)
                client.sandboxes.pause(sandbox_id)
                assert waiting.result(60).status == "paused"
            assert box.status == "paused"


def test_wait_until_destroyed_returns_when_it_is_gone(client):
    box = client.sandboxes.bind(client.sandboxes.create().id)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(box.wait_until, "destroyed", 60)
        client.sandboxes.destroy(box.id)
        assert waiting.result(60).status == "destroyed"
    assert box.wait_until("destroyed").id == box.id


def test_wait_until_that_takes_too_long_says_the_status_and_the_log(own_box):
    own_box.exec("echo a line of the log")

    with pytest.raises(CagedTimeoutError) as raised:
        own_box.wait_until("paused", 0.3)

    assert str(raised.value).startswith(
        f"sandbox {own_box.id} is running, not paused, after 0.3 s\nThe end of its log:\n"
    )
    assert "echo a line of the log" in str(raised.value)


def test_wait_until_ends_when_the_status_can_never_come(client):
    box = client.sandboxes.bind(client.sandboxes.create(init_script="echo broken; exit 3").id)
    try:
        with pytest.raises(CagedSandboxError, match=r"is error and will not be running\nThe end of its log:\n(.|\n)*3"):
            box.wait_until("running", 60)
        assert box.wait_until("error").status == "error"
    finally:
        client.sandboxes.destroy(box.id)


def test_wait_until_of_an_unknown_sandbox_is_not_found(client):
    with pytest.raises(CagedNotFoundError):
        client.sandboxes.bind("cage_unknown").wait_until("running")


@each(
    "status, timeout, message",
    [("runing", 1, "did you mean 'running'"), (None, 1, "status must be one of"), ("running", None, "timeout")],
)
def test_wait_until_refuses_invalid_arguments(process_box, status, timeout, message):
    with pytest.raises(CagedError, match=message):
        process_box.wait_until(status, timeout)
