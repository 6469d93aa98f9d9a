"""Git in a sandbox: cloning into the workspace and reading a work tree's changes."""

from __future__ import annotations

import base64
import functools
import time
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import unquote, urlsplit, urlunsplit

from .cage import Cage
from .command_result import CommandResult
from .output import OUTPUT_LIMIT

#: No prompt for a password, no pager, and not the developer's own settings.
_ENV = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_PAGER": "cat",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
}

_STATUS = {
    "M": "modified",
    "T": "modified",
    "R": "modified",
    "C": "added",
    "A": "added",
    "D": "deleted",
    "U": "modified",
}


#: Bytes of each of the three outputs of a diff: the list of files, the unstaged and the staged changes.
DIFF_BYTES = 4 * 1024 * 1024
#: For the three commands of a diff together.
DIFF_SECONDS = 20.0


class CloneError(Exception):
    """The clone failed; the text is git's. The caller redacts credentials in it."""


class DiffTimeout(Exception):
    """The diff took longer than DIFF_SECONDS; its processes were killed."""


class DiffTooLarge(Exception):
    """One of the three outputs is larger than DIFF_BYTES; the text says which."""


@dataclass(frozen=True)
class Repo:
    """A repository to clone.

    Attributes:
        url: Its URL, possibly with credentials, or a path of the host.
        token: A token for it.
        branch: The branch to check out.
        commit: The commit to check out.
        subdir: The only directory to check out.
    """

    url: str
    token: Optional[str] = None
    branch: Optional[str] = None
    commit: Optional[str] = None
    subdir: Optional[str] = None

    def split_credentials(self) -> tuple[str, Optional[str], Optional[str]]:
        """Return the URL without credentials, the user, and the password or token. An ssh user is not a credential and
        stays in the URL.

        Raises:
            ValueError: It looks like a URL, but is not one.
        """
        parts = urlsplit(self.url)
        if not parts.scheme or "@" not in parts.netloc:
            return self.url, None, self.token
        credentials, _, host = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        web = parts.scheme in ("http", "https")
        netloc = host if web or not user else f"{user}@{host}"
        clean = urlunsplit((parts.scheme, netloc, parts.path, parts.query, parts.fragment))
        user, password = unquote(user), unquote(password)
        return clean, user or None, self.token or password or (user if web else "") or None


@dataclass(frozen=True)
class Diff:
    """The changes of a work tree.

    Attributes:
        files: Path and status of each changed file, sorted.
        unstaged: The diff of changes that are not staged.
        staged: The diff of staged changes.
    """

    files: list[tuple[str, str]] = field(default_factory=list)
    unstaged: str = ""
    staged: str = ""


async def clone(cage: Cage, repo: Repo) -> None:
    """Clone a repository into /workspace, and check out the branch, commit and subdirectory.

    The token is sent as a header that is only in the environment of the git processes of this call: not in an argument,
    a file or a remote's URL.

    Raises:
        CloneError: git failed.
        SandboxGone: The sandbox's processes have ended.
    """
    url, user, token = repo.split_credentials()
    env = dict(_ENV)
    if cage.git_environment:
        del env["GIT_SSH_COMMAND"]  # git's settings for fake repositories have their own
    if token and url.startswith(("http://", "https://")):
        basic = base64.b64encode(f"{user or 'x-access-token'}:{token}".encode()).decode()
        origin = urlunsplit((*urlsplit(url)[:2], "/", "", ""))
        env.update(
            GIT_CONFIG_COUNT="1",
            GIT_CONFIG_KEY_0=f"http.{origin}.extraHeader",
            GIT_CONFIG_VALUE_0=f"Authorization: Basic {basic}",
        )
    command = ["clone", "--quiet", "--no-hardlinks"]  # a link would lead to the repository it came from
    if repo.subdir:
        command += ["--no-checkout"]
    if repo.branch:
        command += ["--branch", repo.branch]
    await _git_or_raise(cage, [*command, "--", url, "."], env)
    if repo.subdir:
        subdir = repo.subdir.strip("/")
        target = repo.commit or "HEAD"
        kind = await _git(cage, ["cat-file", "-t", f"{target}:{subdir}"], env)
        if kind.output.strip() != b"tree":
            raise CloneError(f"the repository has no directory {subdir!r} at {target}")
        await _git_or_raise(cage, ["sparse-checkout", "set", subdir], env)
    if repo.commit:
        await _git_or_raise(cage, ["checkout", "--quiet", "--detach", repo.commit], env)
    elif repo.subdir:
        await _git_or_raise(cage, ["checkout", "--quiet"], env)


async def diff(cage: Cage, path: str) -> Optional[Diff]:
    """Return the work tree's changes at `path`, or None when it is not a repository.

    Raises:
        OSError, OutsideOfSandbox: The path cannot be used.
        DiffTimeout: DIFF_SECONDS have passed, for example because the repository's settings start a program that hangs.
        DiffTooLarge: There are more than DIFF_BYTES of output.
        SandboxGone: The sandbox's processes have ended.
    """
    directory = await cage.directory(path)
    deadline = time.monotonic() + DIFF_SECONDS
    # Without diff.autoRefreshIndex=false, a diff writes the index, whatever GIT_OPTIONAL_LOCKS says.
    at = ["-C", directory, "-c", "core.quotePath=false", "-c", "diff.autoRefreshIndex=false"]
    run = functools.partial(_diff_part, cage, deadline)
    status = await run("list of changed files", [*at, "status", "--porcelain=v1", "-z", "--untracked-files=all"])
    if status.code != 0:
        return None
    unstaged = await run("unstaged diff", [*at, "diff", "--no-color", "--no-ext-diff"])
    staged = await run("staged diff", [*at, "diff", "--no-color", "--no-ext-diff", "--cached"])
    return Diff(_parse_status(status.output), _text(unstaged), _text(staged))


async def _diff_part(cage: Cage, deadline: float, what: str, arguments: list[str]) -> CommandResult:
    seconds = max(0.0, deadline - time.monotonic())
    result = await _git(cage, [*arguments, "--", "."], _ENV, DIFF_BYTES, seconds)
    if result.timed_out:
        raise DiffTimeout
    if result.truncated:
        raise DiffTooLarge(what)
    return result


def _parse_status(output: bytes) -> list[tuple[str, str]]:
    files: dict[str, str] = {}
    fields = iter(output.decode("utf-8", "replace").split("\0"))
    for entry in fields:
        if len(entry) < 4:
            continue
        code, path = entry[:2], entry[3:]
        if "R" in code or "C" in code:
            next(fields, None)  # where it came from
        letter = code[1] if code[1] not in " " else code[0]
        files[path] = "untracked" if code == "??" else _STATUS.get(letter if letter != "R" else "R", "modified")
    return sorted(files.items())


def _text(result: CommandResult) -> str:
    return result.output.decode("utf-8", "replace") if result.code == 0 else ""


async def _git(
    cage: Cage,
    arguments: list[str],
    env: dict[str, str],
    limit: int = OUTPUT_LIMIT,
    seconds: Optional[float] = None,
) -> CommandResult:
    return await cage.program(["/usr/bin/env", "git", *arguments], env, limit, seconds=seconds)


async def _git_or_raise(cage: Cage, arguments: list[str], env: dict[str, str]) -> None:
    result = await _git(cage, arguments, env)
    if result.code != 0:
        text = result.error or result.output.decode("utf-8", "replace").strip()
        lines = filter(None, map(str.strip, text.split("\n")))
        raise CloneError("; ".join(lines) or f"git {arguments[0]} ended with {result.code}")
