"""The routes of the API, by which a control or a query that no request can match is refused."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Optional

from .names import check_known

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_PARAMETER = re.compile(r"{\w+(?::\w+)?}")
_GLOB_TOKEN = re.compile(r"\*|\?|\[!?\]?[^\]]*\]|.", re.S)
_OF_SANDBOXES = ("/v1/sandboxes/{", "/v1/trust/sandboxes/{")
_QUERY = re.compile(r"\?[^/?]*=")
#: Any text; any one character.
_ANY, _ONE = "*", "?"


@dataclass(frozen=True)
class Route:
    """One operation: `path` is a template such as /v1/sandboxes/{id}."""

    method: str
    path: str
    operation: str

    @property
    def is_of_sandbox(self) -> bool:
        """Whether the path names a sandbox."""
        return self.path.startswith(_OF_SANDBOXES) or self.operation == "preview"

    def __str__(self) -> str:
        return f"{self.operation} ({self.method} {self.path})"


def check_reachable(
    routes: Iterable[Route],
    *,
    operation: Optional[str],
    method: Optional[str],
    path: Optional[str],
    sandbox: Optional[str] = None,
) -> None:
    """Check that some request can match an operation (a name or glob), a method, a path (a glob) and a sandbox
    together. A request is about a sandbox if its path names it.

    Raises:
        ValueError: None can; the text names the option and suggests what is meant.
    """
    known = list(routes)
    if operation is not None:
        check_known("operation", operation, [route.operation for route in known], "an operation of the API")
    if method is not None:
        check_known("method", method.upper(), METHODS, "an HTTP method")
    if path is not None:
        _check_path(path)
    fitting = [route for route in known if operation is None or fnmatchcase(route.operation, operation)]
    if path is not None and not any(may_match(path, route.path) for route in fitting):
        of = "any operation of the API" if operation is None else ", ".join(map(str, fitting[:3]))
        raise ValueError(f"path: {path!r} does not match the path of {of}")
    fitting = [route for route in fitting if path is None or may_match(path, route.path)]
    if method is not None and not any(fnmatchcase(one, method.upper()) for route in fitting for one in _methods(route)):
        raise ValueError(f"method: {method!r} is not the method of {', '.join(map(str, fitting[:3]))}")
    if sandbox is not None and not any(route.is_of_sandbox for route in fitting):
        raise ValueError(f"sandbox: the path names none in {', '.join(map(str, fitting[:3]))}; leave sandbox out")


def _methods(route: Route) -> tuple[str, ...]:
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)


def _check_path(path: str) -> None:
    if "://" in path:
        raise ValueError(f"path: {path!r} is a URL; give its path, as in /v1/sandboxes/*/exec")
    if _QUERY.search(path):
        raise ValueError(f"path: {path!r} has a query; give the path alone, without what follows the question mark")
    if not path.startswith(("/", *"*?[")):
        raise ValueError(f"path: {path!r} matches nothing; a path begins with a slash, as in /v1/sandboxes/*/exec")


@functools.lru_cache(maxsize=4096)
def may_match(glob: str, template: str) -> bool:
    """Whether some path that the template allows matches the glob. A character class counts as any character."""
    left = [_ONE if token[0] == "[" and len(token) > 1 else token for token in _GLOB_TOKEN.findall(glob)]
    right: list[str] = []
    end = 0
    for found in _PARAMETER.finditer(template):
        right += [*template[end : found.start()], _ONE, _ANY]
        end = found.end()
    right += template[end:]
    return _overlap(tuple(left), tuple(right))


def _overlap(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether two patterns have a text in common: the states that both can be in, from each pair to the next ones."""
    waiting, seen = [(0, 0)], {(0, 0)}
    while waiting:
        i, j = waiting.pop()
        if i == len(left) and j == len(right):
            return True
        following = []
        if i < len(left) and left[i] == _ANY:
            following += [(i + 1, j)] + ([(i, j + 1)] if j < len(right) else [])
        if j < len(right) and right[j] == _ANY:
            following += [(i, j + 1)] + ([(i + 1, j)] if i < len(left) else [])
        if i < len(left) and j < len(right) and _same(left[i], right[j]):
            following.append((i + 1, j + 1))
        waiting += [pair for pair in following if pair not in seen]
        seen.update(following)
    return False


def _same(left: str, right: str) -> bool:
    return left == right or _ONE in (left, right)
