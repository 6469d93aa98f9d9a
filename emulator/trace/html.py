"""HTML from texts that are not trusted. `element` is the only way to make it, and it escapes everything but what it has
made itself."""

from __future__ import annotations

import html
import re
from typing import Union

#: Elements that have no content and no end.
_VOID = frozenset({"br", "hr", "input", "link", "meta"})
#: Characters that are not allowed in HTML.
_NOT_ALLOWED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """A text that is HTML. Only this module and text that is a part of the program may make one."""


Child = Union[str, "Html", None]


def escaped(text: object) -> Html:
    """A text as HTML that shows it, in an element or in a quoted attribute. What HTML cannot have becomes U+FFFD."""
    return Html(html.escape(_NOT_ALLOWED.sub("\ufffd", str(text)), quote=True))


def element(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element.

    Args:
        name: Its name, which must not be a text of the trace.
        children: Its content: HTML as it is, other texts escaped; None is left out.
        attributes: Its attributes. `_` stands for `-`, and is left out at the end, as in `class_`. True is an attribute
            without a value; one that is None or False is left out.
    """
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{escaped(value)}"')
    start = f"<{' '.join(words)}>"
    if name in _VOID:
        return Html(start)
    inside = "".join(child if isinstance(child, Html) else escaped(child) for child in children if child is not None)
    return Html(f"{start}{inside}</{name}>")


def joined(parts: list[Html]) -> Html:
    """Elements in a row."""
    return Html("".join(parts))
