"""The line of a user's code that a call came from."""

from __future__ import annotations

import os
import sys
import sysconfig
from types import CodeType, FrameType
from typing import Optional

_OURS, _OTHERS, _USERS = "of this package", "of a library", "of the user"
_LIBRARIES = tuple({os.path.join(sysconfig.get_paths()[name], "") for name in ("stdlib", "platstdlib")})
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
#: Files of the user, and whether a file is one of a library, by the names of the files: a stack has the same few.
_kinds: dict[str, str] = {}

#: Files of this package that only pass a call on.
_PASSING = ("_tracebacks.py", "_arguments.py", "_closeable.py")

#: Modules of which the group of calls is not named like the module.
_GROUPS = {"sockets": "sandboxes", "_client": ""}
#: Modules whose every function belongs to one call.
_CALLS = {"exec_output": "sandboxes.stream", "exec_stream": "sandboxes.stream", "mcp": "sandboxes.mcp"}

#: Methods of bound sandboxes, and of what they return, whose name alone does not say what they belong to.
_BOUND = {
    "__enter__": "sandboxes.open",
    "__aenter__": "sandboxes.open",
    "__exit__": "box.destroy",
    "__aexit__": "box.destroy",
    "ask": "agent.ask",
    "poll": "process.poll",
    "wait": "process.wait",
    "kill": "process.kill",
    "output": "process.output",
    "stream": "process.stream",
}

#: A file and the number of a line in it.
Place = tuple[str, int]


def user_line(preferred: Optional[str] = None) -> tuple[Optional[Place], Optional[CodeType], Optional[Place]]:
    """Find the nearest line of the present stack that belongs neither to this package nor to a library.

    Args:
        preferred: A file whose line is returned even if that of another file of the user is nearer.

    Returns:
        The line, None where there is none; the code of this package that it called; and the nearest line, also where
        the preferred file has another one.
    """
    frame: Optional[FrameType] = sys._getframe(1)
    nearest: Optional[Place] = None
    called: Optional[CodeType] = None
    while frame is not None:
        code = frame.f_code
        kind = _kind(frame, code.co_filename)
        if kind is _OURS:
            if nearest is None and not _passes_on(frame, code):
                called = code
        elif kind is _USERS:
            if code.co_filename == preferred:
                place = (code.co_filename, frame.f_lineno)
                return place, called, nearest or place
            if nearest is None:
                nearest = (code.co_filename, frame.f_lineno)
                if preferred is None:
                    break
        frame = frame.f_back
    return nearest, called, nearest


def call_name(called: Optional[CodeType], path: str) -> str:
    """The name of a call, such as `sandboxes.exec`.

    Args:
        called: The code of this package that was called, as `user_line` returns it.
        path: Below `/v1`: the name where the code is not known.
    """
    if called is None:
        return path
    directory, file = os.path.split(called.co_filename)
    if os.path.basename(directory) == "_workspace":
        return _BOUND.get(called.co_name, f"box.{called.co_name}")
    module = os.path.splitext(file)[0]
    group = _GROUPS.get(module, module)
    return _CALLS.get(module) or ".".join(filter(None, (group, called.co_name)))


def _passes_on(frame: FrameType, code: CodeType) -> bool:
    module = str(frame.f_globals.get("__name__"))
    return code.co_filename.endswith(_PASSING) or module.startswith(("caged.emulator", "caged.pytest_plugin"))


def _kind(frame: FrameType, path: str) -> str:
    module = frame.f_globals.get("__name__")
    if module == "caged" or (isinstance(module, str) and module.startswith("caged.")):
        return _OURS
    kind = _kinds.get(path)
    if kind is None:
        in_library = path.startswith(("<frozen", *_LIBRARIES)) or any(part in path for part in _INSTALLED)
        kind = _kinds[path] = _OTHERS if in_library else _USERS
    return kind
