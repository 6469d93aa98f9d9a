"""The line by which adapters of frameworks run one program."""

from __future__ import annotations

from cases import each
from workspace_testing import on_shells

from caged.integrations._programs import program_line


@on_shells
@each(
    "words, code, stdout, stderr",
    [
        (["sh", "-c", "echo out; echo err >&2; exit 3"], 3, "out\n", "err\n"),
        (["printf", "[%s]", "a b", "$HOME", "'", ""], 0, "[a b][$HOME]['][]", ""),
        (["cat"], 0, "input", ""),
        (["sh", "-c", "kill -9 $$"], 137, "", ""),
        (["sh", "-c", "echo extra >&3"], None, "", None),
    ],
)
def test_program_runs_with_streams_and_exit_code_of_its_own(box, words, code, stdout, stderr):
    result = box.run(program_line(words), stdin="input")

    assert result.stdout == stdout
    assert code in (None, result.exit_code)
    assert stderr in (None, result.stderr)


@each("word", ["no-such-program", "if", "time", "A=1", "{", "shift"])
def test_word_of_the_shell_is_the_name_of_a_program(namespace_box, word):
    result = namespace_box.run(program_line([word, "x"]))

    assert (result.exit_code, result.stdout) == (127, "")
    assert word in result.stderr


def test_program_needs_one_request(namespace_box, requests):
    for words in (["true"], ["sh", "-c", "echo out; exit 3"], ["no-such-program"], ["sh", "-c", "kill -9 $$"]):
        namespace_box.run(program_line(words))
    assert len(requests) <= 5  # sometimes, files of earlier commands are removed
