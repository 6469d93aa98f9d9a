"""The ports that a sandbox's programs listen on, and their protection."""

import os

import pytest
from emulator_testing import Api, assert_problem, eventually
from internals import platform_of

from caged.emulator import EmulatorError
from caged.emulator.platform import limits

#: Listens on the addresses and ports that it is given, and says when it does.
LISTENER = """
import socket, sys, time
kept = []
for word in sys.argv[1:]:
    host, _, port = word.rpartition("@")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((host, int(port)))
    sock.listen()
    kept.append(sock)
open("listening", "w").close()
time.sleep(60)
"""


def listen(api, box, *addresses):
    """Starts a listener in the background; returns when it listens."""
    api.write(box, "listen.py", LISTENER)
    words = " ".join(f"'{address}'" for address in addresses)
    api.output(box, f"rm -f listening; python3 listen.py {words} > said 2>&1 & echo $! > pid")
    eventually(lambda: api.read(box, "listening").status_code == 200, "the program to listen")


def stop(api, box):
    api.output(box, "kill -9 $(cat pid)")


def ports(api, box):
    answer = api.get(f"/sandboxes/{box}/ports")
    assert answer.status_code == 200, answer.text
    return answer.json()


def numbers(api, box):
    return [port["port"] for port in ports(api, box)]


@pytest.fixture
def own(emulator, new_api):
    """A client whose sandboxes have networks of their own, where the isolation can do that."""
    return new_api(emulator)


@pytest.fixture
def lone(own):
    return lone_sandbox(own)


def lone_sandbox(api):
    """A sandbox with a network of its own. Skips where the isolation cannot do that."""
    if not platform_of(api.emulator).isolation.own_network:
        pytest.skip("sandboxes of process isolation share the host's network")
    return api.sandbox(network_mode="none")


def test_a_sandbox_without_servers_has_no_ports(api, box):
    assert ports(api, box) == []


def test_a_server_on_a_web_port_has_a_preview(own, lone):
    listen(own, lone, "0.0.0.0@3000")
    (port,) = ports(own, lone)
    assert port == {
        "port": 3000,
        "protocol": "http",
        "preview_url": f"{own.emulator.base_url}/_preview/{lone}/3000/",
        "protected": False,
        "detected_at": port["detected_at"],
    }
    assert port["detected_at"].endswith("Z")


def test_another_port_is_tcp_without_a_preview(own, lone):
    listen(own, lone, "0.0.0.0@5432")
    (port,) = ports(own, lone)
    assert (port["port"], port["protocol"], port["preview_url"]) == (5432, "tcp", "")


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this machine has no IPv6")
def test_loopback_and_ipv6_ports_are_found_and_sorted(own, lone):
    listen(own, lone, "::1@8000", "127.0.0.1@3000", "::@5000", "0.0.0.0@4200")
    assert numbers(own, lone) == [3000, 4200, 5000, 8000]


def test_a_port_that_is_closed_is_gone(own, lone):
    listen(own, lone, "127.0.0.1@3000", "127.0.0.1@9999")
    assert numbers(own, lone) == [3000, 9999]
    stop(own, lone)
    eventually(lambda: numbers(own, lone) == [], "the ports to go")


def test_port_is_found_without_a_request_within_two_searches(own, lone):
    assert 2 * limits.PORTS_SECONDS <= 2
    listen(own, lone, "127.0.0.1@8080")
    eventually(lambda: "port 8080 opened" in own.log_text(lone), "the port to be logged")
    stop(own, lone)
    eventually(lambda: "port 8080 closed" in own.log_text(lone), "the end of the port to be logged")


def test_when_it_was_found_stays(own, lone):
    listen(own, lone, "127.0.0.1@8080")
    first = ports(own, lone)
    assert ports(own, lone) == first


def test_at_most_twenty_are_listed(own, lone):
    listen(own, lone, *(f"127.0.0.1@{9000 + number}" for number in range(25)))
    assert len(ports(own, lone)) == 20


