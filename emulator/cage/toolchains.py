"""The programs of the host that each template uses."""

from __future__ import annotations

import asyncio
import glob
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROBE_LIMIT = 10.0

#: template -> (language, version). From the platform's list of templates (platform-behaviour.md A).
LANGUAGE: dict[str, tuple[str, str]] = {
    "python-311": ("python", "3.11"),
    "python-312": ("python", "3.12"),
    "node-20": ("node", "20"),
    "node-22": ("node", "22"),
    "go-122": ("go", "1.22"),
}

_PYTHON_PROBE = (
    "import json, sys, importlib.util as u; print(json.dumps(["
    "getattr(sys, '_base_executable', None) or sys.executable, "
    "'%d.%d.%d' % sys.version_info[:3], u.find_spec('pip') and getattr(__import__('pip'), '__version__', 'unknown'), "
    "sys.base_prefix]))"
)


@dataclass(frozen=True)
class Toolchain:
    """The programs of a template.

    Attributes:
        template: Its name.
        summary: What was found, for the log.
        exact: Whether the version is the one that the template names.
        links: Host programs, by name.
        scripts: Shell scripts, by name.
        pip: The version of pip; "" without one.
    """

    template: str
    summary: str
    exact: bool
    links: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    #: Host directories that the programs need, and that the isolation must therefore not hide.
    needs: tuple[str, ...] = ()
    pip: str = ""


class Toolchains:
    """Finds programs on the host's PATH when a template first needs them, and caches the result."""

    def __init__(self, path: Optional[str] = None) -> None:
        self._path = path if path is not None else os.environ.get("PATH", os.defpath)
        self._found: dict[str, Toolchain] = {}
        self.shell = shutil.which("bash", path=f"{STANDARD_PATH}:{self._path}") or "/bin/sh"
        self.git = shutil.which("git", path=f"{STANDARD_PATH}:{self._path}")

    async def find_soon(self, template: str) -> Toolchain:
        """Do the same as `find` without blocking the loop."""
        if template in self._found:
            return self._found[template]
        return await asyncio.to_thread(self.find, template)

    def find(self, template: str) -> Toolchain:
        """Return the programs of a template. Blocks when they are not cached."""
        if template not in self._found:
            language, version = LANGUAGE.get(template, ("", ""))
            look = {"python": self._python, "node": self._node, "go": self._go}.get(language)
            chain = look(template, version) if look else Toolchain(template, "the programs of this host", True)
            if self.git and os.path.dirname(self.git) not in STANDARD_PATH.split(":"):
                prefix = os.path.dirname(os.path.dirname(os.path.realpath(self.git)))
                chain = replace(chain, links={**chain.links, "git": self.git}, needs=(*chain.needs, prefix))
            self._found[template] = chain
        return self._found[template]

    # --- python

    def _python(self, template: str, version: str) -> Toolchain:
        best: Optional[tuple[str, str, str, str]] = None
        for candidate in self._python_candidates(version):
            found = _probe_python(candidate)
            if found is None:
                continue
            if found[1].startswith(version + "."):
                best = found
                break
            best = best or found
        if best is None:
            return Toolchain(template, f"no Python {version} and no python3 on this host", False)
        program, actual, pip, prefix = best
        exact = actual.startswith(version + ".")
        summary = f"Python {actual} ({program})"
        if not exact:
            summary = f"no python{version} on this host; python3 is {summary}"
        if not pip:
            summary += ", without pip"
        names = ["python", "python3", f"python{actual.rpartition('.')[0]}"]
        # The real program, not a version manager's shim, which needs the developer's home and environment.
        scripts = dict.fromkeys(("pip", "pip3"), 'exec python3 -m pip "$@"') if pip else {}
        return Toolchain(template, summary, exact, dict.fromkeys(names, program), scripts, (prefix,), pip)

    def _python_candidates(self, version: str) -> list[str]:
        pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
        own = getattr(sys, "_base_executable", None) or sys.executable
        running = ".".join(map(str, sys.version_info[:2]))
        candidates = [own] if running == version else []
        candidates += [shutil.which(f"python{version}", path=self._path) or ""]
        candidates += sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python{version}"), reverse=True)
        candidates += [own, shutil.which("python3", path=self._path) or "", "/usr/bin/python3"]
        return [candidate for candidate in dict.fromkeys(candidates) if candidate]

    # --- node and go

    def _node(self, template: str, version: str) -> Toolchain:
        homes = sorted(glob.glob(os.path.expanduser(f"~/.nvm/versions/node/v{version}.*/bin/node")), reverse=True)
        return self._by_version(
            template, "node", version, homes, r"v?(\d+)\.\S+", ("npm", "npx", "corepack", "yarn", "pnpm")
        )

    def _go(self, template: str, version: str) -> Toolchain:
        homes = [f"/usr/local/go{version}/bin/go", "/usr/local/go/bin/go"]
        return self._by_version(template, "go", version, homes, r"go(\d+\.\d+)\S*", ("gofmt",))

    def _by_version(
        self,
        template: str,
        program: str,
        version: str,
        homes: list[str],
        pattern: str,
        beside: tuple[str, ...],
    ) -> Toolchain:
        best: Optional[tuple[str, str, bool]] = None
        for candidate in [shutil.which(program, path=self._path) or "", *homes]:
            if not candidate or not os.path.exists(candidate):
                continue
            printed = _output([candidate, "version" if program == "go" else "--version"])
            match = re.search(pattern, printed or "")
            if match and (best is None or match.group(1) == version):
                best = (candidate, match.group(0), match.group(1) == version)
                if best[2]:
                    break
        if best is None:
            return Toolchain(template, f"no {program} on this host: `{program}` will not be found", False)
        path, found_version, exact = best
        summary = f"{program} {found_version} ({path})"
        if not exact:
            summary = f"no {program} {version} on this host; {program} is {summary}"
        links = {program: os.path.realpath(path)}
        for name in beside:
            if os.path.exists(os.path.join(os.path.dirname(path), name)):
                links[name] = os.path.realpath(os.path.join(os.path.dirname(path), name))
        # .../bin/node and .../lib/node_modules, GOROOT/bin/go and GOROOT/src: what is needed is beside the bin.
        needs = {os.path.dirname(os.path.dirname(target)) for target in links.values() if "/bin/" in target}
        for prefix in [prefix for prefix in needs if os.path.basename(prefix) in (".local", "local")]:
            needs.remove(prefix)  # much else lives there
            needs |= {f"{prefix}/bin", f"{prefix}/lib/node_modules"}
        return Toolchain(template, summary, exact, links, {}, tuple(sorted(needs - {"/", "/usr"})))


def _probe_python(program: str) -> Optional[tuple[str, str, str, str]]:
    """Return real interpreter, version, version of pip ("" without one), and prefix; None when it does not start."""
    printed = _output([program, "-I", "-c", _PYTHON_PROBE])
    try:
        executable, version, pip, prefix = json.loads(printed or "")
    except ValueError:
        return None
    return os.path.realpath(executable), version, pip or "", prefix


def _output(command: list[str]) -> Optional[str]:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_LIMIT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def install(chain: Toolchain, bin_dir: Path) -> None:
    """Install a template's programs in a sandbox. Blocks (microseconds)."""
    if chain.links or chain.scripts:
        bin_dir.mkdir(exist_ok=True)
    for name, target in chain.links.items():
        os.symlink(target, bin_dir / name)
    for name, text in chain.scripts.items():
        write_script(bin_dir / name, text)


def write_script(path: Path, text: str) -> None:
    """Write an executable shell script. Blocks (microseconds)."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
