"""Fake repositories: git repositories that sandboxes clone from and push to by the URLs of real hosts.

An option of a repository is one field of `Repository`, and one parameter of `RepositoryMethods.add`.
`platform/fake_repositories.py` makes them, and `repositories/` serves them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Optional, TypeVar

from . import repository_urls
from .current_account import ALL_ACCOUNTS
from .description import named, option
from .identifiers import IdOrObject
from .records import value
from .registry import Control, CountedInfo
from .repository_urls import RepositoryAddress
from .values import RepositorySource, Text

H = TypeVar("H")
#: The branch of a repository that is made of files.
MAIN = "main"
#: Files of a repository, and bytes of them together or of a bundle.
MOST_FILES, MOST_BYTES = 20_000, 32 * 1024**2


@dataclass(frozen=True)
class RepositoryInfo(CountedInfo):
    """A fake repository as the emulator has it."""

    url: str = value("Its URL.", column=True)
    default_branch: str = value("The branch that a clone checks out.", column=True)
    used: int = value("How many git commands of sandboxes have read it or written to it.", column=True)
    pushes: int = value("How many branches and tags were changed by pushes.", column=True)


@dataclass
class Repository(Control):
    """One fake repository: its options, and how often it was used.

    Attributes:
        used: How many git commands of sandboxes have read it or written to it.
        pushes: How many branches and tags were changed by pushes.
        default_branch: The branch that a clone checks out; empty until the repository is made.
    """

    NOUN = "repository"

    url: str = option(
        "", "Its URL, without credentials: https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH.", is_required=True
    )
    source: RepositorySource = option(
        {},
        "What is in it: a directory, which is cloned when it is a git repository, and becomes one commit otherwise; or"
        " a mapping of path and content, which becomes one commit.",
        is_required=True,
    )
    branch: Optional[str] = option(
        None,
        "The branch that a clone checks out. The default is `main`, and for a git repository the branch that is checked"
        " out there.",
    )
    token: Optional[Text] = option(
        None, "A token, or several; without one of them, clone, fetch and push fail. By default none is needed."
    )
    optional: bool = option(False, "Do not report it when it is never used.")
    used: int = field(default=0)
    pushes: int = field(default=0)
    default_branch: str = field(default="")

    @property
    def address(self) -> RepositoryAddress:
        """What its URL means."""
        return repository_urls.parse(self.url)

    @property
    def tokens(self) -> list[str]:
        """The tokens of which a client needs one; empty: it needs none."""
        return [self.token] if isinstance(self.token, str) else list(self.token or ())

    def check(self) -> None:
        super().check()
        try:
            _ = self.address
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        if repository_urls.has_credentials(self.url):
            raise ValueError("url: has credentials; give the URL without them, and the token as token=")
        if self.branch is not None and not is_branch_name(self.branch):
            raise ValueError(f"branch: {self.branch!r} is not the name of a branch")
        if self.token is not None and not all(self.tokens or [""]):
            raise ValueError("token: is empty; leave it out where no token is needed")
        self._check_source()

    def _check_source(self) -> None:
        if isinstance(self.source, Mapping):
            check_files(self.source)
        else:
            self.bundle()

    def bundle(self) -> Optional[bytes]:
        """The git bundle that it is made of; None where it is made of files.

        Raises:
            ValueError: The text is not that of a bundle.
        """
        if isinstance(self.source, Mapping):
            return None
        try:
            bundle = base64.b64decode(str(self.source), validate=True)
        except (ValueError, binascii.Error):
            bundle = b""
        if not bundle.startswith(b"# v"):
            raise ValueError(
                "source: must be a mapping of path and content, or a git bundle in base64; the path of a directory can"
                " be given in Python, on the command line and in scenario files"
            )
        return bundle

    def info(self) -> RepositoryInfo:
        fields: dict[str, Any] = self._info_fields()
        fields["options"] = {name: value for name, value in fields["options"].items() if name != "source"}
        if "token" in fields["options"]:
            fields["options"]["token"] = "***"
        return RepositoryInfo(
            **fields, url=self.url, default_branch=self.default_branch, used=self.used, pushes=self.pushes
        )

    def __str__(self) -> str:
        more = [f"branch={self.branch!r}"] if self.branch else []
        more += ["token='***'"] if self.token else []
        more += ["account='*'"] if self.account == ALL_ACCOUNTS else []
        return f"repository {self.id} ({', '.join([repr(self.url), *more])})"


def is_branch_name(name: str) -> bool:
    """Whether a text can be the name of a branch (git-check-ref-format)."""
    forbidden = set(" ~^:?*[\\\x7f")
    return (
        bool(name)
        and len(name) <= 200
        and not any(letter in forbidden or ord(letter) < 32 for letter in name)
        and not any(part in name for part in ("..", "@{", "//"))
        and not name.startswith(("/", "-"))
        and not name.endswith(("/", "."))
        and not any(part.startswith(".") or part.endswith(".lock") for part in name.split("/"))
        and name not in ("@", "HEAD")
    )


def check_files(files: Mapping[str, Any]) -> None:
    """Check the paths of files for a repository.

    Raises:
        ValueError: One cannot be in a repository, or there are too many, or too large ones.
    """
    if len(files) > MOST_FILES:
        raise ValueError(f"source: has {len(files):,} files; {MOST_FILES:,} are the most")
    total = 0
    for path, content in files.items():
        parts = path.split("/")
        if not path or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or "\0" in path:
            raise ValueError(f"source: {path!r} cannot be the path of a file in a repository, such as 'src/calc.py'")
        folder = next((f for f in ("/".join(parts[:end]) for end in range(1, len(parts))) if f in files), None)
        if folder is not None:
            raise ValueError(f"source: {folder!r} is a file, and also the directory of {path!r}")
        total += len(content)
    if total > MOST_BYTES:
        raise ValueError(f"source: has {total:,} bytes; {MOST_BYTES // 1024**2} MiB are the most")


class RepositoryMethods(Generic[H]):
    """The method that adds a fake repository, as callers see it. H: the class of the handles that it returns."""

    @named("repos.add")
    def add(
        self,
        url: str,
        source: RepositorySource,
        *,
        branch: Optional[str] = None,
        token: Optional[Text] = None,
        optional: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> H:
        """Serve a git repository to the account's sandboxes, existing and new ones, under the URL of a real host:
        `create(repo=...)`, and `git clone`, `fetch` and `push` in every form of the URL (https, ssh, `.git`). While
        an account has a fake repository, git in its sandboxes reaches no other host.

        Args:
            url: Its URL, without credentials: https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH.
            source: What is in it: a directory, which is cloned when it is a git repository, and becomes one commit
                otherwise; or a mapping of path and content, which becomes one commit.
            branch: The branch that a clone checks out. The default is `main`, and for a git repository the branch
                that is checked out there.
            token: A token, or several; without one of them, clone, fetch and push fail. By default none is needed.
            optional: Do not report it when it is never used.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The handle of the repository, which shows what was pushed.

        Raises:
            ValueError, TypeError: An argument is wrong, or the account has a repository with this URL.
            EmulatorError: git is missing, or cannot read the directory.
        """
        return self._add_repository(dict(locals()))

    def _add_repository(self, arguments: dict[str, Any]) -> H:
        """Add a repository. `arguments`: the local names of `add`, `self` and `account` among them."""
        raise NotImplementedError
