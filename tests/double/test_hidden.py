"""What is hidden of an account is bounded, so that no suite slows down by the secrets that it makes up."""

from __future__ import annotations

from caged.emulator.control.hidden import MOST, Hidden


def test_values_are_masked_the_longest_first():
    hidden = Hidden()
    assert not hidden
    for value in (b"abc", b"abcdef", b"abc"):
        hidden.add(value)
    assert hidden
    assert hidden.longest == 6
    assert hidden.masked(b"abcdef abc") == b"*** ***"


def test_the_newest_are_kept_and_one_that_is_used_again_is_new():
    hidden = Hidden()
    hidden.add(b"first-value")
    hidden.add(b"second-value")
    for number in range(MOST - 2):
        hidden.add(b"value-%d." % number)
    hidden.add(b"first-value")
    hidden.add(b"one-more")
    assert hidden.masked(b"first-value second-value one-more") == b"*** second-value ***"
