"""The types of values that options have: checked in Python, and written as JSON."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Literal, Union, get_origin

from .patterns import TextPattern

#: A text, or pieces of one.
Text = Union[str, Sequence[str]]
#: Paths of files with their contents.
Files = Mapping[str, Union[str, bytes]]
#: Several names; a single text is not one of them.
Names = Sequence[str]
#: The content of a repository: paths of files with their contents, or the path of a directory. In JSON, a text is a git
#: bundle in base64: a client makes it of its directory.
RepositorySource = Union[Files, str, os.PathLike[str]]
#: Seconds, by themselves or as `{"retry_after": 7}`.
RetryAfter = Union[int, Mapping[str, int]]


def check_type(name: str, type_: Any, value: Any, also: str = "") -> None:
    """Check the type of an option's value.

    Args:
        name: The option's name.
        type_: Its type, as the description has it.
        value: The value.
        also: What else is accepted in its place, for the error text.

    Raises:
        TypeError: It has another type; the text starts with the name.
        ValueError: A number is not finite, or a mapping has wrong entries.
    """
    check = _CHECKS.get(type_)
    if check is not None:
        check(name, value)
    elif type_ == Text:
        check_text(name, value, also)
    elif type_ == Names:
        check_names(name, value)
    elif type_ == RepositorySource:
        check_source(name, value)
    elif get_origin(type_) is Literal:
        check_str(name, value)


def check_str(name: str, value: Any) -> None:
    """Raise TypeError unless the value is a str, ValueError unless it can be written as UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: must be a str, not {value!r}")
    check_characters(name, value)


def check_characters(name: str, value: str) -> None:
    """Raise ValueError for a text that cannot be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = value[error.start]
        raise ValueError(f"{name}: holds {half!r}, half of a surrogate pair, which is not a character") from None


def check_bool(name: str, value: Any) -> None:
    """Raise TypeError unless the value is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: must be True or False, not {value!r}")


def check_int(name: str, value: Any) -> None:
    """Raise TypeError unless the value is an int, and not a bool."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: must be an int, not {value!r}")


def check_number(name: str, value: Any) -> None:
    """Raise TypeError unless the value is a number, ValueError unless it is finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: must be a number, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name}: must be a finite number, not {value!r}")


def number(name: str, value: Any) -> float:
    """The value as a float. Raises as `check_number` does."""
    check_number(name, value)
    return float(value)


def check_text(name: str, value: Any, also: str = "") -> None:
    """Raise TypeError unless the value is a str or a sequence of str; `also`: what else is accepted, for the text.
    Raise ValueError where one cannot be written as UTF-8."""
    allowed = f"must be a str or a list of str{also}"
    if isinstance(value, str):
        check_characters(name, value)
        return
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, Sequence):
        raise TypeError(f"{name}: {allowed}, not {value!r}")
    for piece in value:
        if not isinstance(piece, str):
            raise TypeError(f"{name}: {allowed}; it contains {piece!r}")
        check_characters(name, piece)


def check_names(name: str, value: Any) -> None:
    """Raise TypeError unless the value is a sequence of str, and not a str itself."""
    if isinstance(value, str):
        raise TypeError(f"{name}: must be a list of str, not the str {value!r}")
    check_text(name, value)


def check_source(name: str, value: Any) -> None:
    """Raise TypeError unless the value is a path or a mapping of paths and contents."""
    if isinstance(value, Mapping):
        for path, content in value.items():
            check_str(f"{name}: a path", path)
            if not isinstance(content, (str, bytes)):
                raise TypeError(f"{name}: the content of {path!r} must be a str or bytes, not {content!r}")
    elif not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name}: must be the path of a directory, or a mapping of paths and contents, not {value!r}")


def check_retry_after(name: str, value: Any) -> None:
    """Raise TypeError unless the value is an int; ValueError for a mapping, which `seconds_of` replaces."""
    if isinstance(value, Mapping):
        raise ValueError(f"{name}: must be seconds or {{'retry_after': seconds}}, not {dict(value)!r}")
    check_int(name, value)


def seconds_of(value: Any) -> Any:
    """The seconds of a RetryAfter; another value as it is."""
    return value["retry_after"] if isinstance(value, Mapping) and set(value) == {"retry_after"} else value


_CHECKS: dict[Any, Callable[[str, Any], None]] = {
    bool: check_bool,
    int: check_int,
    float: check_number,
    str: check_str,
    RetryAfter: check_retry_after,
}


def to_json(value: Any) -> Any:
    """An option's value as JSON has it: a pattern as a text or `{"regex": …}`, bytes as `{"base64": …}`."""
    if isinstance(value, TextPattern):
        return value.json
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {name: to_json(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(inner) for inner in value]
    return value


def from_json(name: str, type_: Any, value: Any) -> Any:
    """The value that `to_json` has written.

    Raises:
        ValueError: A regular expression cannot be compiled, or a file's content is not base64.
    """
    if value is None:
        return None
    if type_ == TextPattern:
        return TextPattern.of(name, value)
    if type_ == Names:
        return tuple(value)
    if type_ == Files or (type_ == RepositorySource and isinstance(value, Mapping)):
        return {path: _content(f"{name}[{path!r}]", content) for path, content in value.items()}
    return value


def _content(name: str, content: Any) -> Any:
    if isinstance(content, str):
        return content
    try:
        return base64.b64decode(content["base64"], validate=True)
    except ValueError as error:
        raise ValueError(f"{name}: is not base64: {error}") from None
