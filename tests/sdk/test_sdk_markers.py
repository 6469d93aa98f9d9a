"""How a command's output and exit code are found in what a terminal prints."""

import subprocess

import pytest
from cases import each

from caged._sockets.markers import MarkerReader, Markers
from caged._sockets.messages import input_messages, output_of


def read(*pieces, ended=True):
    """Feed pieces, ``{begin}`` and ``{end}`` replaced; gives what each released, and the exit code."""
    markers = Markers()
    reader = MarkerReader(markers)
    released = [reader.feed(piece.replace("{begin}", markers.begin).replace("{end}", markers.end)) for piece in pieces]
    if ended:
        released.append(reader.end())
    return released, reader.exit_code


def test_markers_are_numbered_alike_and_new_for_every_command():
    one, two = Markers(), Markers()
    assert one.begin[len("__CAGED_BEGIN_") :] == one.end[len("__CAGED_EXIT_") :]
    assert len(one.begin) == len("__CAGED_BEGIN___") + 16
    assert one.begin != two.begin


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize(
    ("command", "output", "code"),
    [
        ("echo hello", "hello\n", 0),
        ("printf x; (exit 7)", "x", 7),
        ("false\n", "", 1),
        ("for i in 1 2; do\necho $i\ndone", "1\n2\n", 0),
        ("cat <<EOF\n\n\na\nEOF\n", "\n\na\n", 0),
        ("printf '\\n\\nx'", "\n\nx", 0),
        ("kill -9 $$", "", None),
    ],
)
def test_a_real_shell_given_the_typed_lines_gives_output_and_exit_code(shell, command, output, code):
    markers = Markers()
    run = subprocess.run(
        [shell], input="".join(markers.lines(command)), capture_output=True, text=True, timeout=20, check=False
    )
    reader = MarkerReader(markers)
    assert reader.feed(run.stdout) + reader.end() == output
    assert reader.exit_code == code
    assert code is None or run.returncode == code


def test_markers_split_anywhere_are_found():
    markers = Markers()
    text = f"noise\r\n{markers.begin}\r\n\r\nout _put_ \n{markers.end}127\r\n"
    for size in (1, 2, 3, 7, 20, 50):
        reader = MarkerReader(markers)
        pieces = [reader.feed(text[at : at + size]) for at in range(0, len(text), size)]
        assert "".join(pieces) == "\r\nout _put_ \n"
        assert reader.exit_code == 127


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r\r\n"])
def test_only_the_line_break_of_the_marker_itself_is_dropped(line_break):
    assert read("{begin}" + line_break + "\n\r\nx")[0] == ["\n\r\nx", ""]
    assert "".join(read("{begin}", *line_break, "\n", "x")[0]) == "\nx"


def test_output_right_behind_the_marker_is_output():
    assert read("{begin}x{end}0\n")[0] == ["x", ""]


def test_nothing_is_held_back_that_cannot_be_a_marker():
    released, _ = read("{begin}\n", "hello", "_x", "__CAGED_EXIT_0", "a", ended=False)
    assert released[1] == "hello"
    assert "".join(released) == "hello_x__CAGED_EXIT_0a"


def test_an_echo_of_the_typed_lines_is_neither_begin_nor_end():
    echo = "$ stty -echo; printf '%s\\n' '{begin}'\r\n$ ls\r\n$ printf '%s%s\\n' '{end}' \"$__caged_rc\"\r\n"
    released, code = read(echo, "{begin}\r\n", "printf '{end}'\n", "real", "{end}3\r\n")
    assert "".join(released).startswith("printf '__CAGED_EXIT_")
    assert "".join(released).endswith("'\nreal")
    assert code == 3


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        (["{end}0\n"], 0),
        (["{end}1", "27\n"], 127),
        (["{end}", "1", "2", "7", "\r", "\n"], 127),
        (["{end}", " \n", "5 "], 5),
        (["{end}255"], 255),
        (["{end}1", "3"], 13),
        (["{end}"], None),
        (["{end}-1\n"], None),
        (["{end}x1\n"], None),
    ],
)
def test_the_exit_code_is_the_whole_number_behind_the_end(pieces, code):
    assert read("{begin}\n", *pieces)[1] == code


def test_nothing_counts_after_the_end():
    assert read("{begin}\na{end}0\nmore", "and more")[0] == ["a", "", ""]


def test_before_begin_everything_is_noise():
    assert read("hello {end}0\n", "__CAGED_BEGIN_") == (["", "", ""], None)


@pytest.mark.parametrize(
    ("last", "flushed"), [("__CAGED_EX", ""), ("{end}", ""), ("_", "_"), ("__", "__"), ("__CAGED_EXIT_x", "")]
)
def test_a_connection_that_breaks_leaves_the_output_without_half_a_marker(last, flushed):
    released, code = read("{begin}\npartial " + last)
    assert released[0].startswith("partial ")
    assert released[1] == flushed
    assert code is None


@each(
    ("message", "text"),
    [
        ('{"type":"output","data":"a\\u00e9"}', "aé"),
        ('{"type":"output","data":""}', ""),
        ('{"type":"output","data":5}', ""),
        ('{"type":"output"}', ""),
        ('{"type":"exit","data":"x"}', ""),
        ('{"type":"ping"}', ""),
        ("[1]", ""),
        ("5", ""),
        ("null", ""),
        ("no json", "no json"),
        ('{"type":"output"', '{"type":"output"'),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 9000, "9" * 9000),
        ("", ""),
    ],
)
def test_what_a_message_adds_to_the_output(message, text):
    if message == "9" * 9000 and output_of(message) == "":
        pytest.skip("this Python reads numbers of any length")
    assert output_of(message) == text


def test_long_input_is_cut_into_messages_that_servers_take():
    text = "\x01é😀" * 100_000
    messages = list(input_messages(text))
    assert all(len(message) < 2**20 for message in messages)
    assert all(message.isascii() for message in messages)
    import json

    assert "".join(json.loads(message)["data"] for message in messages) == text
    assert list(input_messages("")) == ['{"type": "input", "data": ""}']
