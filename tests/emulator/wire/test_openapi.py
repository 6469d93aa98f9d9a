"""The OpenAPI document, and the answers of every call against it. (All other tests here check each of their answers
against it too: `emulator_testing.Api`.)"""

import re

import conformance
import httpx
import pytest
from cases import each
from referencing import Registry

from caged.emulator.wire.all_operations import all_operations
from caged.emulator.wire.openapi import document


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


SERVED = [operation for operation in all_operations() if operation.status != 501]
IDS = [operation.name for operation in SERVED]
COMMON = {"X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}


def described(operation):
    return conformance.described()["paths"][operation.path][operation.method.lower()]


def path_of(operation, value="unknown"):
    return re.sub(r"{\w+}", value, operation.path)


def request(api, operation, **options):
    """Send it with the key that it needs: the admin key for the emulator's own calls, which are about the account of
    `api`."""
    url = str(api.base_url.join(path_of(operation)))
    if operation.admin:
        options["headers"] = {"Authorization": f"Bearer {api.emulator.admin_key}"}
        options["params"] = {"account": api.account_id, **options.get("params", {})}
        if operation.name == "emulator.journal.steps.stream":
            options["params"].setdefault("wait", "0")  # otherwise it never ends
    return api.request(operation.method, url, **options)


@pytest.fixture
def crawled_once(monkeypatch):
    """The validator looks through all schemas for each dynamic reference, which takes more than half of its time, and
    does not change its registry of them."""
    crawl, crawled = Registry.crawl, {}

    def crawl_once(registry):
        if id(registry) not in crawled:
            crawled[id(registry)] = registry, crawl(registry)
        return crawled[id(registry)][1]

    monkeypatch.setattr(Registry, "crawl", crawl_once)


@pytest.mark.usefixtures("crawled_once")
def test_openapi_document_is_valid_openapi_3_1():
    from openapi_spec_validator import OpenAPIV31SpecValidator  # takes a twelfth of the time that collection takes

    found = conformance.described()
    assert found["openapi"] == "3.1.0"
    # Unlike `validate`, which looks for the best of the errors, this checks everything once.
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []


def test_document_is_served_without_a_key(emulator):
    response = httpx.get(f"{emulator.base_url}/openapi.json", trust_env=False, verify=False, timeout=60)
    assert response.headers["content-type"] == "application/json"
    assert response.json() == document(all_operations())


def test_document_has_every_operation_once():
    methods = [method for path in conformance.described()["paths"].values() for method in path.values()]
    assert sorted(method["operationId"] for method in methods) == sorted(IDS)
    assert len(set(IDS)) == len(IDS)


def test_every_operation_says_what_it_answers():
    """A reply that was forgotten shows as an empty answer: only operations that answer 204 or 101 have none."""
    for operation in SERVED:
        found = described(operation)
        assert found["tags"] == [operation.name.partition(".")[0]], operation.name
        has_content = bool(found["responses"][str(operation.status)].get("content"))
        assert has_content == (operation.status not in (101, 204)), operation.name
        in_path = {parameter["name"] for parameter in found["parameters"] if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", operation.path)), operation.name


def test_every_error_is_a_problem_with_the_common_headers():
    for operation in SERVED:
        for status, answer in described(operation)["responses"].items():
            if int(status) < 400:
                continue
            assert "application/problem+json" in answer["content"], (operation.name, status)
            assert set(answer["headers"]) >= COMMON, (operation.name, status)
            assert ("Retry-After" in answer["headers"]) == (status == "429"), (operation.name, status)


def test_without_a_key_only_public_operations_answer(api):
    for operation in SERVED:
        url = str(api.base_url.join(path_of(operation)))
        response = api.request(operation.method, url, headers={"Authorization": ""})
        assert (response.status_code == 401) == (not operation.public), operation.name
        security = [] if operation.public else [{"admin": []}] if operation.admin else None
        assert described(operation).get("security") == security, operation.name


@each("operation", SERVED)
def test_answer_to_any_body_is_one_that_the_document_names(api, operation):
    """Unknown ids, no query, bodies good and bad: `api` checks each answer against the document."""
    has_body = operation.method in ("POST", "PUT", "PATCH")
    for content in (b"", b"{}", b"[]", b"{", b'{"name": 1}') if has_body else (b"",):
        response = request(api, operation, content=content)
        assert str(response.status_code) in described(operation)["responses"], content
        if "{id}" in operation.path and operation.body is None and operation.status != 101:
            assert response.status_code in (400, 403, 404), content


def test_query_of_a_wrong_type_is_an_error(api):
    for operation in SERVED:
        for name, kind in operation.query.items():
            if kind is int and "{" not in operation.path:
                assert request(api, operation, params={name: "x"}).status_code == 400, (operation.name, name)


def test_method_that_a_path_does_not_have_is_405_with_those_that_it_has(api):
    for operation in SERVED:
        allowed = {method.upper() for method in conformance.described()["paths"][operation.path]}
        response = api.request("PATCH", str(api.base_url.join(path_of(operation))))
        assert response.status_code == 405, operation.name
        assert allowed <= {method.strip() for method in response.headers["allow"].split(",")}, operation.name


def test_success_of_every_core_operation(api):
    """Each that needs something to be there first. `api` checks the answers."""
    box = api.sandbox()
    at = f"/sandboxes/{box}"
    calls = [
        ("GET", "/sandboxes", None),
        ("GET", at, None),
        ("GET", f"{at}/logs?tail=5", None),
        ("POST", f"{at}/exec", {"command": "echo hello; exit 3"}),
        ("PUT", f"{at}/files/content?path=a.txt", {"content": "text"}),
        ("GET", f"{at}/files/content?path=a.txt", None),
        ("GET", f"{at}/files", None),
        ("GET", f"{at}/git/diff", None),
        ("GET", f"{at}/snapshots", None),
        ("POST", f"{at}/pause", None),
        ("POST", f"{at}/exec", {"command": "true"}),
        ("POST", f"{at}/resume", None),
        ("GET", "/account", None),
        ("GET", "/account/keys", None),
    ]
    for method, path, body in calls:
        response = api.request(method, path, json=body)
        assert response.is_success, (method, path, response.text)
    key = api.post("/account/keys", json={"name": "second"}).json()["info"]["id"]
    snapshot = api.snapshot(box)
    download = api.get(f"/snapshots/{snapshot}/download").json()["url"]
    assert api.get(download).content[:2] == b"\x1f\x8b"
    assert api.restore(snapshot, box).status_code == 200
    for path in (f"/snapshots/{snapshot}", f"/account/keys/{key}", at):
        assert api.delete(path).status_code == 204


def test_the_check_fails_on_what_the_document_does_not_name(api):
    response = api.get("/account")
    response.status_code = 418
    with pytest.raises(AssertionError, match=r"account\.get answered 418"):
        conformance.check(response)


def test_the_check_fails_on_a_body_of_another_shape(api):
    response = api.get("/account")
    response._content = b'{"id": 1}'
    with pytest.raises(AssertionError, match=r"account\.get answered 200 with \$"):
        conformance.check(response)
