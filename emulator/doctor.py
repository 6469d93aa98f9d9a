"""What this machine can do for the emulator, in lines for a person."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator

from caged import __version__

from .cage import isolation
from .cage.toolchains import LANGUAGE, Toolchains
from .config import ConfigError
from .platform.limits import TEMPLATES
from .rundir import base_directory


def report() -> Iterator[str]:
    yield f"caged {__version__}, Python {platform.python_version()} ({sys.executable}), {platform.platform()}"
    yield f"user: {'root' if os.geteuid() == 0 else 'uid ' + str(os.geteuid())}"
    try:
        yield f"sandboxes live in: {base_directory(None)}"
    except ConfigError as error:
        yield f"sandboxes live in: nowhere. {error}"
    yield ""
    yield "isolation"
    for level in isolation.levels():
        yield f"  {level.name:<10} {'yes' if level.works else 'no ':<4} {level.reason}"
    yield f"  in use: {isolation.best().name}"
    yield ""
    yield "templates"
    chains = Toolchains()
    for template in TEMPLATES:
        chain = chains.find(template)
        mark = "     " if template not in LANGUAGE else ("exact" if chain.exact else "other")
        yield f"  {template:<11} {mark}  {chain.summary}"
    yield f"  shell: {chains.shell}, git: {chains.git or 'none (repo= and git diff will not work)'}"
