"""Snapshots. Most checks share one; another one is deleted."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import Any, Optional
from urllib.parse import urljoin

import httpx

from ..assertions import (
    assert_contains,
    assert_equal,
    assert_error,
    assert_no_content,
    assert_one_of,
    assert_status,
    assert_true,
    read_array,
    read_detail,
    read_object,
)
from ..check import Group
from ..context import Context
from ..errors import Mismatch
from ..raw_client import path_segment
from ..shapes import DOWNLOAD, SNAPSHOT

group = Group("snapshots")


def _create(context: Context, body: dict[str, Any]) -> httpx.Response:
    """Create a snapshot that is deleted at the end, or skip the check. Returns the answer."""
    answer = context.post(f"/sandboxes/{context.sandbox_id}/snapshots", json=body)
    created = context.require_json(answer, "a snapshot")
    snapshot_id = str(created.get("id") if isinstance(created, dict) else "")
    context.add_cleanup("DELETE", f"/snapshots/{path_segment(snapshot_id)}", f"snapshot {snapshot_id}")
    return answer


def create_shared_snapshot(context: Context) -> httpx.Response:
    """Create the shared snapshot, of a workspace with the file `in-the-snapshot`, and return the answer. Done once."""

    def make() -> httpx.Response:
        context.run_command("rm -rf snapshot-folder; mkdir -p snapshot-folder/empty; echo then > in-the-snapshot")
        context.run_command("chmod 751 in-the-snapshot; ln -sf in-the-snapshot snapshot-link")
        return _create(context, {"name": context.unique_name(), "description": "made by caged-emulator verify"})

    return context.shared("the snapshot", make)


def _id(context: Context) -> str:
    return str(create_shared_snapshot(context).json()["id"])


def _path(context: Context) -> str:
    return f"/snapshots/{path_segment(_id(context))}"


def _wait_for_completion(context: Context) -> dict[str, Any]:
    """Return the shared snapshot when it is not pending any more."""
    snapshot_id = _id(context)
    return context.shared("a completed snapshot", lambda: read_object(context.wait_for_snapshot(snapshot_id)))


def completed_path(context: Context) -> str:
    """Return the URL path of the shared snapshot, which is completed then."""
    status = _wait_for_completion(context).get("status")
    if status != "completed":
        raise Mismatch("status completed", repr(status))
    return _path(context)


@group.contract("create-201", "Creating a snapshot returns 201.", "wire-contract 3.4")
def create_201(context: Context) -> None:
    assert_status(create_shared_snapshot(context), 201)


@group.contract("create-shape", "Creating a snapshot returns the snapshot.", "wire-contract 3.4")
def create_shape(context: Context) -> None:
    made = read_object(create_shared_snapshot(context), SNAPSHOT)
    assert_equal("sandbox_id", made["sandbox_id"], context.sandbox_id)


@group.contract("create-named", "A created snapshot has the requested name and description.", "wire-contract 3.4")
def create_named(context: Context) -> None:
    made = read_object(create_shared_snapshot(context))
    assert_contains("name", made.get("name"), context.label)
    assert_equal("description", made.get("description"), "made by caged-emulator verify")


@group.contract("create-manual", "The trigger of a requested snapshot is `manual`.", "wire-contract 3.4")
def create_manual(context: Context) -> None:
    assert_equal("trigger", read_object(create_shared_snapshot(context)).get("trigger"), "manual")


@group.decision("create-pending", "A created snapshot is pending when the create request returns.", "Part A, Snapshots")
def create_pending(context: Context) -> None:
    assert_equal("status", read_object(create_shared_snapshot(context)).get("status"), "pending")


@group.contract("completes", "A pending snapshot becomes completed.", "wire-contract 3.4")
def completes(context: Context) -> None:
    assert_equal("status", _wait_for_completion(context).get("status"), "completed")


@group.contract("get", "A snapshot can be retrieved by its id.", "wire-contract 3.4")
def get(context: Context) -> None:
    assert_equal(
        "id", read_object(context.get(_path(context)), SNAPSHOT)["id"], create_shared_snapshot(context).json()["id"]
    )


@group.contract("list", "The list of a sandbox's snapshots contains a created snapshot.", "wire-contract 3.4")
def list_snapshots(context: Context) -> None:
    wanted = create_shared_snapshot(context).json()["id"]
    snapshots = read_array(context.get(f"/sandboxes/{context.sandbox_id}/snapshots"), SNAPSHOT)
    found = [snapshot["id"] for snapshot in snapshots]
    assert_true(wanted in found, f"{wanted} in the list", found)


@group.contract(
    "no-target", "A restore without a target returns 400, `target_sandbox_id required`.", "wire-contract 2.3"
)
def no_target(context: Context) -> None:
    answer = context.post(f"{_path(context)}/restore", json={})
    assert_error(answer, 400)
    assert_contains("a text", read_detail(answer), "target_sandbox_id required")


@group.decision("unknown-target", "A restore into an unknown sandbox returns 404.", "Part A, Snapshots")
def unknown_target(context: Context) -> None:
    assert_error(context.post(f"{completed_path(context)}/restore", json={"target_sandbox_id": "unknown"}), 404)


def _restore(context: Context) -> httpx.Response:
    """Restore the shared snapshot into its sandbox, whose workspace has changed, and return the answer. Done once."""

    def make() -> httpx.Response:
        path = completed_path(context)
        context.run_command("echo now > in-the-snapshot; echo new > not-in-the-snapshot")
        return context.post(f"{path}/restore", json={"target_sandbox_id": context.sandbox_id})

    return context.shared("a restore", make)


@group.contract("restore", "A restore returns 200 with the status `restored`.", "wire-contract 3.4")
def restore(context: Context) -> None:
    answer = _restore(context)
    assert_status(answer, 200)
    assert_equal("status", read_object(answer).get("status"), "restored")


@group.contract("restore-content", "A restore brings back the content of files.", "wire-contract 3.4")
def restore_content(context: Context) -> None:
    context.require_success(_restore(context), "a restore")
    assert_equal("output", context.exec_result("cat in-the-snapshot")["output"], "then\n")


@group.decision("restore-whole", "A restore removes files that are not in the snapshot.", "Part A, Snapshots")
def restore_whole(context: Context) -> None:
    context.require_success(_restore(context), "a restore")
    assert_equal(
        "output", context.exec_result("test -e not-in-the-snapshot && echo there || echo gone")["output"], "gone\n"
    )


@group.decision("restore-exact", "A restore brings back modes, links and empty directories.", "Part A, Snapshots")
def restore_exact(context: Context) -> None:
    context.require_success(_restore(context), "a restore")
    command = "stat -c %a in-the-snapshot; readlink snapshot-link; test -d snapshot-folder/empty && echo empty"
    assert_equal("output", context.exec_result(command)["output"], "751\nin-the-snapshot\nempty\n")


def _download(context: Context) -> dict[str, Any]:
    return read_object(context.get(f"{completed_path(context)}/download"), DOWNLOAD)


def _fetch_download(context: Context, key: Optional[str] = None) -> httpx.Response:
    """Fetch the download URL; a relative one is resolved against the server's address."""
    url = _download(context)["url"]
    if "://" in url:
        return context.get(url, key="" if key is None else key)
    return context.get(urljoin(context.client.base_url, url), key=key)


