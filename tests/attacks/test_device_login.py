"""A device login from a sandbox is denied unless the sandbox's account allows it, and is then for that account. A
web page in a preview cannot log in (Guard 14)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from cases import each
from emulator_testing import Api, api_of, assert_problem
from internals import call_on_loop, platform_of
from net_testing import SECONDS, api, emulator

from caged.emulator import Emulator

#: Logs in as `caged login` does. Prints the last response.
LOGIN = """
import json, sys, urllib.error, urllib.request
url, *codes = sys.argv[1:]
urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
def post(path, body, **headers):
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)
"""
PLAIN = (
    LOGIN
    + """
code = codes[0] if codes else post("/v1/auth/device/code", {})["device_code"]
print(json.dumps(post("/v1/auth/device/token", {"device_code": code})))
"""
)
SPOOFED = (
    LOGIN
    + """
lies = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1", "User-Agent": "Go"}
code = post("/v1/auth/device/code", {}, **lies)["device_code"]
print(json.dumps(post("/v1/auth/device/token", {"device_code": code}, **lies)))
"""
)
#: States of the connection when the emulator looks up its owner. `begin` requests the code.
RAW = """
import json, os, socket, sys, time
port = int(sys.argv[1].rpartition(":")[2])
def head(path, body):
    lines = f"POST {{path}} HTTP/1.1", "Host: localhost", f"Content-Length: {{len(body)}}", "", body
    return "\\r\\n".join(lines).encode()
def answer(connection):
    data = b""
    while b"}}" not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return json.loads(data.partition(b"\\r\\n\\r\\n")[2] or "{{}}")
connection = socket.create_connection(("127.0.0.1", port), 10)
{begin}
code = answer(connection).get("device_code", "")
second = socket.create_connection(("127.0.0.1", port), 10)
second.sendall(head("/v1/auth/device/token", json.dumps({{"device_code": code}})))
print(json.dumps(answer(second)))
"""
ASK = 'connection.sendall(head("/v1/auth/device/code", "{}"))\n'
SHAPES = {
    "as the client does": PLAIN,
    "with headers that lie": SPOOFED,
    "half closed": RAW.format(begin=ASK + "connection.shutdown(socket.SHUT_WR)"),
    "held by a child": RAW.format(begin=ASK + "if os.fork() == 0:\n    time.sleep(3); os._exit(0)"),
    "in flight between two processes": RAW.format(
        begin="""
ours, theirs = socket.socketpair()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # the kernel sends what follows 0.2 s later
connection.sendall(head("/v1/auth/device/code", "{}"))
socket.send_fds(ours, [b"x"], [connection.fileno()])
connection.close()  # from here on no process has the connection, and it is open
time.sleep(0.7)
_, (number,), _, _ = socket.recv_fds(theirs, 1, 1)
connection = socket.socket(fileno=number)
connection.settimeout(10)
"""
    ),
}
#: How the program is started in the sandbox.
STARTS = {
    "command": "python3 login.py {url}",
    "daemon": "(setsid sh -c 'setsid python3 login.py {url} > said 2>&1; touch done' &) & "
    "i=0; while [ ! -e done ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; cat said",
    "empty environment": 'env -i "$(command -v python3)" login.py {url}',
}


@pytest.fixture
def other(emulator: Emulator) -> Iterator[Api]:
    with api_of(emulator) as client:
        yield client
        emulator.remove_account(client.account_id)


def log_in(api: Api, box: str, program: str = PLAIN, start: str = "command", *codes: str) -> dict[str, str]:
    """Run the program in the sandbox and return the last response that it got."""
    api.write(box, "login.py", program)
    api.output(box, "rm -f said done")
    command = STARTS[start].format(url=api.emulator.base_url)
    result = api.run(box, " ".join([command, *codes]))
    assert result["exit_code"] == 0, result
    found: dict[str, str] = json.loads(result["output"].strip().splitlines()[-1])
    return found


def from_host(emulator: Emulator) -> httpx.Response:
    with httpx.Client(base_url=emulator.base_url, trust_env=False, verify=False, timeout=SECONDS) as client:
        code = client.post("/v1/auth/device/code", json={}).json()["device_code"]
        return client.post("/v1/auth/device/token", json={"device_code": code})


def _approvals(api: Api) -> list[str]:
    return [line for line in api.emulator.log_tail(1000) if "has the API key of" in line]


@pytest.mark.parametrize("shape", SHAPES)
def test_login_from_a_sandbox_is_denied(api: Api, shape: str) -> None:
    box, before = api.sandbox(network_mode="full"), _approvals(api)
    found = log_in(api, box, SHAPES[shape])
    assert "access_token" not in found
    assert found["error"] in ("access_denied", "invalid_request"), found
    assert _approvals(api) == before


@pytest.mark.parametrize("start", STARTS)
def test_login_from_any_process_of_a_sandbox_is_denied(api: Api, start: str) -> None:
    box = api.sandbox(network_mode="full")
    found = log_in(api, box, PLAIN, start)
    assert found["error"] == "access_denied"
    assert f"sandbox {box}" in found["detail"]
    assert "allow_device_login" in found["detail"]


def test_login_through_the_allowlist_proxy_is_denied(api: Api) -> None:
    """The connection comes from the proxy, in the emulator's process, on behalf of the sandbox."""
    if api.emulator.isolation == "process":
        pytest.skip("network modes need a network namespace")
    port = api.emulator.base_url.rpartition(":")[2]
    box = api.sandbox(network_mode="allowlist", allowlist=[f"127.0.0.1:{port}"])
    through = PLAIN.replace("ProxyHandler({})", "ProxyHandler({'http': 'http://127.0.0.1:49128'})")
    through = f"import os\nos.environ.pop('no_proxy'), os.environ.pop('NO_PROXY')\n{through}"
    found = log_in(api, box, through)
    assert found.get("error") == "access_denied", found


