"""Snapshots. One is taken and looked at by most of these checks; one more is deleted."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import Any, Optional
from urllib.parse import urljoin

import httpx

from ..check import Different, Group
from ..context import SNAPSHOT_SECONDS, Context
from ..expect import an_array, an_object, detail_of, holds, one_of, refused, same, status, true
from ..shapes import DOWNLOAD, SNAPSHOT
from ..wire import segment

group = Group("snapshots")


def _take(bench: Context, body: dict[str, Any]) -> httpx.Response:
    answer = bench.post(f"/sandboxes/{bench.box}/snapshots", json=body)
    made = bench.needed(answer, "a snapshot")
    identifier = str(made.get("id") if isinstance(made, dict) else "")
    bench.undo("DELETE", f"/snapshots/{segment(identifier)}", f"snapshot {identifier}")
    return answer


def taken(bench: Context) -> httpx.Response:
    """The answer to taking the shared one: of a workspace with `in-the-snapshot`."""

    def make() -> httpx.Response:
        bench.shell("rm -rf snapshot-folder; mkdir -p snapshot-folder/empty; echo then > in-the-snapshot")
        bench.shell("chmod 751 in-the-snapshot; ln -sf in-the-snapshot snapshot-link")
        return _take(bench, {"name": bench.name(), "description": "made by caged-emulator verify"})

    return bench.shared("the snapshot", make)


def _path(bench: Context) -> str:
    return f"/snapshots/{segment(str(taken(bench).json()['id']))}"


def _completed(bench: Context) -> dict[str, Any]:
    """The shared one, once it is not pending any more."""
    path = _path(bench)

    def look() -> Optional[dict[str, Any]]:
        found = an_object(bench.get(path))
        return None if found.get("status") == "pending" else found

    return bench.shared("a completed snapshot", lambda: bench.eventually(look, "status completed", SNAPSHOT_SECONDS))


def completed_path(bench: Context) -> str:
    """The path of the shared one, completed."""
    found = _completed(bench)
    if found.get("status") != "completed":
        raise Different("status completed", repr(found.get("status")))
    return _path(bench)


@group.contract("create-201", "Taking one answers 201.", "wire-contract 3.4")
def create_201(bench: Context) -> None:
    status(taken(bench), 201)


@group.contract("create-shape", "Taking one answers a snapshot.", "wire-contract 3.4")
def create_shape(bench: Context) -> None:
    made = an_object(taken(bench), SNAPSHOT)
    same("sandbox_id", made["sandbox_id"], bench.box)


@group.contract("create-named", "It has the name and the description that were given.", "wire-contract 3.4")
def create_named(bench: Context) -> None:
    made = an_object(taken(bench))
    holds("name", made.get("name"), bench.label)
    same("description", made.get("description"), "made by caged-emulator verify")


@group.contract("create-manual", "The trigger of one that was asked for is `manual`.", "wire-contract 3.4")
def create_manual(bench: Context) -> None:
    same("trigger", an_object(taken(bench)).get("trigger"), "manual")


@group.decision("create-pending", "It is pending when the create answers.", "Part A, Snapshots")
def create_pending(bench: Context) -> None:
    same("status", an_object(taken(bench)).get("status"), "pending")


@group.contract("completes", "It becomes completed by itself.", "wire-contract 3.4")
def completes(bench: Context) -> None:
    same("status", _completed(bench).get("status"), "completed")


@group.contract("get", "It can be looked at by its id.", "wire-contract 3.4")
def get(bench: Context) -> None:
    same("id", an_object(bench.get(_path(bench)), SNAPSHOT)["id"], taken(bench).json()["id"])


@group.contract("list", "The list of a sandbox's snapshots has it.", "wire-contract 3.4")
def listed(bench: Context) -> None:
    wanted = taken(bench).json()["id"]
    found = [item["id"] for item in an_array(bench.get(f"/sandboxes/{bench.box}/snapshots"), SNAPSHOT)]
    true(wanted in found, f"{wanted} in the list", found)


@group.contract("no-target", "A restore without target is a 400, `target_sandbox_id required`.", "wire-contract 2.3")
def no_target(bench: Context) -> None:
    answer = bench.post(f"{_path(bench)}/restore", json={})
    refused(answer, 400)
    holds("a text", detail_of(answer), "target_sandbox_id required")


@group.decision("unknown-target", "A restore into a sandbox that does not exist is a 404.", "Part A, Snapshots")
def unknown_target(bench: Context) -> None:
    refused(bench.post(f"{completed_path(bench)}/restore", json={"target_sandbox_id": "nobody"}), 404)


def _restore(bench: Context) -> httpx.Response:
    """Into the shared sandbox, after its workspace has changed; done once."""

    def make() -> httpx.Response:
        path = completed_path(bench)
        bench.shell("echo now > in-the-snapshot; echo new > not-in-the-snapshot")
        return bench.post(f"{path}/restore", json={"target_sandbox_id": bench.box})

    return bench.shared("a restore", make)


@group.contract("restore", "A restore answers 200 and status restored.", "wire-contract 3.4")
def restore(bench: Context) -> None:
    answer = _restore(bench)
    status(answer, 200)
    same("status", an_object(answer).get("status"), "restored")


@group.contract("restore-content", "A restore brings back what files were.", "wire-contract 3.4")
def restore_content(bench: Context) -> None:
    bench.need(_restore(bench), "a restore")
    same("output", bench.executed("cat in-the-snapshot")["output"], "then\n")


@group.decision("restore-whole", "A restore removes what was not there.", "Part A, Snapshots")
def restore_whole(bench: Context) -> None:
    bench.need(_restore(bench), "a restore")
    same("output", bench.executed("test -e not-in-the-snapshot && echo there || echo gone")["output"], "gone\n")


@group.decision("restore-exact", "Modes, links and empty directories are restored.", "Part A, Snapshots")
def restore_exact(bench: Context) -> None:
    bench.need(_restore(bench), "a restore")
    command = "stat -c %a in-the-snapshot; readlink snapshot-link; test -d snapshot-folder/empty && echo empty"
    same("output", bench.executed(command)["output"], "751\nin-the-snapshot\nempty\n")


def _downloaded(bench: Context, key: Optional[str] = None) -> httpx.Response:
    """What stands behind the URL; a relative one is below the server's own address."""
    url = an_object(bench.get(f"{completed_path(bench)}/download"), DOWNLOAD)["url"]
    if "://" in url:
        return bench.get(url, key="" if key is None else key)
    return bench.get(urljoin(bench.wire.base_url, url), key=key)


