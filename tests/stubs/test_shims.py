"""The shim in Perl and the one in Python behave alike.

A sandbox has both, and runs the one in Python where the environment has settings for Perl.
"""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from sockets import Term
from stubs_testing import isolated

from caged.emulator import Output
from caged.emulator.cage.inside import frames, shim

INTERPRETERS = ("perl", "python")


@pytest.fixture(params=INTERPRETERS)
def prefix(request: pytest.FixtureRequest) -> str:
    """What a command begins with for its shims to run by one of the interpreters."""
    if request.param == "perl" and not Path("/usr/bin/perl").exists():
        pytest.skip("there is no /usr/bin/perl")
    return "" if request.param == "perl" else "export PERL_UNICODE=; export PERL_BADLANG=1; "


def run(client: Any, box: str, command: str) -> tuple[str, int]:
    result = client.sandboxes.exec(box, command)
    return result.output, result.exit_code


@isolated
def test_environment_chooses_interpreter(emulator, client, box, prefix):
    emulator.commands.program("slow", delay=600, optional=True)
    # The script becomes the interpreter, which then waits.
    wait = "until tr '\\0' ' ' </proc/$!/cmdline | grep -q 'shim[.]pl\\|import[ ]shim'; do sleep 0.05; done"
    found, _code = run(client, box, f"{prefix}slow & {wait}; cat /proc/$!/comm; kill -9 $!")
    assert found.startswith("python" if prefix else "perl"), found


@isolated
def test_arguments_directory_and_output_are_any_text(emulator, client, box, prefix):
    seen = []

    def answer(arguments, cwd, stdin):
        seen.append((arguments, cwd, stdin))
        return Output("".join(arguments), 7)

    emulator.commands.program("frob", answer)
    texts = ["", "ä€😀\U0010ffff", 'a"b\\c/\\u0041\\\\"', "\t\r\n\x01\x02\x1f\x7f", "$HOME `x` 'y'", '{"a":1}']
    texts.append("x" * 100_000)
    words = " ".join(shlex.quote(text) for text in texts)
    command = f"{prefix}mkdir -p 'd ä (deleted)'; cd 'd ä (deleted)'; printf 'in\\n\"\\\\' | frob {words}"
    assert run(client, box, command) == ("".join(texts), 7)
    assert seen == [(texts, "/workspace/d ä (deleted)", 'in\n"\\')]


@isolated
def test_bytes_that_are_not_utf8_arrive(emulator, client, box, prefix):
    seen = []
    emulator.commands.program("frob", lambda arguments, cwd, stdin: seen.append((arguments, stdin)) or Output())
    odd = "a\\377\\342\\202b\\355\\240\\200\\300\\200"
    assert run(client, box, f"{prefix}printf '{odd}' | frob \"$(printf 'x\\377\\200y')\"") == ("", 0)
    [(arguments, stdin)] = seen
    assert arguments == ["x??y"]
    assert stdin == b"a\xff\xe2\x82b\xed\xa0\x80\xc0\x80".decode("utf-8", "replace")


@isolated
def test_removed_directory_is_reported_as_none(emulator, client, box, prefix):
    emulator.commands.program("frob", lambda arguments, cwd, stdin: f"[{cwd}]")
    output, code = run(client, box, f"{prefix}mkdir gone; cd gone; rmdir ../gone; frob")
    assert output.endswith("[]"), output  # the shell that starts the shim complains first
    assert code == 0


