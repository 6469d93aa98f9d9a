"""A foreign web page's requests, by its own name (Origin) or by a name that it points here (Host), are refused."""

import pytest
from cases import each
from emulator_testing import Api, assert_problem, raw_request


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


OURS = [
    "localhost",
    "localhost:1234",
    "LOCALHOST",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.1.2.3",
    "[::1]",
    "[::1]:4747",
    "sub.localhost",
    "192.168.1.5:4747",
    "10.0.0.1",
    "[fe80::1]",
]
FOREIGN = [
    "evil.example",
    "evil.example:4747",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io",
    "evillocalhost",
    "evil.example@127.0.0.1.evil.example",
    "0x7f.1",
    "2130706433",
    "127.0.0.1 evil",
    "[::1",
    "::::",
    "-",
    "\xff\xfe",
    "http://localhost",
]


@pytest.mark.parametrize("host", OURS)
def test_an_own_name_or_a_plain_address_is_taken(api, host):
    assert api.get("/account", headers={"Host": host}).status_code == 200


@each("host", FOREIGN)
def test_a_foreign_host_is_refused(api, host):
    response = api.get("/account", headers={"Host": host.encode("latin-1")})
    assert_problem(response, 403, "--allow-host")


@pytest.mark.parametrize("head", [b"Host:\r\n", b"Host: \r\n"])
def test_an_empty_host_is_refused(api, head):
    answer = raw_request(
        api.emulator,
        b"GET /v1/account HTTP/1.1\r\n"
        + head
        + f"Authorization: Bearer {api.key}\r\nConnection: close\r\n\r\n".encode(),
    )
    assert b" 403 " in answer.splitlines()[0]


def test_a_missing_host_is_refused(api):
    answer = raw_request(api.emulator, f"GET /v1/account HTTP/1.0\r\nAuthorization: Bearer {api.key}\r\n\r\n".encode())
    assert b" 403 " in answer.splitlines()[0]


def test_two_hosts_are_refused(api):
    answer = raw_request(
        api.emulator,
        b"GET /v1/account HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n"
        + f"Authorization: Bearer {api.key}\r\nConnection: close\r\n\r\n".encode(),
    )
    assert answer.split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "http://localhost:3000", "https://127.0.0.1:8080", "http://[::1]:1", "http://app.localhost"],
)
def test_an_origin_of_this_machine_is_taken(api, origin):
    assert api.get("/account", headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "https://192.168.1.5",
        "http://10.0.0.1",
        "null",
        "",
        "localhost",
        "file://",
        "http://",
        "http://localhost@evil.example",
        "http://[::1",
        "\xff",
    ],
)
def test_a_foreign_origin_is_refused(api, origin):
    response = api.get("/account", headers={"Origin": origin.encode("latin-1")})
    assert_problem(response, 403, "Origin")


@each("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
@each("path", ["/sandboxes", "/nothing", "/account/keys"])
def test_foreign_host_is_refused_before_anything_else(api, method, path):
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        response = api.request(method, path, headers={**headers, "Authorization": "Bearer wrong"})
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers


def test_health_and_downloads_are_behind_the_same_gate(api, box):
    url = api.get(f"/snapshots/{api.snapshot(box)}/download").json()["url"]
    assert api.get(url, headers={"Host": "evil.example"}).status_code == 403
    assert api.get(f"{api.emulator.base_url}/healthz", headers={"Origin": "https://evil.example"}).status_code == 403


def test_names_can_be_allowed(own_emulator, new_api):
    api = new_api(own_emulator(isolation="process", allow_hosts=("Caged.Internal",)))
    assert api.get("/account", headers={"Host": "caged.internal:4747"}).status_code == 200
    assert api.get("/account", headers={"Origin": "http://caged.internal"}).status_code == 200
    assert api.get("/account", headers={"Host": "x.caged.internal"}).status_code == 403


def test_a_download_url_names_the_host_of_the_request(api, box):
    snapshot = api.snapshot(box)
    url = api.get(f"/snapshots/{snapshot}/download", headers={"Host": "localhost:1234"}).json()["url"]
    assert url.startswith("http://localhost:1234/v1/snapshots/")


def test_emulator_listens_on_loopback_only(emulator):
    assert emulator.base_url.startswith("http://127.0.0.1:")
    assert emulator._runtime._socket.getsockname()[0] == "127.0.0.1"


def test_a_host_option_of_all_addresses_still_answers_on_loopback(own_emulator):
    emulator = own_emulator(host="0.0.0.0", isolation="process")
    with Api(emulator, emulator.api_key) as api:
        assert api.base_url.host == "127.0.0.1"
        assert api.get("/account").status_code == 200
