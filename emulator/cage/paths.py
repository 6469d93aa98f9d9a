"""Where a sandbox's paths live on the host, in both directions. No other module knows.

A sandbox directory holds the places that a command may write:

    <directory>/workspace   /workspace
    <directory>/root        /root       (HOME)
    <directory>/tmp         /tmp        (TMPDIR)
    <directory>/opt         /opt/caged  (programs put there by the emulator; read-only)

In `namespace` isolation these are mounts, and every path is what it says.

In `process` isolation there is no mount that makes /workspace real, so path tokens of a command and of its
environment are rewritten to the directory, and the directory in its output back to the sandbox's path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..workers import checkpoint

WORKSPACE = "/workspace"
#: A long text is looked through in windows, so that a thread can pause in between. No token is longer than this.
_WINDOW, _LONGEST_TOKEN = 64 * 1024, 32
WRITABLE = ("workspace", "root", "tmp")
_SAFE = re.compile(r"[A-Za-z0-9_./+@-]*\Z")

# A token begins where a shell word or a value in one begins: after white space, an operator, `=`, `:`, `,`,
# an opening quote or bracket, or a one-letter option (-I/workspace/include).
_TOKEN = re.compile(
    r"""
    (?: (?<![^\s=:,;|&()<>{\[`!'"@]) | (?<=\s-[A-Za-z]) )
    (?: (?<![^\s=:,;|&(<>{\[`!@]['"])            # not behind a closing quote ("$HOME"/workspace),
      | (?<=[\s=,(\[{:][bfru]['"]) )              # though behind a Python string's prefix
    / (workspace | root | tmp | opt/caged)
    (?= [/\s;|&()<>{}\[\]`'"$:,=\\*?@!] | \Z )
    """,
    re.VERBOSE,
)


def usable_base(path: str) -> bool:
    """Whether a directory can hold sandboxes: its path must stand in a shell word without quotes."""
    return os.path.isabs(path) and _SAFE.match(path) is not None


class Layout:
    """One sandbox's directory. `directory` must be absolute, resolved and `usable_base`. `mounted`: the sandbox's
    paths are real for its commands, so nothing is rewritten."""

    def __init__(self, directory: Path, mounted: bool = False) -> None:
        self.directory = directory
        self.mounted = mounted
        self.workspace = directory / "workspace"
        self.home = directory / "root"
        self.tmp = directory / "tmp"
        self.opt = directory / "opt"
        self.bin = self.opt / "bin"
        self._prefix = str(directory)
        self._prefix_bytes = os.fsencode(self._prefix)
        self._places: dict[str, str] = {
            "workspace": str(self.workspace),
            "root": str(self.home),
            "tmp": str(self.tmp),
            "opt/caged": str(self.opt),
        }

    def make(self) -> None:
        """Creates the empty directories. Blocks (microseconds)."""
        self.directory.mkdir(mode=0o700)
        for name in WRITABLE:
            (self.directory / name).mkdir()
        self.tmp.chmod(0o1777)
        self.make_opt()

    def make_opt(self) -> None:
        """/opt/caged, with the place where an interpreter may be shown (`isolation.PYTHON`)."""
        self.opt.mkdir()
        if self.mounted:
            (self.opt / "python").mkdir()

    def lend_library(self) -> str:
        """Puts the modules that run inside where a sandbox can read them. Returns the path that it has to use."""
        target = self.opt / "lib" / "inside"
        if not target.exists():
            target.parent.mkdir(exist_ok=True)  # without what is above it: the sandbox may just be removed
            target.mkdir()
            for module in (Path(__file__).parent / "inside").glob("*.py"):
                (target / module.name).write_bytes(module.read_bytes())
        return f"{self.seen('opt/caged')}/lib"

    def roots(self) -> dict[str, str]:
        """The writable places: first component of the sandbox's path -> host directory."""
        return {name: self._places[name] for name in WRITABLE}

    def seen(self, place: str) -> str:
        """A place (`workspace`, `root`, `tmp`, `opt/caged`) by the path that a command has to use."""
        return f"/{place}" if self.mounted else self._places[place]

    def to_host_text(self, text: str) -> str:
        """Path tokens of a command or an environment value, as host paths (`process` isolation)."""
        if self.mounted or "/" not in text:
            return text
        pieces, done = [], 0
        for at in range(0, len(text), _WINDOW):
            checkpoint()
            # What is behind a window's end is seen by the pattern, but a token must begin before it.
            for token in _TOKEN.finditer(text, max(at, done), at + _WINDOW + _LONGEST_TOKEN):
                if token.start() < at + _WINDOW:
                    pieces += [text[done : token.start()], self._places[token.group(1)]]
                    done = token.end()
        return "".join([*pieces, text[done:]])

    def to_sandbox_text(self, output: bytes) -> bytes:
        """Host paths in output, as the sandbox's paths (`process` isolation)."""
        if self.mounted or self._prefix_bytes not in output:
            return output
        output = output.replace(self._prefix_bytes + b"/opt", b"/opt/caged")
        output = output.replace(self._prefix_bytes + b"/", b"/")
        return output.replace(self._prefix_bytes, b"/")

    def cut_path(self, output: bytes) -> int:
        """How many bytes at the end of output may be the beginning of a host path that goes on in the next piece. Half
        the directory's name is asked for: less is nearly always something else, and waiting would hide it."""
        pattern = self._prefix_bytes + b"/opt"
        for length in range(min(len(pattern) - 1, len(output)), len(self._prefix_bytes) // 2, -1):
            if output.endswith(pattern[:length]):
                return length
        return 0

    def link_to_sandbox(self, target: str) -> str:
        """An absolute symlink target as it is stored in an archive or followed by the file API."""
        if not self.mounted and (target == self._prefix or target.startswith(self._prefix + "/")):
            return os.fsdecode(self.to_sandbox_text(os.fsencode(target)))
        return target

    def link_to_host(self, target: str) -> str:
        """The reverse, for a link that is put on disk: only absolute targets in the writable places change."""
        if self.mounted:
            return target
        for name in WRITABLE:
            if target == f"/{name}" or target.startswith(f"/{name}/"):
                return self._places[name] + target[len(name) + 1 :]
        return target


def split(path: str) -> tuple[str, ...]:
    """The components of a sandbox path; a relative one is under /workspace. `..` stays, `.` and empty go."""
    if not path.startswith("/"):
        path = f"{WORKSPACE}/{path}"
    return tuple(part for part in path.split("/") if part not in ("", "."))
