"""/_emulator/repos: fake repositories. `control/repositories.py` describes the options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field
from starlette.responses import Response

from ...control.queries import MOST_COMMITS, CommitQuery, PushQuery, RefQuery, RepositoryFileQuery, parameters_of
from ...control.records import CommitRecord, PushRecord
from ...control.repositories import MOST_BYTES, Repository, RepositoryInfo
from ...control.schema import options_model, record_model, values_in
from ...platform.errors import ApiError, invalid
from ...repositories.bare_repository import BareRepository, UnknownNameError
from ...repositories.git_process import GitError
from ..operation import Body, Call, EmptyBody, Model, json_reply
from .controls import add_operations, found, last_of, refusing, reply_with
from .operations import AdminOperations

operations = AdminOperations()


class _AddBody(Body):
    def secret_values(self) -> list[str]:
        given = getattr(self, "token", None)
        return [given] if isinstance(given, str) else list(given or ())


AddRepository = options_model(
    "AddRepository",
    Repository,
    _AddBody,
    '`source` is a mapping of path and content, where a content that is not UTF-8 text is `{"base64": …}`; or a text:'
    " a git bundle in base64.",
)
RepositoryOut = record_model("RepositoryOut", RepositoryInfo, Model)
CommitOut: Any = record_model("CommitOut", CommitRecord, Model)
PushOut: Any = record_model("PushOut", PushRecord, Model)


class RefOut(Model):
    """A branch or tag."""

    name: str = Field(description="Its name.")
    commit: str = Field(description="Id of what it names: a commit, or an annotated tag.")


class FilesOut(Model):
    """The files of a repository."""

    paths: list[str] = Field(description="Their paths, sorted.")


@operations.call(
    "POST", "/repos", "repos.add", AddRepository, reply=RepositoryOut, status=201, most_bytes=2 * MOST_BYTES
)
async def add(call: Call[Body]) -> Response:
    """Serve a git repository to the account's sandboxes under the URL of a real host. While an account has one, git in
    its sandboxes reaches no other host."""
    with refusing():
        options = values_in(Repository, call.body)
        control = await call.platform.fake_repositories.add(call.account.id, options)
    return reply_with(RepositoryOut, control, 201)


add_operations(
    operations,
    "repos",
    "repository",
    RepositoryOut,
    lambda platform: platform.repositories,
    lambda platform, control: platform.fake_repositories.remove(control),
)


@contextmanager
def _reading() -> Iterator[None]:
    """Answer with 404 for a name that does not exist."""
    try:
        yield
    except UnknownNameError as error:
        raise ApiError(404, str(error)) from None
    except GitError as error:
        raise ApiError(500, f"the repository cannot be read: {error}") from None


def _control(call: Call[Any]) -> Repository:
    return found(call, call.platform.repositories, "repository")


def _bare(call: Call[Any]) -> BareRepository:
    return call.platform.fake_repositories.bare(_control(call))


@operations.call("GET", "/repos/{id}/branches", "repos.branches", reply=list[RefOut], query=parameters_of(RefQuery))
async def branches(call: Call[EmptyBody]) -> Response:
    """Its branches, by name. `last`: only the last so many."""
    with _reading():
        refs = await _bare(call).branches()
    return json_reply([RefOut(name=name, commit=commit) for name, commit in last_of(call, list(refs.items()))])


@operations.call("GET", "/repos/{id}/tags", "repos.tags", reply=list[RefOut], query=parameters_of(RefQuery))
async def tags(call: Call[EmptyBody]) -> Response:
    """Its tags, by name. `last`: only the last so many."""
    with _reading():
        refs = await _bare(call).tags()
    return json_reply([RefOut(name=name, commit=commit) for name, commit in last_of(call, list(refs.items()))])


@operations.call("GET", "/repos/{id}/commits", "repos.commits", reply=list[CommitOut], query=parameters_of(CommitQuery))
async def commits(call: Call[EmptyBody]) -> Response:
    """The commits of a branch (a tag, or the id of a commit), newest first. `last`: only the newest so many."""
    last = call.query_int("last")
    if last is not None and not 1 <= last <= MOST_COMMITS:
        raise invalid(f"last: must be from 1 to {MOST_COMMITS:,}, not {last}")
    with _reading():
        records = await _bare(call).commits(call.query("branch"), last or MOST_COMMITS)
    return json_reply([CommitOut(**vars(one)) for one in records])


@operations.call("GET", "/repos/{id}/files", "repos.files", reply=FilesOut, query=parameters_of(RepositoryFileQuery))
async def files(call: Call[EmptyBody]) -> Response:
    """The paths of the files on a branch (at a tag, or at a commit). `last`: only the last so many."""
    with _reading():
        paths = await _bare(call).files(call.query("branch"))
    return json_reply(FilesOut(paths=list(last_of(call, paths))))


@operations.call("GET", "/repos/{id}/file", "repos.file", reply=bytes, query={"path": str, "branch": str})
async def file(call: Call[EmptyBody]) -> Response:
    """The content of a file on a branch (at a tag, or at a commit)."""
    path = call.query("path")
    if not path:
        raise invalid("path: is missing; give the path of a file in the repository")
    with _reading():
        content = await _bare(call).file(path, call.query("branch"))
    return Response(content, media_type="application/octet-stream")


@operations.call("GET", "/repos/{id}/pushes", "repos.pushes", reply=list[PushOut], query=parameters_of(PushQuery))
async def pushes(call: Call[EmptyBody]) -> Response:
    """The branches and tags that pushes of sandboxes changed, oldest first. `last`: only the newest so many."""
    records = last_of(call, call.platform.fake_repositories.pushes(_control(call)))
    return json_reply([PushOut(**vars(one)) for one in records])