@group.contract("download", "A download is a URL and the seconds that it lives, 3600.", "wire-contract 3.4")
def download(bench: Context) -> None:
    found = an_object(bench.get(f"{completed_path(bench)}/download"), DOWNLOAD)
    same("expires_in_seconds", found["expires_in_seconds"], 3600)


@group.contract("download-content", "Behind the URL is a .tar.gz of the workspace.", "platform-behaviour B17")
def download_content(bench: Context) -> None:
    answer = _downloaded(bench)
    status(answer, 200)
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(answer.content))) as packed:
            names = packed.getnames()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise Different("a .tar.gz", error) from None
    true(any(name.endswith("in-the-snapshot") for name in names), "in-the-snapshot in it", names)


@group.decision("download-url", "The URL is an absolute one and needs no key.", "Part A, Snapshots")
def download_url(bench: Context) -> None:
    url = an_object(bench.get(f"{completed_path(bench)}/download"), DOWNLOAD)["url"]
    true("://" in url, "an absolute URL", url)
    status(bench.get(url, key=""), 200)


@group.decision("download-altered", "An altered URL is a 403.", "Part A, Snapshots")
def download_altered(bench: Context) -> None:
    url = an_object(bench.get(f"{completed_path(bench)}/download"), DOWNLOAD)["url"]
    altered = url[:-1] + ("0" if url[-1] != "0" else "1")
    status(bench.get(altered, key=""), 403)


@group.decision("old-target", "`sandbox_id` is an older name of the target.", "Part A, Snapshots")
def old_target(bench: Context) -> None:
    status(bench.post(f"{completed_path(bench)}/restore", json={"sandbox_id": bench.box}), 200)


def _deleted(bench: Context) -> tuple[httpx.Response, httpx.Response]:
    """(deleting one that was taken with an empty body, looking at it afterwards)."""

    def make() -> tuple[httpx.Response, httpx.Response]:
        identifier = str(_take(bench, {}).json()["id"])
        path = f"/snapshots/{segment(identifier)}"
        bench.eventually(
            lambda: True if '"pending"' not in bench.get(path).text else None, "a snapshot", SNAPSHOT_SECONDS
        )
        return bench.delete(path), bench.get(path)

    return bench.shared("a deleted snapshot", make)


@group.contract("delete-204", "Deleting one answers 204 and nothing.", "wire-contract 3.4")
def delete_204(bench: Context) -> None:
    answer, _after = _deleted(bench)
    status(answer, 204)
    same("the body", answer.content, b"")


@group.contract("deleted-404", "One that was deleted is a 404.", "platform-behaviour B3")
def deleted_404(bench: Context) -> None:
    _answer, after = _deleted(bench)
    refused(after, 404)


@group.contract("status-words", "The status is pending, completed or failed.", "wire-contract 3.4")
def status_words(bench: Context) -> None:
    one_of("status", an_object(taken(bench)).get("status"), ("pending", "completed", "failed"))
