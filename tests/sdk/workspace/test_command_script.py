"""The script of a command in every shell that may run it, dash among them, which no sandbox of the tests has alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from workspace_testing import find_busybox

from caged._workspace.command_output import PrintedResult, read_result
from caged._workspace.command_script import StandardInput, checked_command, script
from caged._workspace.scratch import SCRATCH

SHELLS = {"bash": shutil.which("bash"), "dash": shutil.which("dash"), "busybox": find_busybox()}


@pytest.mark.parametrize("shell", list(SHELLS))
def test_script_prints_streams_and_exits_with_the_code_of_the_command(shell: str, tmp_path: Path) -> None:
    program = SHELLS[shell]
    if program is None:
        pytest.skip(f"{shell} is not installed")
    commands = {
        "echo out; echo error >&2; exit 3": (3, "out\n", "error\n"),
        "echo error >&2": (0, "", "error\n"),
        'echo $#-"$A"; cat; exec 9>file; false': (1, "0-it's $HOME\n", ""),
        "[ \"$(sh -c 'echo $PPID')\" = $$ ]; echo $?": (0, "0\n", ""),
        "trap 'echo bye' TERM; kill -TERM $$; exit 4": (4, "bye\n", ""),
    }
    for number, (command, (code, stdout, stderr)) in enumerate(commands.items()):
        spec = checked_command(command, str(tmp_path), {"A": "it's $HOME"}, None)
        text = script(spec, f"name{number}", StandardInput(), False).replace(SCRATCH, str(tmp_path / "scratch"))
        words = [program, *(["sh"] if shell == "busybox" else []), "-c", text]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

        printed = PrintedResult(("@started",), stdout.encode(), stderr.encode())
        assert (read_result(f"name{number}", done.stdout), done.stderr) == (printed, ""), command
        assert done.returncode == code, command


@pytest.mark.parametrize(
    "output",
    [
        "@started\n",
        "@started\n@name",
        "@started\nnoise@name\nb3V0Cg==\n",
        "@started\n@name\n@name\nb3V0Cg==\n",
        "@started\n@name\nb3V0Cg==\n@name\nb3V0Cg==\n",
        "@started\n@name\nb3V0Cg==@\nb3V0Cg==\n",
        "@started\n@name\nb3V0Cg==\n@\n@\nb3V0Cg==\n",
        "@started\n@name\nbash: base64: command not found\n",
    ],
)
def test_result_that_is_not_printed_once_and_whole_is_not_read(output: str) -> None:
    with pytest.raises(ValueError, match=r"ended early|not base64"):
        read_result("name", output)
