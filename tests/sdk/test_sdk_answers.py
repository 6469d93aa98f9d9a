"""How successful answers become values."""

import httpx
import pytest
from cases import each
from sdk_driver import js

import caged
from caged import CagedError


def test_answers_become_typed_models(driver):
    answer = {"id": "cage_1", "status": "running", "cpus": 2, "cost": 1, "config": {"source": "yaml"}}
    box = driver.run(js(answer, 201), lambda c: c.sandboxes.create())
    assert box == caged.Sandbox(id="cage_1", status="running", cpus=2, cost=1.0, config={"source": "yaml"})
    assert isinstance(box.cost, float)


def test_answer_with_an_array_returns_a_list_of_objects(driver):
    files = driver.run(js([{"name": "src", "type": "directory"}, {}]), lambda c: c.files.list("x"))
    assert [entry.is_dir for entry in files] == [True, False]


def test_null_for_an_array_is_an_empty_list(driver):
    assert driver.run(js(None), lambda c: c.sandboxes.list()) == []


def test_a_created_key_holds_its_secret_and_its_info(driver):
    answer = {"key": "caged_sk_secret", "info": {"id": "key_1", "name": "ci"}}
    made = driver.run(js(answer, 201), lambda c: c.account.create_key("ci"))
    assert (made.key, made.info.id) == ("caged_sk_secret", "key_1")
    assert "secret" not in repr(made)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", ""])
def test_json_is_read_whatever_the_content_type_says(driver, content_type):
    reply = httpx.Response(200, content=b'{"id":"cage_1"}', headers={"content-type": content_type})
    assert driver.run(reply, lambda c: c.sandboxes.get("x")).id == "cage_1"


@each(
    ("reply", "message"),
    [
        (httpx.Response(200), "body was empty"),
        (httpx.Response(204), r"body was empty \(HTTP 204\)"),
        (httpx.Response(200, text="<html>"), "not JSON .*content type 'text/plain"),
        (httpx.Response(200, content=b"\xff\xfe\xfa"), "not JSON"),
        (httpx.Response(200, content=b"[" * 200_000), "not JSON"),
        (httpx.Response(200, text="[]"), "expected a JSON object, got an array"),
        (httpx.Response(200, text="null"), "expected a JSON object, got null"),
        (httpx.Response(200, text='"x"'), "expected a JSON object, got a string"),
        (httpx.Response(200, text='{"cpus": "2"}'), "Sandbox.cpus cannot be a string"),
        (httpx.Response(200, text='{"cpus": 1.5}'), "Sandbox.cpus cannot be a number"),
        (httpx.Response(200, text='{"cpus": Infinity}'), "Sandbox.cpus cannot be a number"),
        (httpx.Response(200, text='{"config": []}'), "Sandbox.config cannot be an array"),
    ],
)
def test_an_unreadable_object_answer_is_a_caged_error_that_names_the_call(driver, reply, message):
    with pytest.raises(CagedError, match=message) as caught:
        driver.run(reply, lambda c: c.sandboxes.get("cage_1"))
    assert type(caught.value) is CagedError
    assert "GET /sandboxes/cage_1" in str(caught.value)


@pytest.mark.parametrize("data", [{}, "x", 1, True, [1], [None], [[]]])
def test_an_answer_that_is_not_an_array_of_objects_is_a_caged_error(driver, data):
    with pytest.raises(CagedError, match="GET /sandboxes: expected a JSON"):
        driver.run(js(data), lambda c: c.sandboxes.list())


@pytest.mark.parametrize("reply", [httpx.Response(200), httpx.Response(202, text="no json"), js({"status": "ok"})])
def test_calls_that_return_nothing_do_not_look_at_the_body(driver, reply):
    assert driver.run(reply, lambda c: c.files.write("x", "/a", "b")) is None


@each(
    ("content", "content_type", "text"),
    [
        ("grüß".encode(), "text/plain; charset=utf-8", "grüß"),
        ("grüß".encode(), None, "grüß"),
        ("grüß".encode("latin-1"), "text/plain; charset=latin-1", "grüß"),
        (b"a\xffb", "text/plain", "a\ufffdb"),
        (b"ab", "text/plain; charset=nonsense", "ab"),
        (b"ab", "text/plain; charset=hex", "ab"),
        (b'{"a":1}', "application/json", '{"a":1}'),
        (b"a\r\nb", "text/plain", "a\r\nb"),
        (b"", None, ""),
    ],
)
def test_read_decodes_by_charset_and_read_bytes_does_not(driver, content, content_type, text):
    headers = {"content-type": content_type} if content_type else {}

    def reply(request):
        return httpx.Response(200, content=content, headers=headers)

    assert driver.run(reply, lambda c: c.files.read("x", "/a")) == text
    assert driver.run(reply, lambda c: c.files.read_bytes("x", "/a")) == content


def test_exec_reports_a_failed_command_without_raising(driver):
    result = driver.run(js({"output": "no\n", "exit_code": 1}), lambda c: c.sandboxes.exec("x", "false"))
    assert (result.output, result.exit_code, result.error, result.ok) == ("no\n", 1, None, False)
