"""Packages whose public names are loaded when they are first used.

Static checkers do not run any of this: each package imports its names under ``TYPE_CHECKING`` as well, so that a name
it does not have is an error to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional


def lazy_names(
    package: str,
    namespace: dict[str, Any],
    modules: Mapping[str, Sequence[str]],
    submodules: Sequence[str] = (),
    before: Optional[Callable[[str], None]] = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and the ``__dir__`` of a package.

    Args:
        package: Its ``__name__``.
        namespace: Its ``globals()``; a name is put there when it is loaded, and not looked up here again. Its
            ``__all__`` lists the public names.
        modules: Module below the package, to the names that it defines.
        submodules: Public ones, which are imported by themselves; Python looks for them in the package first.
        before: Called with a name that is about to be loaded.

    Returns:
        The two functions. The first raises AttributeError with the nearest public name for one that does not exist.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in homes:
            raise _unknown(package, name, () if name in submodules else namespace["__all__"])
        if before is not None:
            before(name)
        from importlib import import_module

        value = namespace[name] = getattr(import_module(f"{package}.{homes[name]}"), name)
        return value

    def names() -> list[str]:
        special = (name for name in namespace if name.startswith("__"))
        loaded = (name for name in submodules if name in namespace)
        return sorted({*namespace["__all__"], *special, *loaded})

    return load, names


def _unknown(package: str, name: str, public: Sequence[str]) -> AttributeError:
    hint = ""
    if public and not name.startswith("_"):
        from ._naming import did_you_mean

        hint = did_you_mean(name, public)
    error = AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
    error.name = name  # type: ignore[attr-defined,unused-ignore]  # or Python adds a suggestion of its own
    return error
