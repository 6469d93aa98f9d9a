"""Which error an answer becomes, and what it carries."""

import copy
import pickle
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import httpx
import pytest
from cases import each
from sdk_driver import js, problem

import caged
from caged import CagedAPIError, CagedConnectionError, CagedError, CagedPlanLimitError, CagedTimeoutError

LIMIT = {"code": "plan_limit_reached", "message": "2 of 2", "action": "upgrade_plan"}


def caught(driver, reply, kind=CagedAPIError, use=lambda c: c.sandboxes.get("cage_1"), **options):
    options.setdefault("max_retries", 0)
    with pytest.raises(kind) as info:
        driver.run(reply, use, **options)
    return info.value


@each(
    ("status", "name"),
    [
        (400, "CagedValidationError"), (422, "CagedValidationError"), (401, "CagedAuthError"),
        (403, "CagedAuthError"), (404, "CagedNotFoundError"), (429, "CagedRateLimitError"),
        (500, "CagedServerError"), (501, "CagedServerError"), (503, "CagedServerError"),
        (599, "CagedServerError"), (402, "CagedAPIError"), (405, "CagedAPIError"), (409, "CagedAPIError"),
        (410, "CagedAPIError"), (413, "CagedAPIError"), (415, "CagedAPIError"), (451, "CagedAPIError"),
    ],
)  # fmt: skip
def test_error_answer_raises_the_class_of_its_status(driver, status, name):
    error = caught(driver, problem(status, detail="no"))
    assert type(error).__name__ == name
    assert (error.status, error.detail, error.reason, str(error)) == (status, "no", None, "no")


@pytest.mark.parametrize("status", [402, 403, 404, 429, 500, 503])
def test_plan_limit_in_an_error_answer_selects_the_class_whatever_the_status(driver, status):
    error = caught(driver, problem(status, detail="no more", reason=LIMIT))
    assert type(error) is CagedPlanLimitError
    assert error.reason == caged.ErrorReason("plan_limit_reached", "2 of 2", "upgrade_plan")


def test_another_reason_leaves_the_class_to_the_status(driver):
    error = caught(driver, problem(409, reason={"code": "invalid_state", "subject_id": 5}))
    assert type(error) is CagedAPIError
    assert error.reason == caged.ErrorReason("invalid_state")


@pytest.mark.parametrize("reason", [None, "plan_limit_reached", [], {}, {"code": ""}, {"code": 5}, {"message": "x"}])
def test_a_reason_without_a_code_is_ignored(driver, reason):
    error = caught(driver, problem(403, reason=reason))
    assert type(error) is caged.CagedAuthError
    assert error.reason is None


@each(
    ("body", "detail", "message"),
    [
        ({"detail": "d", "error": "e", "title": "t"}, "d", "d"),
        ({"detail": "", "error": "e"}, "e", "e"),
        ({"detail": 5, "error": "e"}, "e", "e"),
        ({"error": "target_sandbox_id required"}, "target_sandbox_id required", "target_sandbox_id required"),
        ({"title": "Forbidden"}, None, "Forbidden (HTTP 418)"),
        ({"title": 5}, None, 'HTTP 418: {"title":5}'),
        ([1], None, "HTTP 418: [1]"),
        ("x", None, 'HTTP 418: "x"'),
    ],
)
def test_detail_and_message_of_a_json_body(driver, body, detail, message):
    error = caught(driver, js(body, 418))
    assert (error.detail, str(error), error.body) == (detail, message, body)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("404 page not found\n", "HTTP 404: 404 page not found"),
        ("", "HTTP 404"),
        ("  \n", "HTTP 404"),
        ("x" * 200, "HTTP 404: " + "x" * 200),
        ("x" * 201, "HTTP 404"),
    ],
)
def test_message_of_a_plain_text_body(driver, text, message):
    error = caught(driver, httpx.Response(404, text=text))
    assert (str(error), error.text, error.body, error.detail) == (message, text, None, None)


@pytest.mark.parametrize(
    ("content", "content_type", "body"),
    [
        (b'{"detail":"d"}', "application/problem+json; charset=utf-8", {"detail": "d"}),
        (b'{"detail":"d"}', "Application/JSON", {"detail": "d"}),
        (b'{"detail":"d"}', "text/plain", None),
        (b'{"detail":', "application/json", None),
        (b"\xff\xff", "application/json", None),
        (b"[" * 200_000, "application/json", None),
        (b"", "application/json", None),
    ],
)
def test_an_error_body_is_json_when_it_says_so_and_is(driver, content, content_type, body):
    error = caught(driver, httpx.Response(400, content=content, headers={"content-type": content_type}))
    assert error.body == body
    assert type(error) is caged.CagedValidationError
    assert isinstance(error.text, str)


