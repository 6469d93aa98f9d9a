"""A directory of the test's machine as a git bundle, which can be sent to an emulator elsewhere. Blocks."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Optional

from ..control.repositories import MOST_BYTES
from .bare_repository import AUTHOR, COMMITTED_AT, FIRST_MESSAGE
from .git_process import SECONDS, GitError, environment


def bundle_directory(path: Path, branch: Optional[str]) -> tuple[bytes, Optional[str]]:
    """Make a bundle of a git repository with its branches and tags, or of another directory with one commit.

    In a repository without branches, as CI checks out a pull request, the commit that is checked out becomes the
    branch. Uncommitted changes of a repository are not in it. Every file of another directory is, also one that a
    .gitignore names.

    Args:
        path: The directory.
        branch: The branch that a clone checks out; None: `main`, or the one that is checked out in the repository.

    Returns:
        The bundle, and the branch. An empty bundle stands for a directory without files, or a repository without
        commits.

    Raises:
        ValueError: There is no directory, or it is too large.
        GitError: git is missing or fails, or the repository is a shallow clone.
    """
    if not path.is_dir():
        raise ValueError(f"source: there is no directory {str(path)!r}")
    with tempfile.TemporaryDirectory(prefix="caged-repository-") as folder:
        repository = path
        if not _is_repository(path):
            branch = branch or "main"
            repository = Path(folder) / "made.git"
            _commit_directory(path, repository, branch)
        _check_hashes(path, repository)
        if branch is None:
            branch = _current_branch(path)
        which = ["--branches", "--tags"]
        if not _branches(repository):
            if not _has_commit(repository):
                return b"", branch
            which, branch = ["HEAD", "--tags"], branch or "main"
        _check_complete(path, repository)
        bundle = Path(folder) / "bundle"
        _git(repository, "bundle", "create", "--quiet", str(bundle), *which)
        if bundle.stat().st_size > MOST_BYTES:
            raise ValueError(
                f"source: the repository {str(path)!r} has {bundle.stat().st_size:,} bytes packed;"
                f" {MOST_BYTES // 1024**2} MiB are the most"
            )
        return bundle.read_bytes(), branch


def _is_repository(path: Path) -> bool:
    """Whether it is one itself, bare or not; a directory within the work tree of another one is not."""
    return (path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir())


def _check_hashes(path: Path, repository: Path) -> None:
    """Raise GitError for a repository whose ids are SHA-256: one of the other kind cannot fetch from it."""
    if _git(repository, "config", "--default", "sha1", "--get", "extensions.objectFormat").strip() != "sha1":
        raise GitError(
            f"the repository {str(path)!r} has SHA-256 ids (`git init --object-format=sha256`), which fake repositories"
            " cannot have"
        )


def _current_branch(repository: Path) -> Optional[str]:
    """The branch that is checked out, or that has the commit that is; None where there are no branches.

    Raises:
        ValueError: The commit that is checked out is that of no branch.
    """
    try:
        return _git(repository, "symbolic-ref", "--short", "HEAD").strip()
    except GitError:
        pass  # no branch is checked out
    branches = _branches(repository)
    if not branches:
        return None
    at_commit = _branches(repository, "--points-at=HEAD")
    if not at_commit:
        raise ValueError(
            f"branch: a commit of no branch is checked out in {str(repository)!r}; choose the branch that a clone"
            f" checks out, of {', '.join(branches[:20])}, or make one of that commit (`git branch NAME`)"
        )
    return next((name for name in ("main", "master") if name in at_commit), at_commit[0])


def _branches(repository: Path, *which: str) -> list[str]:
    return _git(repository, "for-each-ref", "--format=%(refname:lstrip=2)", *which, "refs/heads/").splitlines()


def _has_commit(repository: Path) -> bool:
    """Whether a commit is checked out."""
    try:
        return bool(_git(repository, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"))
    except GitError:
        return False


def _check_complete(path: Path, repository: Path) -> None:
    """Raise GitError for a shallow clone, whose bundle nothing can be made of."""
    if _git(repository, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise GitError(
            f"the repository {str(path)!r} is a shallow clone, which lacks the parents of its oldest commits; run"
            " `git fetch --unshallow` in it first (in CI: check out with the whole history, such as `fetch-depth: 0`)"
        )


def _commit_directory(path: Path, repository: Path, branch: str) -> None:
    _git(None, "init", "--quiet", "--bare", "--template=", str(repository))
    _git(repository, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    tree = ["--work-tree", str(path.absolute())]
    _git(repository, *tree, "add", "--all", "--force", "--", ".", folder=path)
    if _git(repository, "ls-files"):
        _git(repository, *tree, "commit", "--quiet", "--no-verify", "--message", FIRST_MESSAGE)


def _git(repository: Optional[Path], *arguments: str, folder: Optional[Path] = None) -> str:
    name, _, email = AUTHOR.rstrip(">").partition(" <")
    date = f"{COMMITTED_AT} +0000"
    who = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", name), ("EMAIL", email), ("DATE", date))
    }
    where = [] if repository is None else ["--git-dir", str(_git_dir(repository).absolute())]
    settings = ["-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", "-c", "gc.auto=0"]
    env = environment(**who, TMPDIR=tempfile.gettempdir())
    try:
        done = subprocess.run(
            ["git", *settings, *where, *arguments],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise GitError("git is not installed; a directory can be a repository only with it") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git {arguments[0]} took longer than {SECONDS:g} s") from None
    if done.returncode != 0:
        raise GitError(f"git {arguments[0]} failed: {os.fsdecode(done.stderr).strip()}")
    return os.fsdecode(done.stdout)


def _git_dir(repository: Path) -> Path:
    inner = repository / ".git"
    if inner.is_file():  # a work tree or a submodule, whose repository is elsewhere
        text = inner.read_text("utf-8").strip()
        return (repository / text[len("gitdir:") :].strip()) if text.startswith("gitdir:") else inner
    return inner if inner.exists() else repository