def test_two_sandboxes_may_listen_on_the_same_port(own, lone):
    second = own.sandbox(network_mode="none")
    listen(own, lone, "127.0.0.1@3000")
    assert (numbers(own, lone), numbers(own, second)) == ([3000], [])
    listen(own, second, "127.0.0.1@3000")
    assert (numbers(own, lone), numbers(own, second)) == ([3000], [3000])


@pytest.fixture(params=["process", "namespace", "bwrap"])
def shared(request, own_emulator, new_api) -> Api:
    """An emulator whose sandboxes are in the host's network, at each level."""
    try:
        return new_api(own_emulator(isolation=request.param))
    except EmulatorError as error:
        pytest.skip(f"{request.param} isolation does not work here: {error}")


def test_in_the_hosts_network_only_the_ports_of_its_own_processes_are_listed(shared):
    box, second = shared.sandbox(), shared.sandbox()
    listen(shared, box, "127.0.0.1@0")  # whichever is free; the emulator itself and others listen too
    (number,) = numbers(shared, box)
    assert number != int(shared.emulator.base_url.rpartition(":")[2])
    assert numbers(shared, second) == []
    stop(shared, box)
    eventually(lambda: numbers(shared, box) == [], "the port to go")


def test_a_port_is_an_event(own_emulator, new_api):
    own = new_api(own_emulator())
    lone = lone_sandbox(own)
    seen = []
    platform_of(own.emulator).signals.connect("event", lambda sandbox, event: seen.append(event))
    listen(own, lone, "127.0.0.1@3000")
    ports(own, lone)
    assert [event.data for event in seen if event.type == "network"] == [{"operation": "port_opened", "port": 3000}]


def test_looking_at_ports_does_not_keep_a_sandbox_awake(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    clock.advance(50)
    ports(api, box)
    clock.advance(15)
    assert_problem(api.get(f"/sandboxes/{box}/ports"), 409, "paused", "sandbox_not_running")


def test_unknown_and_foreign_sandboxes_are_404s(api, other, box):
    for client, name in ((api, "cage_unknown0"), (other, box)):
        assert_problem(client.get(f"/sandboxes/{name}/ports"), 404, "sandbox not found")
        assert_problem(
            client.post(f"/sandboxes/{name}/ports/3000/protect", json={"password": "x"}), 404, "sandbox not found"
        )


# --- protecting


def protect(api, box, port, body):
    return api.post(f"/sandboxes/{box}/ports/{port}/protect", json=body)


def test_a_port_can_be_protected(own, lone):
    listen(own, lone, "127.0.0.1@3000", "127.0.0.1@5432")
    answer = protect(own, lone, 3000, {"password": "opensesame"})
    url = f"{own.emulator.base_url}/_preview/{lone}/3000/"
    assert (answer.status_code, answer.json()) == (200, {"port": 3000, "protected": True, "preview_url": url})
    assert [port["protected"] for port in ports(own, lone)] == [True, False]
    assert protect(own, lone, 5432, {"password": "x"}).json()["preview_url"] is None
    assert "opensesame" not in own.log_text(lone)


def test_protection_outlives_the_server(own, lone):
    listen(own, lone, "127.0.0.1@3000")
    protect(own, lone, 3000, {"password": "x"})
    stop(own, lone)
    eventually(lambda: numbers(own, lone) == [], "the port to go")
    listen(own, lone, "127.0.0.1@3000")
    assert [port["protected"] for port in ports(own, lone)] == [True]


def test_a_port_without_a_server_cannot_be_protected(api, box):
    assert_problem(protect(api, box, 3000, {"password": "x"}), 404, "start a server")


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "3000.5", "99999999999999999999", "٣"])
def test_what_is_not_a_port_is_refused(api, box, port):
    assert_problem(protect(api, box, port, {"password": "x"}), 400, "port: must be a number")


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("body", [{}, {"password": ""}, {"password": None}, {"password": 1}, []])
def test_a_protection_needs_a_password(api, box, body):
    assert protect(api, box, 3000, body).status_code == 400


def test_a_paused_sandbox_cannot_be_protected(api, box):
    api.post(f"/sandboxes/{box}/pause")
    assert_problem(protect(api, box, 3000, {"password": "x"}), 409, "paused", "sandbox_not_running")
