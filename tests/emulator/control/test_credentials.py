"""Credentials that are redacted wherever they stand: fields of JSON in JSON, headers of basic authentication."""

from __future__ import annotations

import base64
import json

import pytest

from caged.emulator.control.credentials import redact_credentials

BASIC = base64.b64encode(b"ann:s3cret \xff\xff\xff").decode()
#: Texts with a header, each of which ends with something that is kept.
HEADERS = [
    "curl -H 'Authorization: Basic {}' https://example.com",
    'curl -H "authorization:basic {}" https://example.com',
    "curl --proxy-header 'Proxy-Authorization: Basic {}' https://example.com",
    "git -c http.extraHeader='AUTHORIZATION: BASIC {}' fetch",
    "git -c http.extraHeader=Authorization:\\ Basic\\ {} fetch",
    "requests.get(url, headers={{'Authorization': 'Basic {}'}})",
    '[("authorization", "Basic {}")]',
]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("password", ['pa"secret', "secret", "pa\\secret", 'pa\\"secret', "pa\nsecret"])
def test_whole_value_of_field_is_redacted_in_json_in_json(password, depth):
    text = json.dumps({"password": password, "next": "kept"})
    for _ in range(depth - 1):
        text = json.dumps({"content": text})
    shown = redact_credentials(text)
    assert "secret" not in shown
    for _ in range(depth - 1):
        shown = json.loads(shown)["content"]
    assert json.loads(shown) == {"password": "***", "next": "kept"}


def test_value_that_ends_with_backslash_hides_no_more_than_what_follows_it():
    text = json.dumps({"content": json.dumps({"password": "secret\\", "next": "kept"})})
    shown = redact_credentials(text)
    assert "secret" not in shown
    assert "kept" in shown


@pytest.mark.parametrize("part", ['\\"token\\":\\"\\a', '\\"token\\":\\"x', "\\", '"\\"token'])
def test_time_of_redaction_of_json_in_json_grows_with_length_of_text_alone(part):
    text = part * (2_000_000 // len(part))
    assert len(redact_credentials(text)) < 2 * len(text)


@pytest.mark.parametrize("text", HEADERS)
def test_basic_authentication_in_header_is_redacted(text):
    whole, shown = text.format(BASIC), text.format("***")
    assert redact_credentials(whole) == shown
    assert redact_credentials(whole.encode()) == shown.encode()


def test_basic_authentication_in_json_and_in_json_of_json_is_redacted():
    text = json.dumps({"command": json.dumps({"Authorization": f"Basic {BASIC}"})})
    shown = redact_credentials(text)
    assert BASIC not in shown
    assert json.loads(json.loads(shown)["command"]) == {"Authorization": "Basic ***"}


def test_basic_authentication_with_escaped_slash_is_redacted():
    text = '{{"Authorization": "Basic {}"}}'
    assert redact_credentials(text.format(BASIC.replace("/", "\\/"))) == text.format("***")


@pytest.mark.parametrize("text", ["Basic training", "Authorization: Basic", "no authorization for basic plans"])
def test_text_without_credentials_stays(text):
    assert redact_credentials(text) == text


@pytest.mark.parametrize("part", ["Authorization: ", "Authorization: Basic ", 'uthorization"\\:', "authorization " * 3])
def test_time_of_redaction_grows_with_length_of_text_alone(part):
    """Searching a text of some megabytes ends: an expression that is not linear would take hours."""
    text = part * (2_000_000 // len(part))
    assert "***" not in redact_credentials(text).replace("Basic ***", "")


def test_basic_authentication_of_command_is_redacted_in_journal_log_and_steps(double, client, box):
    client.sandboxes.exec(box, f"echo curl -H 'Authorization: Basic {BASIC}'")
    kept = [*map(vars, double.journal.commands()), *map(vars, double.journal.requests())]
    kept += [vars(step) for step in double.journal.steps()]
    kept += [vars(entry) for entry in client.sandboxes.logs(box)]
    shown = json.dumps(kept, default=str)
    assert BASIC not in shown
    assert "Authorization: Basic ***" in shown
