"""Fake repositories."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from ..control.names import suggestion
from ..control.records import CommitRecord, PushRecord
from ..control.repositories import Repository, RepositoryInfo, RepositoryMethods
from ..control.repository_urls import parse
from ..control.values import check_source
from .collection import Collection
from .handle import Handle
from .transport import SECONDS, EmulatorError


@dataclass(frozen=True)
class RepositoryHandle(Handle):
    """A fake repository: what is in it, and what was pushed. In a `with` statement it is removed at the end: see
    `Handle`.

    `branch` is the name of a branch or tag, or the id of a commit; the default is the branch that a clone checks out.
    What does not exist raises EmulatorError, with a list of what there is.

    Attributes:
        account: Id of the account to which it applies, or `*`.
        url: Its URL.
    """

    account: str = field(default="*")
    url: str = field(default="")

    @property
    def _path(self) -> str:
        return f"/repos/{self.id}"

    @property
    def info(self) -> RepositoryInfo:
        """The repository as the emulator has it now."""
        return RepositoryInfo(**self._admin.call("GET", self._path, account="*"))

    @property
    def used(self) -> int:
        """How many git commands of sandboxes have read it or written to it so far."""
        return self.info.used

    def pushes(self, *, last: Optional[int] = None) -> list[PushRecord]:
        """List the branches and tags that pushes of sandboxes changed, oldest first.

        Args:
            last: Only the newest so many.

        Raises:
            ValueError: `last` is below 1.
        """
        return [PushRecord(**one) for one in self._get("pushes", last=last)]

    def branches(self, *, last: Optional[int] = None) -> list[str]:
        """List the names of its branches, sorted.

        Args:
            last: Only the last so many.

        Raises:
            ValueError: `last` is below 1.
        """
        return [one["name"] for one in self._get("branches", last=last)]

    def tags(self, *, last: Optional[int] = None) -> list[str]:
        """List the names of its tags, sorted.

        Args:
            last: Only the last so many.

        Raises:
            ValueError: `last` is below 1.
        """
        return [one["name"] for one in self._get("tags", last=last)]

    def commits(self, branch: Optional[str] = None, *, last: Optional[int] = None) -> list[CommitRecord]:
        """List the commits of a branch, newest first.

        Args:
            branch: A branch, a tag or the id of a commit; the branch of a clone by default.
            last: Only the newest so many, from 1 to 1,000; 1,000 by default.

        Raises:
            ValueError: `last` is not from 1 to 1,000.
            EmulatorError: There is no such branch.
        """
        return [CommitRecord(**one) for one in self._get("commits", branch=branch, last=last)]

    def files(self, branch: Optional[str] = None, *, last: Optional[int] = None) -> list[str]:
        """List the paths of the files on a branch, sorted.

        Args:
            branch: A branch, a tag or the id of a commit; the branch of a clone by default.
            last: Only the last so many.

        Raises:
            ValueError: `last` is below 1.
            EmulatorError: There is no such branch.
        """
        return list(self._get("files", branch=branch, last=last)["paths"])

    def file(self, path: str, branch: Optional[str] = None) -> str:
        """Return the text of a file on a branch.

        Args:
            path: The file's path in the repository.
            branch: A branch, a tag or the id of a commit; the branch of a clone by default.

        Raises:
            UnicodeDecodeError: It is not UTF-8; see `file_bytes`.
            EmulatorError: There is no such branch or file.
        """
        return self.file_bytes(path, branch).decode("utf-8")

    def file_bytes(self, path: str, branch: Optional[str] = None) -> bytes:
        """Return the content of a file on a branch; of a symbolic link, its target.

        Args:
            path: The file's path in the repository.
            branch: A branch, a tag or the id of a commit; the branch of a clone by default.

        Raises:
            EmulatorError: There is no such branch or file.
        """
        query = {"path": path, "branch": branch}
        with self._admin.download(f"{self._path}/file", account="*", query=query, timeout=SECONDS) as pieces:
            return b"".join(pieces)

    def _get(self, what: str, **query: Any) -> Any:
        return self._admin.call("GET", f"{self._path}/{what}", account="*", query=query)

    def _complaint(self) -> str:
        info = self.info
        return unused_repositories([info]) if info.is_unused else ""


def unused_repositories(repositories: Sequence[RepositoryInfo]) -> str:
    """The message about repositories that were never used."""
    one = len(repositories) == 1
    lines = ["a fake repository was never cloned:" if one else "fake repositories were never cloned:"]
    lines += [f"  {repository.described}" for repository in repositories]
    lines.append("remove it, correct its URL, or add it with optional=True")
    return "\n".join(lines)


class Repos(Collection[RepositoryInfo], RepositoryMethods[RepositoryHandle]):
    """Fake repositories of one account: the selected one, unless `account` names another. `account="*"` applies to
    every account.

    An account's own repository comes before one of all accounts with the same URL. Without any, git in sandboxes works
    as on the host.
    """

    _info = RepositoryInfo

    @property
    def _path(self) -> str:
        return "/repos"

    def get(self, id: str) -> RepositoryHandle:  # type: ignore[override]
        """Return one repository: by its URL, in any form, one that applies to the selected account; or by its id, of a
        view, one that applies to its account, and of a whole emulator, one of any account.

        Args:
            id: The URL or the id.

        Raises:
            EmulatorError: There is none; the text lists those that apply to the account.
        """
        known = self.list()
        try:
            key = parse(id).key
        except ValueError:
            key = ""
        elsewhere = self.list(account="*") if self._admin.allowed_account == "*" else []
        for one in [*known, *(other for other in elsewhere if other.id == id)]:
            if one.id == id or (key and parse(one.url).key == key):
                return RepositoryHandle(one.id, self._admin, one.account, one.url)
        urls = [one.url for one in known]
        raise EmulatorError(f"there is no fake repository {id!r}{suggestion(id, urls) or '; none was added'}")

    def remove(self, id: str) -> None:
        """Remove one repository by its URL or its id. Raises as `get`.

        Args:
            id: As of `get`.
        """
        self.get(id).remove()

    def _add_repository(self, arguments: dict[str, Any]) -> RepositoryHandle:
        sent, branch = source_as_json(arguments["source"], arguments["branch"])
        added = self._add(Repository, {**arguments, "source": sent, "branch": branch}, arguments["account"])
        return RepositoryHandle(added["id"], self._admin, added["account"], added["url"])


def source_as_json(source: Any, branch: Optional[str]) -> tuple[Union[str, Mapping[str, Any]], Optional[str]]:
    """Return the source of a repository as it is sent: files as they are, a directory as a git bundle; and the branch.

    Raises:
        ValueError, TypeError: It is neither.
        EmulatorError: git is missing or fails.
    """
    check_source("source", source)
    if isinstance(source, Mapping):
        return source, branch
    if source == "":  # as of an unset variable; `Path("")` would be the current directory
        raise ValueError("source: is empty; give the path of a directory, or {} for an empty repository")
    from ..repositories.bundles import bundle_directory
    from ..repositories.git_process import GitError

    try:
        bundle, branch = bundle_directory(Path(source), branch)
    except GitError as error:
        raise EmulatorError(f"source: {source}: {error}") from error
    return base64.b64encode(bundle).decode() if bundle else {}, branch
