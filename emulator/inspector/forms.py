"""Forms that make a call of the API, with the line of Python that does the same beside them.

The fields of a control are made from its description: help, allowed values, bounds and units are those that Python,
HTTP and the command line show. `static/forms.js` sends a form, shows the errors of the API at the field that they name,
and writes the line of Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Optional

from ..control.current_account import ALL_ACCOUNTS
from ..control.description import Option, options_of
from ..control.patterns import TextPattern
from ..control.values import Files, RetryAfter, Text
from ..trace.html import Child, Html, element, escaped, joined
from .components import code

#: How a value is put in, and what JSON has for it.
FieldKind = Literal["text", "lines", "integer", "number", "flag", "choice", "pattern", "files"]
_KINDS: list[tuple[Any, FieldKind]] = [
    (bool, "flag"),
    (int, "integer"),
    (float, "number"),
    (RetryAfter, "integer"),
    (TextPattern, "pattern"),
    (Text, "lines"),
    (Files, "files"),
]


@dataclass(frozen=True)
class Field:
    """One field of a form.

    Attributes:
        name: Its key in the body; `a.b` is the key `b` of the object `a`.
        kind: How its value is put in.
        help: What it does, as a sentence. What stands in backquotes is shown as code.
        unit: The unit of a number.
        at_least: The smallest allowed number.
        at_most: The largest allowed number.
        choices: The allowed values of a choice.
        value: What it shows first.
        hint: What an empty field stands for.
        suggestions: The id of the `suggestions` of its values.
        is_required: Whether the call needs it.
        is_always_sent: Whether it is sent also when it is empty or not checked.
    """

    name: str
    kind: FieldKind = "text"
    help: str = ""
    unit: str = ""
    at_least: Optional[float] = None
    at_most: Optional[float] = None
    choices: Sequence[str] = ()
    value: str = ""
    hint: str = ""
    suggestions: str = ""
    is_required: bool = False
    is_always_sent: bool = False


@dataclass(frozen=True)
class PythonCall:
    """A call in Python that does what a form does.

    Attributes:
        call: The callable, such as `emulator.faults.add`. `{name}` stands for the value of a field.
        positional: The fields that are given without their names. The first that is missing ends them.
        when: The field that has to be given for this call; any form may be sent by one that names none.
        literal: A text that is the first argument.
    """

    call: str
    positional: Sequence[str] = ()
    when: str = ""
    literal: str = ""


def fields_of(
    description: type,
    method: str = "",
    *,
    omit: Iterable[str] = (),
    suggestions: Optional[Mapping[str, str]] = None,
) -> list[Field]:
    """The fields of a control, from its description.

    Args:
        description: The dataclass that describes its options.
        method: Only the options of this Python method.
        omit: Names of options that are left out.
        suggestions: The ids of lists of suggestions, by the name of the option.
    """
    return [
        _field(one, (suggestions or {}).get(one.name, ""))
        for one in options_of(description, method)
        if one.name not in omit and not one.is_local
    ]


def _field(one: Option, suggestions: str) -> Field:
    kind: FieldKind = "choice" if one.choices else next((kind for type_, kind in _KINDS if type_ == one.type), "text")
    is_number = kind in ("integer", "number")
    return Field(
        one.name,
        kind,
        one.help,
        one.unit,
        one.at_least if one.at_least is not None else one.above,
        one.at_most,
        [str(choice) for choice in one.choices],
        hint=f"{one.default:g}" if is_number and one.default is not None else "",
        suggestions=suggestions,
        is_required=one.is_required,
    )


def suggestions(name: str, values: Iterable[str]) -> Html:
    """Values that fields suggest. Its id in the document is `name`."""
    return element("datalist", *[element("option", value=one) for one in values], id=name)


def form(
    name: str,
    fields: Sequence[Field],
    method: str,
    path: str,
    python: Sequence[PythonCall],
    *,
    submit: str,
    done: str = "",
    first: Optional[Sequence[str]] = None,
    has_scope: bool = False,
    keeps_values: bool = False,
) -> Html:
    """A form.

    Args:
        name: Its id in the document.
        fields: Its fields.
        method: The method of the call.
        path: Its path; `{name}` stands for the value of a field, which is not in the body then.
        python: The calls in Python that do the same; the first that applies is shown.
        submit: The text of the button.
        done: What the page says then; `{id}` is the id in the answer.
        first: The names of the fields that are always in view, in this order; the others are folded. All by default.
        has_scope: Whether the call can be for all accounts, too.
        keeps_values: Whether the fields keep what was put in when it was sent.
    """
    shown = (
        sorted([one for one in fields if one.name in first], key=lambda one: first.index(one.name)) if first else fields
    )
    folded = [one for one in fields if one not in shown]
    more = element("summary", f"{len(folded)} more options", class_="button")
    return element(
        "form",
        element(
            "div",
            element("div", *[_labelled(name, one) for one in shown], class_="fields"),
            element("details", more, element("div", *[_labelled(name, one) for one in folded], class_="fields"))
            if folded
            else None,
            element("p", class_="problem", role="alert", hidden=True),
            element(
                "div",
                element("button", submit, type="submit", class_="primary"),
                _scope(name) if has_scope else None,
                class_="actions",
            ),
            class_="form-fields",
        ),
        element("div", element("h3", "The same in Python"), code(""), class_="form-python"),
        id=name,
        class_="call-form",
        novalidate=True,
        autocomplete="off",
        data_form=method,
        data_path=path,
        data_python=json.dumps([asdict(one) for one in python]),
        data_done=done,
        data_keep=keeps_values,
    )


def _scope(form_name: str) -> Html:
    """For which accounts the call is."""
    id = f"{form_name}-scope"
    return element(
        "span",
        element("label", "for", for_=id),
        element(
            "select",
            element("option", "this account", value=""),
            element("option", "all accounts (*)", value=ALL_ACCOUNTS),
            id=id,
            data_scope=True,
        ),
        class_="scope",
    )


def _labelled(form_name: str, field: Field) -> Html:
    """A field with its name, its unit, its help, and a place for an error."""
    id = f"{form_name}-{field.name.replace('.', '-')}"
    about = f"{id}-help" if field.help else None
    label = element("label", field.name.rpartition(".")[2], for_=id, class_="name")
    unit = element("span", field.unit, class_="muted") if field.unit else None
    needed = element("span", "required", class_="muted") if field.is_required else None
    if field.kind == "files":
        body: Child = _files(id, field, about)
    elif field.kind == "flag":
        body = None
        label = element("span", _control(id, field, about), label, class_="check")
    else:
        body = _control(id, field, about)
    return element(
        "div",
        element("div", label, unit, needed, _is_regex(id) if field.kind == "pattern" else None, class_="label"),
        body,
        element("p", marked(field.help), id=about, class_="help") if field.help else None,
        element("p", class_="problem", hidden=True, id=f"{id}-problem"),
        class_=f"field {field.kind}",
        data_field=field.name,
        data_kind=field.kind,
        data_required=field.is_required,
        data_always=field.is_always_sent,
    )


def _control(id: str, field: Field, about: Optional[str]) -> Html:
    attributes: dict[str, Any] = {"id": id, "aria_describedby": about, "data_value": True}
    if field.kind == "flag":
        return element("input", type="checkbox", checked=field.value == "true", **attributes)
    if field.kind == "choice":
        options = [element("option", field.hint, value="")]
        options += [element("option", one, value=one, selected=one == field.value) for one in field.choices]
        return element("select", *options, **attributes)
    if field.kind == "lines":
        return element("textarea", field.value, rows="3", spellcheck="false", **attributes)
    if field.kind in ("integer", "number"):
        attributes.update(
            type="number",
            step="1" if field.kind == "integer" else "any",
            min=None if field.at_least is None else f"{field.at_least:g}",
            max=None if field.at_most is None else f"{field.at_most:g}",
        )
    else:
        attributes.update(type="text", spellcheck="false", list=field.suggestions or None)
    return element("input", value=field.value or None, placeholder=field.hint or None, **attributes)


def _is_regex(id: str) -> Html:
    """Whether a pattern is a regular expression."""
    box = element("input", type="checkbox", id=f"{id}-regex", data_regex=True)
    return element("label", box, "regular expression", class_="check muted")


def _files(id: str, field: Field, about: Optional[str]) -> Html:
    """Paths with contents; the script adds rows."""
    row = element(
        "div",
        element("input", type="text", placeholder="path", aria_label=f"{field.name}: path", spellcheck="false", id=id),
        element(
            "textarea", "", rows="2", placeholder="content", aria_label=f"{field.name}: content", spellcheck="false"
        ),
        class_="file",
        data_file=True,
    )
    return element("div", row, element("button", "Another file", type="button", data_more=True), aria_describedby=about)


def marked(text: str) -> Html:
    """A text whose parts in backquotes are code."""
    parts = re.split(r"`([^`]*)`", text)
    return joined([element("code", part) if index % 2 else escaped(part) for index, part in enumerate(parts)])