@group.contract("download", "A download has a URL and its lifetime, 3600 seconds.", "wire-contract 3.4")
def download(context: Context) -> None:
    assert_equal("expires_in_seconds", _download(context)["expires_in_seconds"], 3600)


@group.contract("download-content", "The download URL returns a .tar.gz of the workspace.", "platform-behaviour B17")
def download_content(context: Context) -> None:
    answer = _fetch_download(context)
    assert_status(answer, 200)
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(answer.content))) as packed:
            names = packed.getnames()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise Mismatch("a .tar.gz", error) from None
    assert_true(any(name.endswith("in-the-snapshot") for name in names), "in-the-snapshot in it", names)


@group.decision("download-url", "The download URL is absolute and works without an API key.", "Part A, Snapshots")
def download_url(context: Context) -> None:
    url = _download(context)["url"]
    assert_true("://" in url, "an absolute URL", url)
    assert_status(context.get(url, key=""), 200)


@group.decision("download-altered", "An altered download URL returns 403.", "Part A, Snapshots")
def download_altered(context: Context) -> None:
    url = _download(context)["url"]
    altered = url[:-1] + ("0" if url[-1] != "0" else "1")
    assert_status(context.get(altered, key=""), 403)


@group.decision("old-target", "`sandbox_id` is accepted as an older name of the target.", "Part A, Snapshots")
def old_target(context: Context) -> None:
    assert_status(context.post(f"{completed_path(context)}/restore", json={"sandbox_id": context.sandbox_id}), 200)


def _delete(context: Context) -> tuple[httpx.Response, httpx.Response]:
    """Create a snapshot with an empty body, and delete it. Done once.

    Returns:
        The answers to deleting it, and to getting it afterwards.
    """

    def make() -> tuple[httpx.Response, httpx.Response]:
        snapshot_id = str(_create(context, {}).json()["id"])
        path = f"/snapshots/{path_segment(snapshot_id)}"
        context.wait_for_snapshot(snapshot_id)
        return context.delete(path), context.get(path)

    return context.shared("a deleted snapshot", make)


@group.contract("delete-204", "Deleting a snapshot returns 204 with an empty body.", "wire-contract 3.4")
def delete_204(context: Context) -> None:
    assert_no_content(_delete(context)[0])


@group.contract("deleted-404", "A deleted snapshot returns 404.", "platform-behaviour B3")
def deleted_404(context: Context) -> None:
    assert_error(_delete(context)[1], 404)


@group.contract("status-words", "The status is pending, completed or failed.", "wire-contract 3.4")
def status_words(context: Context) -> None:
    assert_one_of(
        "status", read_object(create_shared_snapshot(context)).get("status"), ("pending", "completed", "failed")
    )
