"""The routes of the API, by which a control or a query that no request can match is refused."""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from .names import check_known, is_glob
from .patterns import matches_glob

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_PARAMETER = re.compile(r"{\w+(?::\w+)?}")
_GLOB_TOKEN = re.compile(r"\*|\?|\[!?\]?[^\]]*\]|.", re.S)
_OF_SANDBOXES = ("/v1/sandboxes/{", "/v1/trust/sandboxes/{")
_QUERY = re.compile(r"\?[^/?]*=")
#: Any text; any one character. In a parameter that is one segment of a path: without a slash.
_ANY, _ONE = "*", "?"
_ANY_IN_SEGMENT, _ONE_IN_SEGMENT = "*segment", "?segment"
#: How similar a segment has to be to one of the API's to count as misspelt. Ids and names of objects are not.
_MISSPELT = 0.7
#: The longest pattern for an operation, a method or a path: each is compared with every route, on the event loop.
PATTERN_CHARACTERS = 1_000


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
    for name, pattern in (("operation", operation), ("method", method), ("path", path)):
        if pattern is not None and len(pattern) > PATTERN_CHARACTERS:
            raise ValueError(f"{name}: has {len(pattern):,} characters; at most {PATTERN_CHARACTERS:,} are allowed")
    known = list(routes)
    if operation is not None:
        check_known("operation", operation, [route.operation for route in known], "an operation of the API")
    if method is not None:
        check_known("method", method.upper(), METHODS, "an HTTP method")
    if path is not None:
        _check_path(path)
    fitting = [route for route in known if operation is None or matches_glob(route.operation, operation)]
    if path is not None:
        on_path = [route for route in fitting if may_match(path, route.path)]
        _check_segments(path, on_path, known)
        if not on_path:
            of = "any operation of the API" if operation is None else ", ".join(map(str, fitting[:3]))
            raise ValueError(f"path: {path!r} does not match the path of {of}")
        fitting = on_path
    if method is not None and not any(
        matches_glob(one, method.upper()) for route in fitting for one in _methods(route)
    ):
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


def _check_segments(path: str, matching: list[Route], known: list[Route]) -> None:
    """Check that a misspelt segment did not pass as a parameter: `/v1/sandboxes/*/exce` as an object named exce."""
    begin = "".join(itertools.takewhile(lambda character: not is_glob(character), path))
    if any(":path}" in route.path and begin.startswith(route.path.partition("{")[0]) for route in matching):
        return
    literals = {segment for route in known for segment in route.path.split("/") if not _PARAMETER.search(segment)}
    for segment in path.split("/"):
        if not is_glob(segment) and segment not in literals:
            near = difflib.get_close_matches(segment, literals, 1, _MISSPELT)
            if near:
                raise ValueError(
                    f"path: {segment!r} in {path!r} is not in a path of the API; did you mean {near[0]!r}?"
                )


@functools.lru_cache(maxsize=4096)
def may_match(glob: str, template: str) -> bool:
    """Whether some path that the template allows matches the glob. A character class counts as any character.

    The glob is read token by token. Bit j of `places` says that the text so far can end before the j-th token of the
    template; so the time is in proportion to the glob's length.
    """
    route = _tokens_of(template)
    any_text = _bits(route, (_ANY, _ANY_IN_SEGMENT))
    every_place = (1 << len(route) + 1) - 1
    places = _skip(1, any_text)
    for token in _GLOB_TOKEN.findall(glob):
        if not places:
            return False
        if token == _ANY:
            places = every_place & -(places & -places)  # from the first place on
        elif token == _ONE or (token[0] == "[" and len(token) > 1):
            places = _skip((places & ~any_text) << 1 & every_place | places & any_text, any_text)
        else:
            within = token != "/"
            one_character = _bits(route, (_ONE, _ONE_IN_SEGMENT) if within else (_ONE,))
            texts = any_text if within else _bits(route, (_ANY,))
            matching = one_character | _bits(route, (token,))
            places = _skip((places & matching) << 1 | places & texts, any_text)
    return bool(places >> len(route))


@functools.lru_cache(maxsize=512)
def _tokens_of(template: str) -> tuple[str, ...]:
    """The characters of a route's path; a parameter is one character and then any text, without slashes unless its
    type is `path`."""
    tokens: list[str] = []
    end = 0
    for found in _PARAMETER.finditer(template):
        is_path = found[0].endswith(":path}")
        parameter = (_ONE, _ANY) if is_path else (_ONE_IN_SEGMENT, _ANY_IN_SEGMENT)
        tokens += [*template[end : found.start()], *parameter]
        end = found.end()
    return (*tokens, *template[end:])


@functools.lru_cache(maxsize=8192)
def _bits(route: tuple[str, ...], tokens: tuple[str, ...]) -> int:
    """The places of the route that have one of the tokens."""
    return sum(1 << place for place, token in enumerate(route) if token in tokens)


def _skip(places: int, any_text: int) -> int:
    """The places, and those after any text among them, which may be empty."""
    return places | (places & any_text) << 1
