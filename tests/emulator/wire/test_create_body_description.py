"""The options of a create are the same in every place that lists them."""

from __future__ import annotations

import dataclasses
import inspect
import typing

import pytest

from caged import SandboxCreateParams
from caged._resources import sandboxes
from caged._resources.sandbox_creation import CREATE_FIELDS
from caged.emulator.wire.create_body import CreateSandbox

#: Name -> default.
OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(sandboxes.Sandboxes.create).parameters.items()
    if name != "self"
}


def test_asynchronous_create_has_the_signature_of_the_synchronous_one() -> None:
    first, second = (inspect.signature(one.create) for one in (sandboxes.Sandboxes, sandboxes.AsyncSandboxes))
    assert list(second.parameters.values()) == list(first.parameters.values())
    assert second.return_annotation == first.return_annotation


@pytest.mark.parametrize("resource", [sandboxes.Sandboxes, sandboxes.AsyncSandboxes])
def test_open_has_the_signature_of_create_and_keep(resource: type[sandboxes.Sandboxes]) -> None:
    created = list(inspect.signature(resource.create).parameters.values())
    *opened, keep = inspect.signature(resource.open).parameters.values()
    assert opened == created
    assert (keep.name, keep.default, keep.kind) == ("keep", False, inspect.Parameter.KEYWORD_ONLY)


def test_stored_parameters_have_the_names_order_and_defaults_of_the_arguments() -> None:
    fields = dataclasses.fields(SandboxCreateParams)
    assert [field.name for field in fields] == list(OPTIONS)
    made = SandboxCreateParams()
    # A stored list or dict is empty at first, so that it can be added to. An empty one is not sent, like None.
    assert {field.name: getattr(made, field.name) or None for field in fields} == OPTIONS


def test_every_argument_but_the_template_has_a_check_and_is_sent_under_its_name() -> None:
    assert ["template", *CREATE_FIELDS] == list(OPTIONS)


def test_body_that_the_emulator_accepts_has_the_arguments_in_their_order() -> None:
    fields = CreateSandbox.model_fields
    assert list(fields) == list(OPTIONS)
    assert [name for name, field in fields.items() if field.default is not None] == []


def test_types_of_the_body_are_those_of_the_stored_parameters() -> None:
    def json_type(hint: object) -> object:
        """The type without None, names of values as str."""
        (inner,) = [one for one in typing.get_args(hint) if one is not type(None)] if _is_optional(hint) else [hint]
        if typing.get_origin(inner) in (list, dict):
            return typing.get_origin(inner)
        return inner if inner in (int, float, str) else str

    stored, accepted = typing.get_type_hints(SandboxCreateParams), typing.get_type_hints(CreateSandbox)
    assert {name: json_type(accepted[name]) for name in OPTIONS} == {name: json_type(stored[name]) for name in OPTIONS}


def _is_optional(hint: object) -> bool:
    return typing.get_origin(hint) is typing.Union and type(None) in typing.get_args(hint)
