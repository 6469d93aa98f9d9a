"""The programs that the emulator puts into a sandbox, in /opt/caged/bin: a template's, the agents', and those that
stand in for others."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from . import toolchains
from .isolation import PYTHON, interpreter
from .paths import Layout
from .toolchains import Toolchain
from .zygote import python_words

_CALL = "sys.exit(it.main(*sys.argv[1:]))"


class Programs:
    """`ask_dir` and `python`: where init listens, and the interpreter, as programs inside see them. Everything here
    blocks, for less than a millisecond, the first program that asks for a few."""

    def __init__(self, layout: Layout, ask_dir: str = "", python: str = "") -> None:
        self.ask_dir = ask_dir
        self._layout = layout
        self._python = python
        self._real = layout.opt / "real"
        self._shims: set[str] = set()

    def install_toolchain(self, chain: Toolchain) -> None:
        toolchains.install(chain, self._layout.bin)

    def install_agent(self, program: str) -> None:
        """A command that asks the emulator for its answer. Needs `Cage.listen`."""
        self._write(self._real if program in self._shims else self._layout.bin, program, "agent")

    def install_shim(self, program: str) -> None:
        """The same in front of every other program of that name: a test stands in for it. What is there of ours is put
        aside."""
        if program in self._shims:
            return
        path = self._layout.bin / program
        if os.path.lexists(path):
            self._real.mkdir(exist_ok=True)
            os.link(path, self._real / program, follow_symlinks=False)
        self._write(self._layout.bin, program, "program")
        self._shims.add(program)

    def remove_shim(self, program: str) -> None:
        """Harmless when there is none."""
        if program not in self._shims:
            return
        self._shims.discard(program)
        aside = self._real / program
        if os.path.lexists(aside):
            os.replace(aside, self._layout.bin / program)
        else:
            (self._layout.bin / program).unlink(missing_ok=True)

    def install_runner(self) -> str:
        """A program that asks for the answer with the name that is its argument: its path, as the sandbox has it."""
        if not (self._layout.opt / "stand-in").exists():
            self._write(self._layout.opt, "stand-in", "answer")
        return "/opt/caged/stand-in"

    def _write(self, folder: Path, name: str, kind: str) -> None:
        opt = self._layout.seen("opt/caged")
        words = python_words(self._python, self._layout.lend_library(), "shim", _CALL)
        line = " ".join(shlex.quote(word) for word in [*words, self.ask_dir, opt, kind, name])
        text = f'{self._libraries()}exec {line} "$@"'
        folder.mkdir(exist_ok=True)
        toolchains.write_script(folder / f".{name}.new", text)
        os.replace(folder / f".{name}.new", folder / name)  # somebody may be running it

    def _libraries(self) -> str:
        """An interpreter that is shown in another place than it was built for finds its own library by this."""
        if not self._python.startswith(f"{PYTHON}/"):
            return ""
        prefix = Path(interpreter()[1])
        if not any(prefix.glob("lib/libpython*.so*")):
            return ""
        return f'export CAGED_LD_LIBRARY_PATH="$LD_LIBRARY_PATH" LD_LIBRARY_PATH={PYTHON}/lib\n'
