"""`caged-emulator repos`: fake repositories in a running emulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import click

from ..control.queries import CommitQuery, PushQuery, RefQuery, RepositoryFileQuery
from ..control.records import value
from ..control.repositories import Repository
from ..control_client.remote import RemoteEmulator
from .control import add_list_commands, control_options
from .derived_options import described_options
from .tables import json_option, show


@click.group("repos")
def command() -> None:
    """Serve git repositories to sandboxes under the URLs of real hosts."""


_BRANCH = click.option("--branch", help="A branch, a tag or the id of a commit. [default: the branch of a clone]")


@dataclass(frozen=True)
class _Ref:
    """A branch or tag, as a line of a list."""

    name: str = value("Its name.", column=True)


@dataclass(frozen=True)
class _File:
    """A file of a repository, as a line of a list."""

    path: str = value("Its path in the repository.", column=True)


@command.command("add")
@click.argument("repository", metavar="URL")
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
@described_options(Repository, "add", omit=["url", "source"])
@control_options
def add(emulator: RemoteEmulator, repository: str, directory: str, **options: Any) -> None:
    """Serve DIRECTORY, a git repository or any other directory, as URL. While an account has such a repository, git in
    its sandboxes reaches no other host. Prints the repository's id."""
    click.echo(emulator.repos.add(repository, directory, **options).id)


@command.command("branches")
@click.argument("repository", metavar="URL")
@described_options(RefQuery)
@json_option
@control_options
def branches(emulator: RemoteEmulator, as_json: bool, repository: str, **options: Any) -> None:
    """List the branches of the repository URL (or its id), by name."""
    show([_Ref(name) for name in emulator.repos.get(repository).branches(**options)], as_json)


@command.command("tags")
@click.argument("repository", metavar="URL")
@described_options(RefQuery)
@json_option
@control_options
def tags(emulator: RemoteEmulator, as_json: bool, repository: str, **options: Any) -> None:
    """List the tags of the repository URL (or its id), by name."""
    show([_Ref(name) for name in emulator.repos.get(repository).tags(**options)], as_json)


@command.command("commits")
@click.argument("repository", metavar="URL")
@described_options(CommitQuery)
@json_option
@control_options
def commits(emulator: RemoteEmulator, as_json: bool, repository: str, **options: Any) -> None:
    """List commits of the repository URL (or its id), newest first."""
    show(emulator.repos.get(repository).commits(**options), as_json)


@command.command("files")
@click.argument("repository", metavar="URL")
@described_options(RepositoryFileQuery)
@json_option
@control_options
def files(emulator: RemoteEmulator, as_json: bool, repository: str, **options: Any) -> None:
    """List the files of the repository URL (or its id), by path."""
    show([_File(path) for path in emulator.repos.get(repository).files(**options)], as_json)


@command.command("file")
@click.argument("repository", metavar="URL")
@click.argument("path")
@_BRANCH
@control_options
def file(emulator: RemoteEmulator, repository: str, path: str, branch: Optional[str]) -> None:
    """Print the file PATH of the repository URL (or its id), as it is."""
    click.echo(emulator.repos.get(repository).file_bytes(path, branch), nl=False)


@command.command("pushes")
@click.argument("repository", metavar="URL")
@described_options(PushQuery)
@json_option
@control_options
def pushes(emulator: RemoteEmulator, as_json: bool, repository: str, **options: Any) -> None:
    """List the branches and tags that pushes changed in the repository URL (or its id), oldest first."""
    show(emulator.repos.get(repository).pushes(**options), as_json)


def _find(emulator: RemoteEmulator, url: str) -> Optional[str]:
    return emulator.repos.get(url).id if ":" in url else None


add_list_commands(command, "repository", lambda emulator: emulator.repos, "URL", _find)
