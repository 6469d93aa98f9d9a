"""What is redacted of an account is bounded, so that no suite slows down by the secrets that it makes up."""

from __future__ import annotations

import json
import shlex
import time
from urllib.parse import quote, quote_plus

import pytest
from cases import each

from caged.emulator.control.redaction import LONGEST, MOST, Redactor


def test_values_are_redacted_the_longest_first():
    redactor = Redactor()
    assert not redactor
    redactor.add(["abc", "abcdef", "abc", ""])
    assert redactor
    assert redactor.redact(b"abcdef abc") == b"*** ***"


def test_the_newest_are_kept_and_one_that_is_used_again_is_new():
    redactor = Redactor()
    redactor.add(["first-value", "second-value"])
    for number in range(MOST - 2):
        redactor.add([f"value-{number}."])
    redactor.add(["first-value", "one-more"])
    assert redactor.redact(b"first-value second-value one-more") == b"*** second-value ***"


def test_a_value_is_redacted_as_json_writes_it_too():
    redactor = Redactor()
    redactor.add(['a"b\N{SNOWMAN}'])
    assert redactor.redact('a"b☃ a\\"b☃ a\\"b\\u2603'.encode()) == b"*** *** ***"


def test_a_value_is_redacted_in_json_in_json_in_words_of_a_shell_and_in_urls():
    value = "a\"b\\c 'd'/é\n☃"
    redactor = Redactor()
    redactor.add([value])
    text = value
    for _depth in range(3):
        text = json.dumps(text)[1:-1]
        assert redactor.redact_text(f"<{text}>") == "<***>"
    assert redactor.redact_text(shlex.quote(value)) == "'***'"
    assert redactor.redact_text(json.dumps(shlex.quote(value))) == "\"'***'\""
    for encode in (quote, quote_plus):
        assert redactor.redact_text(f"/v1?path=x%2F{encode(value)}&y") == "/v1?path=x%2F***&y"
        assert redactor.redact_text(f"/v1?path=x%2F{encode(value, safe='')}&y") == "/v1?path=x%2F***&y"


@each("mark", ["…", " … (17 more characters)", " … (17 more characters, dropped: too much)"])
@each("count", range(2, len("a-valué-b")))
def test_beginning_of_a_value_in_front_of_the_mark_of_a_cut_is_redacted(count: int, mark: str):
    redactor = Redactor()
    redactor.add(["a-valué-b", "a-vary-long-other-value"])
    assert redactor.redact_kept(f"true {'a-valué-b'[:count]}{mark}") == f"true ***{mark}"
    assert redactor.redact_kept(f"true {'a-valué-b'[:count]}") == f"true {'a-valué-b'[:count]}"
    assert redactor.redact_kept(f"a-valué-b x{mark}") == f"*** x{mark}"


@pytest.mark.parametrize("size", [1, 2, 3, 24, 25, 30])
def test_many_values_are_found_in_a_long_text(size: int):
    values = ["".join(chr(33 + (number * 7 + at * number) % 90) for at in range(size)) for number in range(MOST - 1)]
    redactor = Redactor()
    redactor.add(values)
    for value in values[::50]:
        text = f"{'~ ' * 20_000}<{value}>{' ~' * 20_000}"
        assert f"<{value}>".encode() not in redactor.redact(text.encode())


LONG = "".join(f"{number:06d}" for number in range(LONGEST))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"<{LONG}>", "<***>"),
        (f"<{LONG}{LONG}>", "<******>"),
        (f"<{LONG[:-1]}", "<***"),
        (f"<{LONG[: LONGEST + 1]}>", "<***>"),
        (f"<{LONG[: LONGEST - 1]}>", f"<{LONG[: LONGEST - 1]}>"),
        (f"<{LONG[:LONGEST]}other>", "<***other>"),
        (f"<{LONG[:LONGEST]}-second>", "<***>"),
    ],
)
def test_a_long_value_is_found_by_its_beginning_and_goes_as_far_as_the_text_agrees(text: str, shown: str):
    redactor = Redactor()
    redactor.add([LONG, LONG[:LONGEST] + "-second"])
    assert redactor.redact(text.encode()) == shown.encode()


@pytest.mark.parametrize("end", ["", "b", "bd", "bdz", "c", "a", "zz", "bcbc"])
def test_longest_common_beginning_decides_between_long_values_that_begin_alike(end: str):
    ends = ["b", "bcd", "bda", "bdzz", "c", "zy"]
    redactor = Redactor()
    redactor.add([LONG[:LONGEST] + each for each in ends])
    agreeing = max(at for at in range(len(end) + 1) for each in ends if each.startswith(end[:at]))
    assert redactor.redact(f"{LONG[:LONGEST]}{end}".encode()) == f"***{end[agreeing:]}".encode()


def test_many_long_values_that_begin_alike_do_not_take_long():
    redactor = Redactor()
    redactor.add("a" * (LONGEST * 2 + number) for number in range(450))
    text = (b"a" * (LONGEST + 1) + b"b") * 128
    times = []
    for _attempt in range(5):
        begun = time.thread_time()
        assert redactor.redact(text) == b"***b" * 128
        times.append(time.thread_time() - begun)
    assert min(times) < 0.05
