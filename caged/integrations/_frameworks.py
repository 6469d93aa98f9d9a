"""What an integration says when its framework is not there."""

from __future__ import annotations


def missing_framework(module: str, problem: ImportError) -> ImportError:
    """The error for an integration whose framework cannot be imported.

    Args:
        module: The integration's ``__name__``.
        problem: What the import raised.
    """
    extra = module.rpartition(".")[2].replace("_", "-")
    return ImportError(f"{module} needs a framework: pip install 'caged[{extra}]' ({problem})", name=problem.name)
