"""What is not emulated says so: 501, naming the feature."""

import pytest
from emulator_testing import assert_problem, segment

from caged.emulator.wire.not_implemented import NOT_IMPLEMENTED_OPERATIONS, NOT_IMPLEMENTED_PATHS

CALLS = [
    (method, path, name, feature)
    for feature, paths in NOT_IMPLEMENTED_OPERATIONS.items()
    for path, methods in paths.items()
    for method, name in methods.items()
]


def filled(path):
    for parameter in ("{id}", "{run}", "{tool}"):
        path = path.replace(parameter, segment("a/b"))
    return path.replace("{key:path}", "a/b")[len("/v1") :]


@pytest.mark.parametrize(("method", "path", "name", "feature"), CALLS, ids=[call[2] for call in CALLS])
def test_a_call_that_is_not_emulated_is_a_501_that_names_the_feature(api, method, path, name, feature):
    response = api.request(method, filled(path), json={"name": "x"} if method in ("POST", "PUT") else None)
    assert_problem(response, 501, f"{feature}: not emulated")
    entries = api.emulator.journal.requests(account="*")
    assert [entry.operation for entry in entries if entry.account == api.account_id] == [name]


@pytest.mark.parametrize(("feature", "path"), NOT_IMPLEMENTED_PATHS.items())
@pytest.mark.parametrize("below", ["", "/x", "/x/y"])
def test_features_whose_calls_are_unknown_are_501s_altogether(api, feature, path, below):
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert_problem(api.request(method, path[len("/v1") :] + below), 501, f"{feature}: not emulated")


def test_operation_that_is_not_implemented_needs_a_key(api):
    assert_problem(api.get("/mcp/servers", headers={"Authorization": "Bearer wrong"}), 401)


def test_error_of_a_read_only_key_says_that_it_is_read_only(api):
    key = api.post("/account/keys", json={"name": "r", "scope": "read_only"}).json()["key"]
    response = api.post("/pipelines", headers={"Authorization": f"Bearer {key}"})
    assert_problem(response, 403, code="read_only_key")


def test_what_the_platform_does_not_have_either_is_an_unknown_route(api):
    assert (api.get("/mcp").status_code, api.get("/mcp/nonsense").status_code) == (404, 404)
    assert_problem(api.put("/mcp/servers", json={}), 405)


def test_a_persona_in_a_create_is_ignored_with_a_warning(api):
    api.sandbox(persona_id="p", harness_id="h")
    (entry,) = api.emulator.journal.requests(account=api.account_id)
    assert [warning.split()[0] for warning in entry.warnings] == ["persona_id", "harness_id"]
