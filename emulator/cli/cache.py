"""`caged-emulator cache`: what emulators keep in the user's cache directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

import click

from ..cache.cache import Cache
from ..cache.location import CacheUnusable, cache_directory
from ..config import EmulatorConfig
from .tables import json_option, show

F = TypeVar("F", bound=Callable[..., Any])
_COLUMNS = ("kind", "name", "mb", "files", "used_at", "in_use", "digest")


def _directory_option(command: F) -> F:
    return click.option(
        "--cache-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="CAGED_CACHE_DIR",
        help="Directory of the cache. [default: the directory `caged` in the user's cache directory]",
    )(command)


@click.group("cache")
def command() -> None:
    """List or remove what emulators keep between runs: layers of installed packages.

    `serve --no-cache` and `Emulator(cache=False)` do without.
    """


@command.command("ls")
@_directory_option
@json_option
def ls(cache_dir: Optional[Path], as_json: bool) -> None:
    """List the entries, the last used first.

    Standard error says of which templates no downloads of packages are kept.
    """
    cache = _open(cache_dir)
    show(cache.list() if cache is not None else [], as_json, _COLUMNS)
    for line in _downloads_not_kept():
        click.echo(line, err=True)


@command.command("clear")
@_directory_option
def clear(cache_dir: Optional[Path]) -> None:
    """Remove all entries that no living sandbox uses."""
    cache = _open(cache_dir)
    removed, kept = cache.clear() if cache is not None else (0, 0)
    click.echo(f"removed {_counted(removed)}" + (f"; {_counted(kept)} in use" if kept else ""))


@command.command("path")
@_directory_option
def path(cache_dir: Optional[Path]) -> None:
    """Print the directory of the cache, whether it exists or not."""
    click.echo(_path(cache_dir))


def _path(given: Optional[Path]) -> Path:
    try:
        return cache_directory(given)
    except CacheUnusable as error:
        raise click.ClickException(str(error)) from error


def _open(given: Optional[Path]) -> Optional[Cache]:
    """The cache; None where there is none yet, which is not made by a look."""
    directory = _path(given)
    if not directory.exists():
        return None
    try:
        return Cache(directory, EmulatorConfig().cache_mb)
    except (CacheUnusable, OSError) as error:
        raise click.ClickException(str(error)) from error


def _downloads_not_kept() -> Iterator[str]:
    """Yield a line for each reason why downloads of packages are not kept."""
    from ..cage.toolchains import LANGUAGE, Toolchains
    from ..platform.package_downloads import reason_not_kept_of

    templates: dict[str, list[str]] = {}
    chains = Toolchains()
    for template, (language, _version) in LANGUAGE.items():
        reason = reason_not_kept_of(chains.find(template)) if language == "python" else ""
        if reason:
            templates.setdefault(reason, []).append(template)
    for reason, names in templates.items():
        yield f"downloads of packages are not kept in {', '.join(names)}: {reason}"


def _counted(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"