def test_error_has_the_request_id_of_the_answer_or_none(driver):
    assert caught(driver, httpx.Response(404, headers={"X-Request-Id": "req_1"})).request_id == "req_1"
    assert caught(driver, httpx.Response(404)).request_id is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0.5", 0.5), ("0", 0), ("", None), ("-1", None), ("soon", None), ("inf", None)],
)
def test_retry_after_in_seconds(driver, header, seconds):
    assert caught(driver, httpx.Response(429, headers={"Retry-After": header})).retry_after == seconds


def test_retry_after_as_a_date(driver):
    def in_(seconds):
        moment = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        return httpx.Response(503, headers={"Retry-After": format_datetime(moment, usegmt=True)})

    assert 25 < caught(driver, in_(30)).retry_after <= 30
    assert caught(driver, in_(-30)).retry_after == 0.0


@each("use", [lambda c: c.sandboxes.get("x"), lambda c: c.sandboxes.destroy("x")])
@each("status", [301, 302, 307, 304])
def test_a_redirect_is_an_error_and_is_not_followed(driver, status, use):
    error = caught(driver, httpx.Response(status, headers={"location": "https://e/x"}), use=use)
    assert (type(error), error.status) == (CagedAPIError, status)
    assert "was redirected to https://e/x" in str(error)
    assert len(driver.requests) == 1


@pytest.mark.parametrize(
    ("use", "options", "timeout", "call"),
    [
        (lambda c: c.sandboxes.list(), {}, 30.0, "GET /sandboxes"),
        (lambda c: c.sandboxes.list(), {"timeout": 4}, 4, "GET /sandboxes"),
        (lambda c: c.sandboxes.create(timeout=9), {"timeout": 4}, 360.0, "POST /sandboxes"),
        (lambda c: c.sandboxes.exec("a", "b"), {"timeout": 4}, 300.0, "POST /sandboxes/a/exec"),
        (lambda c: c.sandboxes.exec("a", "b", timeout=0.2), {}, 0.2, "POST /sandboxes/a/exec"),
        (lambda c: c.files.write("a", "b", "c"), {"timeout": 1.5}, 1.5, "PUT /sandboxes/a/files/content"),
    ],
)
def test_a_timeout_names_the_limit_and_the_call(driver, use, options, timeout, call):
    error = caught(driver, httpx.ReadTimeout("slow"), CagedTimeoutError, use, **options)
    assert error.timeout == timeout
    assert f"{timeout}s" in str(error)
    assert call in str(error)
    limits = driver.request.extensions["timeout"]
    assert set(limits.values()) == {timeout}


def test_timeout_of_none_is_unlimited(driver):
    driver.run(js([]), lambda c: c.sandboxes.list(), timeout=None)
    assert set(driver.request.extensions["timeout"].values()) == {None}


@each(
    "failure",
    [
        httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.WriteError("pipe"),
        httpx.RemoteProtocolError("gone"), httpx.ProxyError("407"), httpx.UnsupportedProtocol("x"),
        httpx.DecodingError("gzip"), RuntimeError("loop is closed"), OSError("no route"), httpx.ReadError(""),
    ],
)  # fmt: skip
def test_every_other_transport_failure_is_a_connection_error(driver, failure):
    error = caught(driver, failure, CagedConnectionError)
    assert "GET /sandboxes/cage_1" in str(error)
    assert (str(failure) or "ReadError") in str(error)
    assert (error.__cause__, error.__context__, error.__suppress_context__) == (None, failure, True)


EXAMPLES = [
    CagedError("m"),
    CagedTimeoutError("m", timeout=3.0),
    CagedConnectionError("m"),
    *(
        getattr(caged, name)(
            "m", status=403, detail="d", reason=caged.ErrorReason("c"), body={"a": [1]}, text="t",
            request_id="r", retry_after=1.0,
        )
        for name in (
            "CagedAPIError", "CagedValidationError", "CagedAuthError", "CagedNotFoundError",
            "CagedRateLimitError", "CagedPlanLimitError", "CagedServerError",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling_and_copying(error):
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), vars(twin)) == (str(error), vars(error))
    assert type(error).__module__ == "caged"
    assert isinstance(error, CagedError)