@isolated
def test_real_program_gets_arguments_input_and_environment(emulator, client, box, prefix):
    emulator.commands.program("real", args="never", optional=True)
    emulator.commands.program("cat", stdin="never", optional=True)
    script = '#!/bin/sh\nprintf "%s|" "$0" "$@"; env | grep -c PERL_BADLANG=0; exit 9\n'
    client.files.write(box, "p/real", script)
    client.files.write(box, "q/real", "echo without interpreter line $1\n")
    run(client, box, "chmod +x p/real q/real; mkdir -p r/real; touch r/x")
    path = "PATH=$PWD/r:$PWD/p:$PATH"
    assert run(client, box, f"{prefix}{path}; cd p; real 'a b' ''") == ("/workspace/p/real|a b||0\n", 9)
    assert run(client, box, f"{prefix}PATH=$PWD/q:$PATH; real x") == ("without interpreter line x\n", 0)
    assert run(client, box, f"{prefix}printf 'a\\0\\377' | cat | od -An -tx1") == (" 61 00 ff\n", 0)
    output, code = run(client, box, f"{prefix}rm -r p q r; real it")
    assert (output, code) == ("real: command not found; none of its stubs fits 'it'\n", 127)


@isolated
def test_input_is_read_only_when_stub_needs_it(emulator, client, box, prefix):
    emulator.commands.program("frob", "f\n", args="a")
    emulator.commands.program("frob", "g\n", stdin="2*")
    assert run(client, box, f"{prefix}printf '1\\n2\\n' | {{ frob a; cat; }}") == ("f\n1\n2\n", 0)
    assert run(client, box, f"{prefix}printf '2\\n' | frob b; frob a <&-") == ("g\nf\n", 0)


@isolated
def test_input_that_is_too_large_is_an_error(emulator, client, box, prefix):
    emulator.commands.program("frob", "f\n", stdin="*")
    output, code = run(client, box, f"{prefix}head -c 5000000 /dev/zero | tr '\\0' x | frob")
    assert code == 1
    assert output.startswith("frob: standard input is too large for the emulator (the request has ")
    assert run(client, box, f"{prefix}head -c 4000000 /dev/zero | tr '\\0' x | frob") == ("f\n", 0)


@isolated
def test_large_output_and_many_pieces(emulator, client, box, prefix):
    emulator.commands.program("frob", 'line "quoted" ä\n' * 100_000)
    emulator.commands.program("grob", [f"{number}\n" for number in range(200)])
    assert run(client, box, f"{prefix}frob | sort -u | cat - <(frob | wc -l)") == ('line "quoted" ä\n100000\n', 0)
    assert run(client, box, f"{prefix}grob | tail -1") == ("199\n", 0)


@isolated
def test_signals_end_shim_as_a_program(emulator, client, box, prefix):
    emulator.commands.program("slow", delay=600)
    emulator.commands.program("yes", ["y\n"] * 600, 0, 0.1)
    for signal, number in (("INT", 2), ("TERM", 15), ("KILL", 9)):
        command = f"{prefix}timeout --preserve-status -s {signal} 0.5 slow; echo $?"
        assert run(client, box, command)[0].splitlines()[-1] == str(128 + number), signal
    assert run(client, box, f"{prefix}yes | head -1; echo ${{PIPESTATUS[0]}}")[0] == "y\n141\n"


@isolated
def test_full_disk_is_an_error(emulator, client, box, prefix):
    emulator.commands.program("frob", "f\n")
    output, code = run(client, box, f"{prefix}[ -e /dev/full ] || exit 77; frob > /dev/full")
    if code == 77:
        pytest.skip("there is no /dev/full in the sandbox")
    assert code != 0
    assert "No space left" in output


@isolated
def test_interrupt_in_terminal_ends_shim(emulator, account, client, box, prefix):
    emulator.commands.program("slow", ["begun\n", *["still\n"] * 600], delay=1)
    with Term(emulator.base_url, box, account.api_key) as person:
        person.prompt().type(f"{prefix}clear; slow\r")
        person.until("begun\r\n")
        person.type("\x03")
        person.prompt().type("echo code=$?\r")
        person.until("code=130\r\n")


def test_largest_request_is_the_one_that_init_accepts() -> None:
    assert shim.REQUEST_BYTES == frames.SHIM_REQUEST_BYTES
    [size] = re.findall(r"my \$REQUEST_BYTES = ([0-9 *]+);", Path(shim.__file__).with_suffix(".pl").read_text())
    assert math.prod(map(int, size.split("*"))) == frames.SHIM_REQUEST_BYTES
