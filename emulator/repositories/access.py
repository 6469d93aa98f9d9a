"""What the servers of fake repositories need to know of the platform: which repository a sandbox may use, and what it
did."""

from __future__ import annotations

import base64
import binascii
import hmac
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ..control.repository_urls import RepositoryAddress
from .bare_repository import BareRepository


@dataclass(frozen=True)
class ServedRepository:
    """A repository as the servers have it.

    Attributes:
        id: The control's id.
        url: Its URL, for texts.
        bare: The repository on disk.
        tokens: Tokens of which a client needs one; empty: it needs none.
    """

    id: str
    url: str
    bare: BareRepository
    tokens: Sequence[str] = ()

    def accepts(self, authorization: str) -> bool:
        """Whether an `Authorization` header holds one of the tokens: as the password, as the user, or as a bearer."""
        return not self.tokens or any(
            hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
            for given in _given_tokens(authorization)
            for token in self.tokens
        )


@dataclass(frozen=True)
class RefUpdate:
    """A branch or tag that a push changes. `before`, `after`: ids of commits; empty where there is none."""

    ref: str
    before: str
    after: str


class GitClient(ABC):
    """The sandbox at the other end of a connection."""

    @abstractmethod
    def find(self, address: RepositoryAddress) -> Optional[ServedRepository]:
        """The repository that an address means to it; None when there is none."""

    @abstractmethod
    def describe_unknown(self, host: str, path: str) -> str:
        """Note that it wanted a repository or a host that does not exist, and return the text that git prints."""

    @abstractmethod
    def note_use(self, repository: ServedRepository) -> None:
        """Note that a git command of its has begun to read a repository or to write to it."""

    @abstractmethod
    def note_fetch(self, repository: ServedRepository, is_clone: bool) -> None:
        """Note that it fetched."""

    @abstractmethod
    def note_refusal(self, repository: ServedRepository, reason: str) -> None:
        """Note that it was refused."""

    @abstractmethod
    def note_push(self, repository: ServedRepository, updates: Sequence[RefUpdate]) -> None:
        """Note what it pushed."""


def _given_tokens(authorization: str) -> list[str]:
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() in ("bearer", "token"):
        return [value.strip()]
    if scheme.lower() != "basic":
        return []
    user, password = basic_credentials(authorization)
    return [password, user]


def basic_credentials(authorization: str) -> tuple[str, str]:
    """User and password of a header with basic authentication; empty ones where it is none."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace").partition(":")
    except (ValueError, binascii.Error):
        return "", ""
    return user, password
