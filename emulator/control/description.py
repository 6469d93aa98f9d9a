"""Descriptions: dataclasses whose fields say what an option means, and the checks and forms that follow from them.

Each option of a control (a fault, a stub, a reply) and each setting of an emulator is one field, made by `option`.
From the fields are derived: the models of the HTTP API and its OpenAPI text (`schema.py`), the options of the command
line (`cli/derived_options.py`), the entries of scenario files (`scenario/schema.py`), the checks of values in Python
(`values.py`), and what a control reports of itself. Python signatures are written out for editors; a test compares them
with the fields.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Callable, Literal, Optional, TypeVar, Union, get_args, get_origin

from .values import check_type, to_json

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
_KEY = "caged"


@dataclass(frozen=True, eq=False)
class Option:
    """One option, as its field describes it.

    Attributes:
        name: The option's name, the same in Python, HTTP, scenario files and (with dashes) on the command line.
        type: The type of its value, without Optional.
        default: The value when it is not given.
        help: What it does, as a sentence.
        unit: The unit of a number, such as `seconds`.
        at_least: The smallest allowed number.
        above: The number that the value must exceed.
        at_most: The largest allowed number.
        needs: It has no effect unless one of these options is given.
        is_effect: At most one of the options with this mark can be given.
        methods: The Python methods that take it; empty: all of the control's.
        is_required: Those methods have no default for it.
        is_local: It is about functions, which exist in the emulator's own process only.
        environment: The environment variable that sets it.
        flag: The name on the command line, where it differs.
    """

    name: str
    type: Any
    default: Any
    help: str
    unit: str = ""
    at_least: Optional[float] = None
    above: Optional[float] = None
    at_most: Optional[float] = None
    needs: tuple[str, ...] = ()
    is_effect: bool = False
    methods: tuple[str, ...] = ()
    is_required: bool = False
    is_local: bool = False
    environment: str = ""
    flag: str = ""

    @property
    def choices(self) -> tuple[Any, ...]:
        """The allowed values of an option that has a closed set of them."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def range(self) -> str:
        """The allowed numbers, such as `at least 1`; empty where there is no bound."""
        if self.at_least is not None and self.at_most is not None:
            return f"from {self.at_least:g} to {self.at_most:g}"
        bounds = [("at least", self.at_least), ("above", self.above), ("at most", self.at_most)]
        return " and ".join(f"{words} {number:g}" for words, number in bounds if number is not None)

    @property
    def help_text(self) -> str:
        """The help with range and unit, as each form of the option shows it."""
        numbers = [f"{self.range.capitalize()}."] if self.range.startswith("from") else []
        unit = [f"In {self.unit}."] if self.unit else []
        return " ".join([self.help, *numbers, *unit])

    def is_given(self, value: Any) -> bool:
        """Whether a value differs from the default."""
        return bool(value != self.default and value is not None)

    def check(self, value: Any, also: str = "") -> None:
        """Check one value.

        Args:
            value: The value; the default always passes.
            also: What else is accepted in its place, for the error text, such as ` or a function`.

        Raises:
            TypeError: It has a wrong type. The text starts with the option's name, as do the others.
            ValueError: It is not allowed.
        """
        if value is None and self.default is None:
            return
        check_type(self.name, self.type, value, also)
        if self.choices and value not in self.choices:
            raise ValueError(f"{self.name}: {value!r} is unknown; use one of {', '.join(map(str, self.choices))}")
        if isinstance(value, (int, float)) and not self._is_in_range(value):
            raise ValueError(f"{self.name}: must be {self.range}, not {value}")

    def _is_in_range(self, number: float) -> bool:
        return (
            (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
        )


def named(name: str) -> Callable[[F], F]:
    """Make a decorator that gives a method the name by which callers know it, for the TypeError of a wrong argument:
    the class that defines it is internal."""

    def decorate(method: F) -> F:
        method.__qualname__ = name
        return method

    return decorate


def option(default: Any, help: str, *, type: Any = None, **details: Any) -> Any:
    """Make the dataclass field of an option.

    Args:
        default: Its default; of a mapping, an empty one stands for a new one each time.
        help: What it does, as a sentence that ends with a full stop.
        type: The type of its values where callers give another one than the field holds.
        details: Other attributes of `Option`.
    """
    metadata = {_KEY: {"help": help, "given_type": type, **details}}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def nested(description: type) -> Any:
    """Make the field that holds a dataclass whose fields are options of the outer one, too."""
    return dataclasses.field(default_factory=description, metadata={_KEY: {"nested": description}})


@functools.cache
def _fields(description: Any) -> tuple[tuple[str, Option], ...]:
    """Every option with the name of the nested field that holds it; empty for one of the dataclass itself."""
    found: list[tuple[str, Option]] = []
    types = typing.get_type_hints(description)
    for field in dataclasses.fields(description):
        details = dict(field.metadata.get(_KEY, ()))
        inner = details.pop("nested", None)
        if inner is not None:
            found += [(field.name, one) for _, one in _fields(inner)]
        elif details:
            given_type = details.pop("given_type") or types[field.name]
            default = {} if field.default is dataclasses.MISSING else field.default
            found.append(("", Option(field.name, without_none(given_type), default, **details)))
    return tuple(found)


def without_none(annotation: Any) -> Any:
    """The type of an Optional; another type as it is."""
    if get_origin(annotation) is not Union or type(None) not in get_args(annotation):
        return annotation
    return Union[tuple(one for one in get_args(annotation) if one is not type(None))]


def options_of(description: type, method: str = "") -> tuple[Option, ...]:
    """The options of a dataclass, in the order of its fields; those of one Python method where it is named."""
    return tuple(one for _, one in _fields(description) if not method or method in (one.methods or (method,)))


def build(description: type[T], options: Mapping[str, Any], **state: Any) -> T:
    """Make an object of a described dataclass.

    Args:
        description: The dataclass.
        options: Values of its options, those of nested dataclasses among them, and of other fields.
        state: Values of fields that are not options.
    """
    inner: dict[str, dict[str, Any]] = {}
    own = dict(state)
    described: Any = description
    places = {one.name: place for place, one in _fields(described)}
    for name, value in options.items():
        place = places.get(name, "")
        (inner.setdefault(place, {}) if place else own)[name] = value
    hints = {field.name: field.metadata[_KEY]["nested"] for field in _nested_fields(description)}
    return description(**own, **{place: hints[place](**values) for place, values in inner.items()})


def _nested_fields(description: Any) -> Iterable[Any]:
    return [field for field in dataclasses.fields(description) if "nested" in field.metadata.get(_KEY, ())]


def values_of(control: Any) -> dict[Option, Any]:
    """The values that an object of a described dataclass has for its options."""
    described: Any = type(control)
    return {one: getattr(getattr(control, place) if place else control, one.name) for place, one in _fields(described)}


def given_values(control: Any) -> dict[Option, Any]:
    """Return the values that are not the defaults, by option."""
    return {one: value for one, value in values_of(control).items() if one.is_given(value)}


def check_values(control: Any) -> None:
    """Check every option by itself, and what the description says of them together.

    Raises:
        ValueError, TypeError: An option is wrong, or without effect; the text starts with its name.
    """
    for one, value in values_of(control).items():
        one.check(value)
    given = {one.name: one for one in given_values(control)}
    noun = getattr(control, "NOUN", "control")
    effects = [name for name, one in given.items() if one.is_effect]
    if len(effects) > 1:
        raise ValueError(f"{effects[1]}: cannot be combined with {effects[0]}; add one {noun} for each")
    for name, one in given.items():
        if one.needs and not any(needed in given for needed in one.needs):
            *others, last = one.needs
            raise ValueError(f"{name}: needs {', '.join(others) + ' or ' if others else ''}{last}")


def given_as_json(control: Any, omit: Iterable[str] = ()) -> dict[str, Any]:
    """Return the values that are not the defaults as JSON, by name."""
    return {one.name: to_json(value) for one, value in given_values(control).items() if one.name not in omit}
