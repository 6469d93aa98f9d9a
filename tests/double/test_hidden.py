"""What is hidden of an account is bounded, so that no suite slows down by the secrets that it makes up."""

from __future__ import annotations

import pytest

from caged.emulator.control.hidden import LONGEST, MOST, Hidden


def test_values_are_masked_the_longest_first():
    hidden = Hidden()
    assert not hidden
    hidden.add(["abc", "abcdef", "abc", ""])
    assert hidden
    assert hidden.masked(b"abcdef abc") == b"*** ***"


def test_the_newest_are_kept_and_one_that_is_used_again_is_new():
    hidden = Hidden()
    hidden.add(["first-value", "second-value"])
    for number in range(MOST - 2):
        hidden.add([f"value-{number}."])
    hidden.add(["first-value", "one-more"])
    assert hidden.masked(b"first-value second-value one-more") == b"*** second-value ***"


def test_a_value_is_hidden_as_json_writes_it_too():
    hidden = Hidden()
    hidden.add(['a"b\N{SNOWMAN}'])
    assert hidden.masked('a"b☃ a\\"b☃ a\\"b\\u2603'.encode()) == b"*** *** ***"


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
    hidden = Hidden()
    hidden.add([LONG, LONG[:LONGEST] + "-second"])
    assert hidden.masked(text.encode()) == shown.encode()
