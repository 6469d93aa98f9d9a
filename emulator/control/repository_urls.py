"""URLs of git repositories, in all forms in which they name the same one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

#: The schemes of repositories that are reached over a network, with their usual ports.
SCHEMES = {"https": 443, "http": 80, "ssh": 22, "git+ssh": 22, "ssh+git": 22, "git": 9418}
#: [user@]host:path, where the path does not begin with two slashes.
_SCP = re.compile(
    r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?!//)(?P<path>.+)", re.DOTALL
)
_HOST = re.compile(r"[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\]")
#: Characters of a URL; a longer one is refused.
MOST_CHARACTERS = 2000
_FORMS = "give https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH"


@dataclass(frozen=True)
class RepositoryAddress:
    """What all URLs of one repository have in common.

    Attributes:
        host: The host, in lower case, with the port where it is not the scheme's usual one.
        path: The path, without the first slash and without `.git`.
    """

    host: str
    path: str

    @property
    def key(self) -> str:
        """Equal for all URLs of one repository: as on the well-known hosts, upper and lower case are the same."""
        return f"{self.host}/{self.path}".casefold()

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


def parse(url: str) -> RepositoryAddress:
    """Return the address that a URL has: https, http, ssh or git, or `[user@]host:path`, with or without `.git`.

    Raises:
        ValueError: It has none of these forms. The text does not show its credentials.
    """
    if len(url) > MOST_CHARACTERS:
        raise ValueError(f"the URL is longer than {MOST_CHARACTERS:,} characters")
    if "://" not in url:
        short = _SCP.fullmatch(url)
        if short is None:
            raise ValueError(f"{_shown(url)} is not the URL of a repository on a host; {_FORMS}")
        return of_parts(short["host"], short["path"])
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES or parts.query or parts.fragment:
        raise ValueError(f"{_shown(url)} is not the URL of a repository on a host; {_FORMS}")
    return of_parts(parts.netloc.rpartition("@")[2], unquote(parts.path), SCHEMES[scheme])


def has_credentials(url: str) -> bool:
    """Whether a URL holds a password, or a user of https or http (which may be a token)."""
    if "://" not in url:
        return False
    parts = urlsplit(url)
    return "@" in parts.netloc and (parts.scheme.lower() in ("https", "http") or ":" in parts.netloc.rpartition("@")[0])


def of_parts(host: str, path: str, usual_port: int = 22) -> RepositoryAddress:
    """Return the address of a path on a host.

    Args:
        host: The host, with a port or without.
        path: The path, decoded; slashes at its ends and `.git` do not count.
        usual_port: The port that is left out.

    Raises:
        ValueError: The host or the path cannot be that of a repository.
    """
    host = host.lower()
    if host.endswith(f":{usual_port}"):
        host = host[: -len(str(usual_port)) - 1]
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if colon and not port.isdigit():
        raise ValueError(f"{port[:20]!r} is not a port")
    if _HOST.fullmatch(name if colon else host) is None:
        raise ValueError(f"{host[:100]!r} is not the name of a host")
    path = path.strip("/")
    if path.endswith(".git"):
        path = path[:-4].rstrip("/")
    segments = path.split("/")
    if any(segment in ("", ".", "..") for segment in segments) or not path.isprintable() or "\\" in path:
        raise ValueError(f"{path[:100]!r} is not the path of a repository")
    return RepositoryAddress(host, path)


def _shown(url: str) -> str:
    """A URL for an error text, without credentials."""
    scheme, separator, rest = url[:200].partition("://")
    if separator and "@" in rest:
        rest = rest.rpartition("@")[2]
    return repr(f"{scheme}{separator}{rest}")
