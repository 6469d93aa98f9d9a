"""The programs that the emulator installs in a sandbox, in /opt/caged/bin: the template's toolchain, and shims for
agents and stubbed programs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from . import toolchains
from .interpreter import PYTHON, interpreter
from .paths import Layout
from .toolchains import Toolchain
from .zygote import python_words

_CALL = "sys.exit(it.main(*sys.argv[1:]))"
#: The interpreter that starts in the shortest time, and the shim that it runs.
PERL, PERL_SHIM = "/usr/bin/perl", "shim.pl"


class Programs:
    """The programs of one sandbox. All methods block for less than a millisecond; the first shim takes a few.

    Args:
        layout: The sandbox's directory.
        shim_socket_dir: The directory in which init listens for shims, as the sandbox has it.
        python: The interpreter that runs shims, as the sandbox has it.
    """

    def __init__(self, layout: Layout, shim_socket_dir: str = "", python: str = "") -> None:
        self.shim_socket_dir = shim_socket_dir
        self._layout = layout
        self._python = python
        self._real = layout.opt / "real"
        self._shims: set[str] = set()

    def install_toolchain(self, chain: Toolchain) -> None:
        toolchains.install(chain, self._layout.bin)

    def install_agent(self, program: str) -> None:
        """Install the shim of an agent's command. Needs `Cage.listen`."""
        self._write(self._real if program in self._shims else self._layout.bin, program, "agent")

    def install_shim(self, program: str) -> None:
        """Install the shim of a stubbed program, in front of every other program of that name.

        A program that the emulator has installed under that name is put aside.
        """
        if program in self._shims:
            return
        path = self._layout.bin / program
        if os.path.lexists(path):
            self._real.mkdir(exist_ok=True)
            os.link(path, self._real / program, follow_symlinks=False)
        self._write(self._layout.bin, program, "program")
        self._shims.add(program)

    def remove_shim(self, program: str) -> None:
        """Remove the shim of a program, if there is one, and restore what was put aside."""
        if program not in self._shims:
            return
        self._shims.discard(program)
        aside = self._real / program
        if os.path.lexists(aside):
            os.replace(aside, self._layout.bin / program)
        else:
            (self._layout.bin / program).unlink(missing_ok=True)

    def install_stub_runner(self) -> str:
        """Install the program that prints the output of a stubbed command in a shell; its argument is a token for the
        output. Returns its path, as the sandbox has it."""
        if not (self._layout.opt / "run-stub").exists():
            self._write(self._layout.opt, "run-stub", "stub_output")
        return "/opt/caged/run-stub"

    def install_git_ssh(self, port: int, secret: str) -> str:
        """Install the program that git runs in place of ssh where there are fake repositories. Returns its path, as
        the sandbox has it.

        Args:
            port: The port of their server, on loopback.
            secret: The sandbox's secret.
        """
        opt = self._layout.command_path("opt/caged")
        library = self._layout.copy_library("git_ssh")
        words = [*python_words(self._python, library, "git_ssh", _CALL), str(port), secret]
        text = f'{self._libraries()}exec {_quoted(words)} "$@"'
        toolchains.write_script(self._layout.opt / ".git-ssh.new", text)
        os.replace(self._layout.opt / ".git-ssh.new", self._layout.opt / "git-ssh")
        return f"{opt}/git-ssh"

    def _write(self, folder: Path, name: str, kind: str) -> None:
        library = self._layout.copy_library("shim")
        options = [self.shim_socket_dir, self._layout.command_path("opt/caged"), kind, name]
        words = python_words(self._python, library, "shim", _CALL)
        text = f'{self._perl(library, options)}{self._libraries()}exec {_quoted([*words, *options])} "$@"'
        folder.mkdir(exist_ok=True)
        toolchains.write_script(folder / f".{name}.new", text)
        os.replace(folder / f".{name}.new", folder / name)  # at once, because a process may be starting it

    def _perl(self, library: str, options: Sequence[str]) -> str:
        """The lines by which Perl runs the shim where the sandbox has one; nothing where it cannot.

        Perl is part of every Debian and Ubuntu. Python does it where Perl is missing, or where the environment has
        settings that would change how Perl reads the shim.
        """
        if not sys.platform.startswith("linux"):
            return ""
        line = _quoted([PERL, f"{library}/inside/{PERL_SHIM}", *options])
        return (
            f'if [ -x {PERL} ] && [ -z "${{PERL5OPT-}}${{PERL5DB-}}${{PERL_UNICODE-}}${{PERL_BADLANG-}}" ]; then\n'
            f'    export PERL_BADLANG=0\n    exec {line} "$@"\nfi\n'
        )

    def _libraries(self) -> str:
        """The line by which an interpreter that is shown as PYTHON finds its own library."""
        if not self._python.startswith(f"{PYTHON}/"):
            return ""
        prefix = Path(interpreter()[1])
        if not any(prefix.glob("lib/libpython*.so*")):
            return ""
        return f'export CAGED_LD_LIBRARY_PATH="$LD_LIBRARY_PATH" LD_LIBRARY_PATH={PYTHON}/lib\n'


def _quoted(words: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, words))
