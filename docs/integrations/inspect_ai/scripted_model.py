"""A scripted model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model


def command(line: str) -> ModelOutput:
    """The model runs a command."""
    return ModelOutput.for_tool_call("scripted", "bash", {"command": line})


def answer(text: str) -> ModelOutput:
    """The model says something, and is done."""
    return ModelOutput.from_content("scripted", text)


def scripted(outputs: Iterable[ModelOutput]) -> Model:
    """A model that gives these outputs, one after the other; each is taken when the model is called."""
    return get_model("mockllm/model", custom_outputs=_with_usage(outputs), memoize=False)


def _with_usage(outputs: Iterable[ModelOutput]) -> Iterator[ModelOutput]:
    for output in outputs:
        output.usage = ModelUsage()  # else Inspect counts tokens, and downloads a tokenizer for it
        yield output
