"""Network modes: `none` has no network, `allowlist` reaches listed hosts through the proxy only.

The tests do not leave this machine: the server listens on the host's loopback interface.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cases import each

from caged import Caged, CagedValidationError
from caged.emulator import Emulator
from caged.emulator.cage.proxy import allowed


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"hello {self.path} {self.headers.get('Proxy-Connection')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def host_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(isolated_client: Caged) -> Caged:
    """Only where network modes are enforced."""
    return isolated_client


FETCH = """
import sys, urllib.request, urllib.error
for url in sys.argv[1:]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            print(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode().strip())
    except OSError as error:
        print("no way:", error)
"""


def fetch(client: Caged, sandbox_id: str, url: str, environment: str = "") -> str:
    (answer,) = fetch_all(client, sandbox_id, [url], environment)
    return answer


def fetch_all(client: Caged, sandbox_id: str, urls: list[str], environment: str = "") -> list[str]:
    """Fetch several in one program: Python takes longer to start than to fetch them."""
    client.files.write(sandbox_id, "/workspace/fetch.py", FETCH)
    answers = client.sandboxes.exec(sandbox_id, f"{environment} python3 fetch.py {' '.join(urls)}").output.splitlines()
    assert len(answers) == len(urls), answers
    return answers


def test_full_uses_network_of_host(client: Caged, host_port: int) -> None:
    box = client.sandboxes.create(template="python-312")
    assert fetch(client, box.id, f"http://127.0.0.1:{host_port}/x") == "200 hello /x None"
    client.sandboxes.destroy(box.id)


def test_none_reaches_only_own_loopback(client: Caged, host_port: int) -> None:
    box = client.sandboxes.create(template="python-312", network_mode="none")
    assert fetch(client, box.id, f"http://127.0.0.1:{host_port}/").startswith("no way")
    seen = client.sandboxes.exec(box.id, "cat /proc/net/route | wc -l; cat /proc/net/dev | grep -c eth").output.split()
    assert seen == ["1", "0"]
    served = client.sandboxes.exec(
        box.id,
        "echo inside > index.html; python3 -m http.server 3000 >/dev/null 2>&1 & "
        "for i in $(seq 3000); do (: </dev/tcp/127.0.0.1/3000) 2>/dev/null && break; sleep 0.02; done; "
        "python3 fetch.py http://127.0.0.1:3000/index.html",
    )
    assert served.output == "200 inside\n\n"
    client.sandboxes.destroy(box.id)


# At level `bwrap` sandboxes get the same network, and two tests look at that.
at_one_level = pytest.mark.parametrize("isolated_client", ["namespace"], indirect=True)


@at_one_level
def test_two_sandboxes_can_listen_on_same_port(client: Caged, host_port: int) -> None:
    modes = [{"network_mode": "none"}, {"network_mode": "allowlist", "allowlist": ["example.invalid"]}]
    listen = (
        "import socket; s = socket.create_server(('127.0.0.1', 3000)); print('listening', flush=True); "
        "s.settimeout(20); s.accept()"
    )
    boxes = [client.sandboxes.create(template="python-312", **mode) for mode in modes]  # type: ignore[arg-type]
    for box in boxes:
        started = client.sandboxes.exec(
            box.id,
            f'python3 -c "{listen}" >out & for i in $(seq 200); do grep -s listening out && break; sleep 0.01; done',
        )
        assert started.output == "listening\n"
    for box in boxes:
        client.sandboxes.destroy(box.id)


def test_allowlist_allows_listed_hosts_and_names_refused_ones(client: Caged, host_port: int) -> None:
    box = client.sandboxes.create(
        template="python-312", network_mode="allowlist", allowlist=[f"localhost:{host_port}", "*.example.invalid"]
    )
    through = "no_proxy= NO_PROXY="
    urls = [f"http://localhost:{host_port}/a?b=c", f"http://127.0.0.1:{host_port}/"]
    urls += ["http://evil.invalid/steal", "https://evil.invalid/steal"]
    listed, by_number, refused, encrypted = fetch_all(client, box.id, urls, through)
    assert listed == "200 hello /a?b=c None"
    assert by_number.startswith("403 127.0.0.1:")
    assert refused == "403 evil.invalid:80 is not on the sandbox's allowlist"
    assert "403" in encrypted
    assert fetch(client, box.id, f"http://127.0.0.1:{host_port}/").startswith("no way")  # bypassing the proxy
    events = [entry.message for entry in client.sandboxes.logs(box.id) if entry.type == "network"]
    assert "evil.invalid:80 was refused: it is not on the allowlist" in events
    assert "evil.invalid:443 was refused: it is not on the allowlist" in events
    client.sandboxes.destroy(box.id)


@at_one_level
def test_connect_opens_tunnel_to_listed_host(client: Caged, host_port: int) -> None:
    box = client.sandboxes.create(template="python-312", network_mode="allowlist", allowlist=[f"localhost:{host_port}"])
    code = f"""
