"""Patterns: what a glob, a text and a regular expression match."""

from __future__ import annotations

import re

import pytest


def test_every_pattern_is_of_its_own_kind(either, client, box):
    either.commands.program("tool", "stubbed", args="install", stdin=re.compile("^y"))
    either.commands.program("tool", "regex", args=re.compile("^re"), stdin="n*")
    client.files.write(box, "/workspace/bin/tool", "#!/bin/sh\necho real $*\n")
    run = "chmod +x bin/tool; PATH=$PATH:/workspace/bin; printf {} | tool {}"

    def output(stdin, args):
        return client.sandboxes.exec(box, run.format(stdin, args)).output

    assert output("yes", "install") == "stubbed"
    assert output("yes", "reinstall") == "real reinstall\n", "a glob beside a regular expression stays a glob"
    assert output("no", "install") == "real install\n"
    assert output("no", "remove") == "regex"
    assert output("on", "remove") == "real remove\n", "and is not searched for"
    assert [one.options["args"] for one in either.commands.list()] == ["install", {"regex": "^re"}]


@pytest.mark.parametrize(
    ("pattern", "command", "matches"),
    [
        ("a.c", "abc", False),
        ("a.c", "a.c", True),
        ("a*c", "abbc", True),
        ("a*", "ba", False),
        ("[ab]", "[ab]", True),
        ("[ab]", "b", True),
        ("a?c", "abc", True),
        ("$(x)", "$(x)", True),
        (re.compile("b"), "abc", True),
        (re.compile("^b"), "abc", False),
        (re.compile("B", re.I), "abc", True),
        (re.compile("^b", re.M), "a\nb", True),
    ],
    ids=str,
)
def test_what_a_pattern_matches(either, client, box, pattern, command, matches):
    either.commands.stub(pattern, "stubbed")
    assert (client.sandboxes.exec(box, command).output == "stubbed") is matches
