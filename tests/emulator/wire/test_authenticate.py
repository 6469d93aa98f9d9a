"""Who may ask: keys, scopes, and other people's things."""

import httpx
import pytest
from cases import each
from emulator_testing import Api, assert_problem


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


CALLS = [
    ("GET", "/account"),
    ("GET", "/account/keys"),
    ("POST", "/account/keys"),
    ("DELETE", "/account/keys/key_1"),
    ("GET", "/sandboxes"),
    ("POST", "/sandboxes"),
    ("GET", "/sandboxes/cage_1"),
    ("DELETE", "/sandboxes/cage_1"),
    ("POST", "/sandboxes/cage_1/pause"),
    ("POST", "/sandboxes/cage_1/resume"),
    ("GET", "/sandboxes/cage_1/logs"),
    ("POST", "/sandboxes/cage_1/exec"),
    ("GET", "/sandboxes/cage_1/files"),
    ("GET", "/sandboxes/cage_1/files/content"),
    ("PUT", "/sandboxes/cage_1/files/content"),
    ("GET", "/sandboxes/cage_1/git/diff"),
    ("GET", "/sandboxes/cage_1/snapshots"),
    ("POST", "/sandboxes/cage_1/snapshots"),
    ("GET", "/snapshots/snap_1"),
    ("DELETE", "/snapshots/snap_1"),
    ("POST", "/snapshots/snap_1/restore"),
    ("GET", "/snapshots/snap_1/download"),
]
WRITES = [call for call in CALLS if call[0] != "GET"]


@each(("method", "path"), CALLS)
def test_a_call_without_a_key_is_refused(api, method, path):
    assert_problem(httpx.request(method, f"{api.base_url}{path[1:]}", trust_env=False, verify=False, timeout=60), 401)


@each(("method", "path"), CALLS)
def test_a_call_with_a_wrong_key_is_refused(api, method, path):
    assert_problem(
        api.request(method, path, headers={"Authorization": "Bearer caged_sk_wrong"}), 401, "invalid API key"
    )


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "{key}", "Basic {key}", "Bearer{key}", "Bearer x{key}", "Token {key}", "Bearer {key} x"],
)
def test_a_malformed_authorization_header_is_refused(api, header):
    assert_problem(api.get("/account", headers={"Authorization": header.format(key=api.key)}), 401)


def test_a_key_of_bytes_that_are_not_ascii_is_refused(api):
    assert_problem(api.get("/account", headers={"Authorization": b"Bearer \xff\xfe\xe4"}), 401)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_read_in_any_case_and_spacing(api, scheme):
    assert api.get("/account", headers={"Authorization": f"{scheme} {api.key}"}).status_code == 200


def test_call_with_its_key_in_the_query_is_refused(api):
    response = httpx.get(
        f"{api.base_url}account",
        params={"token": api.key, "api_key": api.key},
        trust_env=False,
        verify=False,
        timeout=60,
    )
    assert_problem(response, 401)


def test_malformed_body_with_a_wrong_key_is_refused_for_the_key(api):
    response = api.post("/sandboxes", content=b"{broken", headers={"Authorization": "Bearer unknown"})
    assert_problem(response, 401)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_read_only_key_is_refused_on_everything_but_get(api, emulator, method, path):
    with read_only(api) as reader:
        response = reader.request(method, path)
        assert_problem(response, 403, "read-only", "read_only_key")
        assert response.json()["reason"]["subject_type"] == "api_key"


def test_a_read_only_key_destroys_nothing(api, box):
    with read_only(api) as reader:
        assert reader.delete(f"/sandboxes/{box}").status_code == 403
    assert api.status(box) == "running"


def test_read_only_key_is_accepted_for_get_requests(api, box):
    api.write(box, "note", "seen")
    with read_only(api) as reader:
        assert reader.status(box) == "running"
        assert reader.read(box, "note").text == "seen"
        assert reader.head(f"/sandboxes/{box}").status_code == 200


def test_a_revoked_key_is_refused_at_once(api):
    made = api.post("/account/keys", json={"name": "short", "scope": "full"}).json()
    with Api(api.emulator, made["key"]) as second:
        assert second.get("/account").status_code == 200
        assert api.delete(f"/account/keys/{made['info']['id']}").status_code == 204
        assert_problem(second.get("/account"), 401)


CALLS_OF_A_SANDBOX = [
    ("GET", "", None),
    ("DELETE", "", None),
    ("POST", "/pause", None),
    ("POST", "/resume", None),
    ("GET", "/logs", None),
    ("POST", "/exec", {"command": "true"}),
    ("GET", "/files", None),
    ("GET", "/files/content?path=x", None),
    ("PUT", "/files/content?path=x", {"content": ""}),
    ("GET", "/git/diff", None),
    ("GET", "/snapshots", None),
    ("POST", "/snapshots", {}),
]


def test_another_accounts_sandbox_is_not_found(api, other, box):
    api.snapshot(box)
    for method, path, body in CALLS_OF_A_SANDBOX:
        response = other.request(method, f"/sandboxes/{box}{path}", json=body)
        assert_problem(response, 404, "sandbox not found")
        assert api.status(box) == "running", (method, path)


def test_another_accounts_snapshot_is_not_found(api, other, box):
    snapshot, target = api.snapshot(box), other.sandbox()
    for method, path in ("GET", ""), ("DELETE", ""), ("GET", "/download"), ("POST", "/restore"):
        body = {"target_sandbox_id": target} if path == "/restore" else None
        assert_problem(other.request(method, f"/snapshots/{snapshot}{path}", json=body), 404, "snapshot not found")
        assert api.get(f"/snapshots/{snapshot}").status_code == 200, (method, path)


def test_a_snapshot_is_not_restored_into_another_accounts_sandbox(api, other, box):
    target = other.sandbox()
    other.write(target, "mine", "untouched")
    assert_problem(api.restore(api.snapshot(box), target), 404, "sandbox not found")
    assert other.read(target, "mine").text == "untouched"


def test_lists_hold_only_the_accounts_own(api, other, box):
    assert [found["id"] for found in api.get("/sandboxes").json()] == [box]
    assert other.get("/sandboxes").json() == []


def read_only(api):
    made = api.post("/account/keys", json={"name": "reader", "scope": "read_only"}).json()
    return Api(api.emulator, made["key"])
