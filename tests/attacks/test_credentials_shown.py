"""A credential in a command's output, a prompt or an event is redacted in everything that the emulator keeps:
journal, logs, events and replays. Only the response of the call itself contains it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

KEY = "caged_sk_0123456789abcdefABCDEF"
CREDENTIALS = {
    "an API key": KEY,
    "a session's token": "caged_ses_0123456789abcdef",
    "an admin key": "caged_adm_0123456789abcdef",
    "a password in JSON": '{"password": "hunter2hunter2"}',
    "a token in JSON": '{"token":"hunter2hunter2"}',
    "an access token in JSON": '{"access_token" : "hunter2hunter2"}',
    "a signature": "/x?signature=hunter2hunter2",
    "a password in a URL": "postgres://me:hunter2hunter2@db.test/x",
    "a password with an @ in a URL": "https://me:p@hunter2hunter2@git.test/x",
    "a token as the user in a URL": "HTTPS://hunter2hunter2:x-oauth-basic@git.test/x",
    "a token alone in a URL": "http://hunter2hunter2@git.test/x",
}


def secret_in(text: str) -> str:
    return "hunter2" if "hunter2" in text else text.split("_")[2]


def exec_output(api, box: str, text: str) -> None:
    api.write(box, "said", text)
    assert text in api.output(box, "cat said")


def exec_command(api, box: str, text: str) -> None:
    api.output(box, f": {json.dumps(text)} '{text}'")


def agent_prompt(api, box: str, text: str) -> None:
    api.output(box, f"claude -p '{text}' || true")


def agent_reply(api, box: str, text: str) -> None:
    api.emulator.agent("claude").reply(text, account=api.account_id)
    assert text in api.output(box, "claude -p hello")


def event(api, box: str, text: str) -> None:
    event = {
        "type": "llm_call",
        "timestamp": "2026-01-01T00:00:00Z",
        "sandbox_id": box,
        "payload": {"a": [text], text: 1},
        "meta": {"m": text},
    }
    assert api.post("/events/ingest", json={"events": [event]}).json()["accepted"] == 1


def stub_output(api, box: str, text: str) -> None:
    api.emulator.commands.stub("deploy *", output=text, account=api.account_id)
    assert text in api.output(box, "deploy now")


WAYS: list[Callable[..., None]] = [exec_output, exec_command, agent_prompt, agent_reply, event, stub_output]


def everything_shown(api, box: str) -> dict[str, str]:
    shown = api.emulator.journal
    account = api.account_id
    texts = {
        "commands": [(one.command, one.output) for one in shown.commands(account=account)],
        "prompts": [(one.prompt, one.arguments, one.reply) for one in shown.prompts(account=account)],
        "events": [(one.data, one.id) for one in shown.events(account=account)],
        "requests": [(one.path, one.query, one.response, one.warnings) for one in shown.requests(account=account)],
        "log": api.logs(box),
        "replays": [
            api.get(f"/sessions/{one['id']}/replay").json() for one in api.get(f"/sandboxes/{box}/sessions").json()
        ],
    }
    return {name: json.dumps(text, default=str) for name, text in texts.items()}


@pytest.mark.parametrize("text", CREDENTIALS.values(), ids=CREDENTIALS)
def test_credential_is_redacted_everywhere(api, text: str):
    box = api.sandbox(agents=["claude-code"])
    for way in WAYS:
        way(api, box, text)
    shown = everything_shown(api, box)
    assert [name for name, said in shown.items() if secret_in(text) in said] == []
    assert "***" in shown["commands"]
    assert "***" in shown["events"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("git clone https://me:pw@git.test/x y", "git clone https://***@git.test/x y"),
        ("postgres://me:pw@db.test/x", "postgres://me:***@db.test/x"),
        ("ssh://git@git.test/x", "ssh://git@git.test/x"),
        ("http://a.test:8080/x?mail=me@b.test", "http://a.test:8080/x?mail=me@b.test"),
        ("http://a.test:8080 me@b.test", "http://a.test:8080 me@b.test"),
        ("git@git.test:x/y, https://git.test/x", "git@git.test:x/y, https://git.test/x"),
    ],
)
def test_only_credentials_of_a_url_are_redacted(api, text: str, shown: str):
    box = api.sandbox()
    assert api.output(box, f"echo '{text}'") == f"{text}\n"
    (ran,) = api.emulator.journal.commands(box, account=api.account_id)
    assert (ran.command, ran.output) == (f"echo '{shown}'", f"{shown}\n")


@pytest.mark.parametrize("before", [16_380, 16_384 - len(KEY), 16_384 - len(KEY) // 2, 16_384 - 9, 16_390])
def test_credential_at_truncation_point_is_not_shown_in_part(api, before: int):
    box = api.sandbox()
    api.output(box, f"printf 'x%.0s' $(seq {before}); printf {KEY}; printf ' y%.0s' $(seq 9000)")
    (ran,) = api.emulator.journal.commands(box, account=api.account_id)
    assert "0123" not in (ran.output or "")