import http.client
c = http.client.HTTPConnection("127.0.0.1", 49128, timeout=5)
c.set_tunnel("localhost", {host_port})
c.request("GET", "/tunnel")
print(c.getresponse().read().decode())
"""
    client.files.write(box.id, "/workspace/tunnel.py", code)
    assert client.sandboxes.exec(box.id, "python3 tunnel.py").output == "hello /tunnel None\n"
    client.sandboxes.destroy(box.id)


@at_one_level
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_and_git_use_proxy(client: Caged, host_port: int) -> None:
    box = client.sandboxes.create(network_mode="allowlist", allowlist=["example.invalid"])
    refused = client.sandboxes.exec(box.id, "curl -sS http://evil.invalid/; git ls-remote http://evil.invalid/r 2>&1")
    assert "evil.invalid:80 is not on the sandbox's allowlist" in refused.output
    assert "403" in refused.output
    client.sandboxes.destroy(box.id)


def test_process_level_refuses_restricted_network_modes() -> None:
    with Emulator(isolation="process") as emulator, emulator.client() as client:
        for mode in ({"network_mode": "none"}, {"network_mode": "allowlist", "allowlist": ["a.invalid"]}):
            with pytest.raises(
                CagedValidationError, match=r"cannot be enforced by process isolation.*--allow-unenforced"
            ):
                client.sandboxes.create(**mode)  # type: ignore[arg-type]
        assert client.sandboxes.list() == []


def test_process_level_accepts_unenforced_network_modes_with_option() -> None:
    with Emulator(isolation="process", allow_unenforced=True) as emulator, emulator.client() as client:
        box = client.sandboxes.create(network_mode="none")
        assert box.status == "running"
        assert any("not enforced" in entry.message for entry in client.sandboxes.logs(box.id))


@each(
    ("allowlist", "host", "port", "passes"),
    [
        (["example.com"], "example.com", 443, True),
        (["example.com"], "EXAMPLE.com.", 80, True),
        (["example.com"], "example.com", 8080, False),
        (["example.com:8080"], "example.com", 8080, True),
        (["example.com:8080"], "example.com", 443, False),
        (["example.com"], "www.example.com", 443, False),
        (["example.com"], "example.com.evil.com", 443, False),
        (["*.example.com"], "www.example.com", 443, True),
        (["*.example.com"], "a.b.example.com", 443, True),
        (["*.example.com"], "example.com", 443, False),
        (["*.example.com"], "evilexample.com", 443, False),
        (["*.example.com:9000"], "a.example.com", 9000, True),
        (["::1"], "::1", 80, True),
        (["[::1]:9000"], "::1", 9000, True),
        ([], "example.com", 443, False),
    ],
)
def test_allowlist_matches_host_and_port(allowlist: list[str], host: str, port: int, passes: bool) -> None:
    assert allowed(allowlist, host, port) is passes
