"""Work that grows with a request is bounded or done in pieces, so it does not delay requests of other accounts."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Optional

import httpx
import pytest
from cases import each
from internals import call_on_loop

from caged.emulator import Emulator
from caged.emulator.platform.execs import _decode
from caged.emulator.wire.execs import ExecOut
from caged.emulator.wire.files import FileOut
from caged.emulator.wire.large_bodies import json_array, json_object


class Lag:
    """The longest delay of the emulator's event loop.

    It must be below BOUND, ten times the documented delay, in one of ATTEMPTS: a busy machine may spoil some of them.
    """

    BOUND, ATTEMPTS = 1.0, 6

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.longest = 0.0

    @classmethod
    def attempts(cls, emulator: Emulator) -> Iterator[Lag]:
        """Yield measurements until one is within the bound. Fails when none is."""
        longest = []
        for _attempt in range(cls.ATTEMPTS):
            lag = cls(emulator)
            yield lag
            longest.append(lag.longest)
            if lag.longest < cls.BOUND:
                return
        pytest.fail(f"the event loop did not come round for so many seconds: {longest}")

    @contextmanager
    def measured(self) -> Iterator[Lag]:
        over = threading.Event()

        async def probe() -> None:
            while not over.is_set():
                begun = time.perf_counter()
                await asyncio.sleep(0.005)
                self.longest = max(self.longest, time.perf_counter() - begun)

        thread = threading.Thread(target=lambda: call_on_loop(self._emulator, probe()))
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()


def post_raw(api: Any, path: str, raw: bytes) -> httpx.Response:
    """Like `post`, but with an encoded body, and the response is not parsed."""
    with httpx.Client(base_url=api.base_url, headers=api.headers, timeout=60, trust_env=False, verify=False) as http:
        return http.post(path, content=raw, headers={"Content-Type": "application/json"})


EXEC, CREATE, INGEST = "/sandboxes/{box}/exec", "/sandboxes", "/events/ingest"
MANY = "more than 20,000 values"
EVENT = b'{"events":[{"type":"x","timestamp":"2026-01-01T00:00:00Z","payload":{"a":'


def array(value: bytes, count: int) -> bytes:
    return b"[" + (value + b",") * (count - 1) + value + b"]"


def command_with(key: bytes, value: bytes, count: int) -> bytes:
    return b'{"command":"true","' + key + b'":' + array(value, count) + b"}"


def command_with_keys(count: int) -> bytes:
    return b'{"command":"true",' + b",".join(b'"key%d":1' % number for number in range(count)) + b"}"


def secrets(value: bytes, count: int) -> bytes:
    return b'{"secrets":' + array(value, count) + b"}"


def variables(count: int) -> bytes:
    return b'{"env":{' + b",".join(b'"%x":"1"' % number for number in range(count)) + b"}}"


def event_with(value: bytes, count: int) -> bytes:
    return EVENT + array(value, count) + b"}}]}"


#: Name: path with a placeholder for the sandbox, function that makes the (large) body, status, part of the response.
BODIES: dict[str, tuple[str, Callable[[], bytes], int, str]] = {
    "200,000 unknown keys": (EXEC, lambda: command_with_keys(200_000), 400, MANY),
    "a long array": (EXEC, lambda: command_with(b"x", b"[]", 3_000_000), 400, MANY),
    "objects": (EXEC, lambda: command_with(b"x", b"{}", 3_000_000), 400, MANY),
    "wrong types": (CREATE, lambda: secrets(b"1", 4_000_000), 400, MANY),
    "strings": (CREATE, lambda: secrets(b'"a"', 2_000_000), 400, MANY),
    "variables": (CREATE, lambda: variables(600_000), 400, MANY),
    "escapes": (EXEC, lambda: b'{"command":"true # ' + b'\\",' * 3_000_000 + b'"}', 200, "exit_code"),
    "one text of commas": (EXEC, lambda: b'{"command":": ' + b"," * 9_000_000 + b'"}', 200, "exit_code"),
    "an event": (INGEST, lambda: event_with(b"[]", 3_000_000), 400, "more than 50,000 values"),
    "an event of allowed size": (INGEST, lambda: event_with(b'"x"', 40_000), 200, '"accepted":1'),
    "a text in an event": (INGEST, lambda: EVENT + b'"' + b"x" * 9_000_000 + b'"}}]}', 200, '"accepted":1'),
    "15,000 unknown keys": (EXEC, lambda: command_with_keys(15_000), 200, '"exit_code":0'),
    "a key of 5 MB": (EXEC, lambda: b'{"command":"true","' + b"k" * 5_000_000 + b'":1}', 200, '"exit_code":0'),
}


@pytest.mark.parametrize("name", BODIES)
def test_large_body_is_answered_without_blocking_event_loop(api, name: str):
    path, body, status, said = BODIES[name]
    raw = body()
    box = api.sandbox() if "{box}" in path else ""
    for lag in Lag.attempts(api.emulator):
        with lag.measured():
            answer = post_raw(api, path.format(box=box), raw)
        assert (answer.status_code, said in answer.text) == (status, True), answer.text[:300]
    for request in api.emulator.journal.requests(account=api.account_id):
        assert len(request.warnings) <= 31
        assert sum(map(len, request.warnings)) < 40_000


def test_unknown_keys_over_twenty_are_only_counted(api, box_of: Callable[[], str]):
    body = {"command": "true", **{f"key{number}": 1 for number in range(500)}}
    assert api.post(f"/sandboxes/{box_of()}/exec", json=body).status_code == 200
    warnings = api.emulator.journal.requests(operation="sandboxes.exec", account=api.account_id)[-1].warnings
    assert warnings[0] == "unknown key 'key0' in the body is ignored"
    assert warnings[20:] == ["480 more unknown keys in the body are ignored"]


@pytest.fixture
def box_of(api) -> Callable[[], str]:
    made: list[str] = []

    def box() -> str:
        if not made:
            made.append(api.sandbox())
        return made[0]

    return box


OUTPUTS = {
    "random": "head -c 16000000 /dev/urandom",
    "control characters": "head -c 16000000 /dev/zero | tr '\\0' '\\1'",
    "text": "yes | head -c 16000000",
}


# Redaction takes longest on random output, the encoding as JSON on control characters, whatever the other does.
@pytest.mark.parametrize(("command", "secrets"), [("random", 900), ("control characters", 0), ("text", 900)])
def test_large_output_is_redacted_without_blocking_event_loop(api, command: str, secrets: int):
    env = {f"S{number}": f"secret-value-number-{number}" for number in range(secrets)}
    box = api.sandbox(env=env, secrets=list(env))
    for lag in Lag.attempts(api.emulator):
        with lag.measured():
            raw = post_raw(api, f"/sandboxes/{box}/exec", json.dumps({"command": OUTPUTS[command]}).encode())
        assert raw.status_code == 200
        assert len(raw.json()["output"]) > 7_000_000
    ran = api.emulator.journal.commands(box, account=api.account_id)[-1]
    assert ran.output is not None
    assert len(ran.output) == 16_384


def test_secret_at_truncation_point_is_not_shown_in_part(api):
    secret = "0123456789" * 30
    box = api.sandbox(env={"S": secret}, secrets=["S"])
    api.write(box, "before", "x" * 17_000)
    api.write(box, "after", "y" * 9000)
    for before in range(16_384 - 320, 16_384 + 20, 17):
        api.output(box, f"head -c {before} before; printf %s $S; cat after")
    for ran in api.emulator.journal.commands(box, account=api.account_id):
        assert "012" not in (ran.output or "")


def test_long_secret_is_redacted_completely(api):
    secret = "".join(f"{number:07d}" for number in range(10_000))
    box = api.sandbox(env={"S": secret}, secrets=["S"])
    api.output(box, "printf 'before %s after' $S; printf %s ${S:0:600}")
    (ran,) = api.emulator.journal.commands(box, account=api.account_id)
    assert ran.output == "before ***", "what comes behind so much is not kept"
    api.output(box, "printf 'before %s after' ${S:0:9000}; printf %s ${S:0:600}")
    assert api.emulator.journal.commands(box, account=api.account_id)[-1].output == "before *** after***"
    requests = api.emulator.journal.requests(operation="sandboxes.exec", account=api.account_id)
    assert requests[0].response.startswith('{"output":"before ***')
    assert "0000001" not in requests[0].response
    assert json.loads(requests[1].response)["output"] == "before *** after***"


def test_large_listing_is_complete_and_sorted(api, long_form: bool):
    box, count = api.sandbox(), 200_000 if long_form else 3_000
    api.output(box, f"mkdir many && cd many && seq {count} | xargs touch && touch 'ü\"\\' && ln -s 1 link")
    for lag in Lag.attempts(api.emulator):
        with lag.measured(), httpx.Client(base_url=api.base_url, headers=api.headers, verify=False) as http:
            answer = http.get(f"/sandboxes/{box}/files", params={"path": "/workspace/many"}, timeout=60)
    names = [entry["name"] for entry in answer.json()]
    assert names == sorted([*map(str, range(1, count + 1)), 'ü"\\', "link"])


def test_listing_over_entry_limit_is_refused(api, monkeypatch):
    monkeypatch.setattr("caged.emulator.cage.safe_files.LISTING_MOST", 10)
    box = api.sandbox()
    api.output(box, "mkdir many && cd many && seq 11 | xargs touch")
    answer = api.listing(box, "/workspace/many")
    assert answer.status_code == 400
    assert "/workspace/many: has 11 entries; a listing has at most 10" in answer.text
    assert "exec" in answer.text


# --- output in pieces equals the output of pydantic

TEXTS = [
    *("", "plain", "x" * 200_000),
    '"\\/\b\f\n\r\t',
    "".join(map(chr, range(160))),
    "ü☃\U0001f600",
    "\u2028\u2029\ufffd",
]


@each("text", TEXTS)
@each("code", [0, -1, 255])
def test_large_response_equals_pydantic_output(text: str, code: int):
    error: Optional[str] = None
    expected = ExecOut(output=text, exit_code=code, error=error).model_dump_json().encode()
    assert json_object({"output": text, "exit_code": code}) == expected


def test_large_listing_equals_pydantic_output():
    rows = [{"name": text, "path": f"/{text}", "type": "file", "size": 5, "mod_time": "now"} for text in TEXTS]
    expected = b"[" + b",".join(FileOut(**row).model_dump_json().encode() for row in rows) + b"]"  # type: ignore[arg-type]
    assert json_array(rows) == expected
    assert json_array([]) == b"[]"


@pytest.mark.parametrize("unit", [b"\xff", b"\xe2\x98\x83", b"\xe2\x98", b"a\xf0\x9f\x98\x80", b"\xed\xa0\x80"])
def test_decoding_in_pieces_equals_decoding_at_once(unit: bytes):
    for size in (65_535, 65_536, 65_537, 200_001):
        output = (unit * size)[:size]
        assert _decode(output) == output.decode("utf-8", "replace")