def test_login_from_this_machine_is_approved_at_once(api: Api) -> None:
    found = from_host(api.emulator).json()
    with Api(api.emulator, found["access_token"]) as cli, Api(api.emulator, api.emulator.api_key) as first:
        assert cli.get("/account").json()["id"] == first.get("/account").json()["id"] == found["account_id"]


def test_sandbox_cannot_redeem_code_of_host(api: Api) -> None:
    box = api.sandbox(network_mode="full")
    with httpx.Client(base_url=api.emulator.base_url, trust_env=False, verify=False, timeout=60) as client:
        code = client.post("/v1/auth/device/code", json={}).json()["device_code"]
        assert log_in(api, box, PLAIN, "command", code)["error"] == "access_denied"
        assert client.post("/v1/auth/device/token", json={"device_code": code}).status_code == 200


def test_allowed_login_is_for_account_of_sandbox_only(api: Api, other: Api) -> None:
    emulator = api.emulator
    box, others = api.sandbox(network_mode="full"), other.sandbox(network_mode="full")
    emulator.allow_device_login(account=api.account_id)
    found = log_in(api, box)
    assert found["account_id"] == api.account_id
    with Api(emulator, found["access_token"]) as cli:
        assert cli.get("/account").json()["id"] == api.account_id
    assert log_in(other, others)["error"] == "access_denied"
    emulator.allow_device_login(False, account=api.account_id)
    assert log_in(api, box)["error"] == "access_denied"


def test_code_cannot_be_redeemed_by_sandbox_of_other_account(api: Api, other: Api) -> None:
    emulator = api.emulator
    box, others = api.sandbox(network_mode="full"), other.sandbox(network_mode="full")
    for account in (api.account_id, other.account_id):
        emulator.allow_device_login(account=account)
    begin = LOGIN + "print(json.dumps(post('/v1/auth/device/code', {})))"
    code = log_in(api, box, begin)["device_code"]
    assert log_in(other, others, PLAIN, "command", code)["error"] == "access_denied"
    assert log_in(api, box, PLAIN, "command", code)["account_id"] == api.account_id


@pytest.mark.parametrize("end", ["reset", "reset_controls"])
def test_reset_revokes_login_permission(api: Api, end: str) -> None:
    api.emulator.allow_device_login(account=api.account_id)
    getattr(api.emulator, end)(account=api.account_id)
    assert log_in(api, api.sandbox(network_mode="full"))["error"] == "access_denied"


#: The headers of a browser's request, by where the page is: a preview by path has the origin of the API.
PAGES = {
    "same origin": {"Origin": "{base}", "Sec-Fetch-Site": "same-origin", "Referer": "{base}/_preview/cage_a/3000/"},
    "same origin, an old browser": {"Origin": "{base}", "Referer": "{base}/_preview/cage_a/3000/"},
    "only an origin": {"Origin": "{base}"},
    "only a referrer": {"Referer": "{base}/_preview/cage_a/3000/"},
    "only fetch metadata": {"Sec-Fetch-Site": "same-origin"},
    "fetch metadata of a navigation": {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    "a preview by name": {"Origin": "http://cage_a-3000.localhost:4747", "Sec-Fetch-Site": "same-site"},
    "localhost": {"Origin": "http://localhost:9999"},
    "a sandboxed frame": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
}


@each("path", ["/v1/auth/device/code", "/v1/auth/device/token"])
@each("page", PAGES)
def test_web_page_cannot_log_in(emulator: Emulator, page: str, path: str) -> None:
    headers = {name: value.format(base=emulator.base_url) for name, value in PAGES[page].items()}
    for media in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        answer = httpx.post(
            emulator.base_url + path,
            content=b"{}",
            headers={**headers, "Content-Type": media},
            trust_env=False,
            verify=False,
            timeout=60,
        )
        assert answer.status_code == 403, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "device_code" not in answer.text


def test_login_from_other_machine_is_denied(emulator: Emulator) -> None:
    from caged.emulator.app import build

    async def ask() -> str:
        transport = httpx.ASGITransport(build(platform_of(emulator)), client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url=emulator.base_url) as far:
            return str((await far.post("/v1/auth/device/code", json={})).json()["device_code"])

    answer = httpx.post(
        f"{emulator.base_url}/v1/auth/device/token",
        json={"device_code": call_on_loop(emulator, ask())},
        trust_env=False,
        verify=False,
        timeout=60,
    )
    assert answer.status_code == 400
    assert answer.json()["error"] == "access_denied"
