"""Snapshots. One is taken and looked at by most of these checks; one more is deleted."""

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
from ..context import SNAPSHOT_SECONDS, Context
from ..errors import Mismatch
from ..raw_client import path_segment
from ..shapes import DOWNLOAD, SNAPSHOT

group = Group("snapshots")


def _take(context: Context, body: dict[str, Any]) -> httpx.Response:
    answer = context.post(f"/sandboxes/{context.sandbox_id}/snapshots", json=body)
    made = context.require_json(answer, "a snapshot")
    identifier = str(made.get("id") if isinstance(made, dict) else "")
    context.add_cleanup("DELETE", f"/snapshots/{path_segment(identifier)}", f"snapshot {identifier}")
    return answer


def taken(context: Context) -> httpx.Response:
    """The answer to taking the shared one: of a workspace with `in-the-snapshot`."""

    def make() -> httpx.Response:
        context.run_command("rm -rf snapshot-folder; mkdir -p snapshot-folder/empty; echo then > in-the-snapshot")
        context.run_command("chmod 751 in-the-snapshot; ln -sf in-the-snapshot snapshot-link")
        return _take(context, {"name": context.unique_name(), "description": "made by caged-emulator verify"})

    return context.shared("the snapshot", make)


def _path(context: Context) -> str:
    return f"/snapshots/{path_segment(str(taken(context).json()['id']))}"


def _completed(context: Context) -> dict[str, Any]:
    """The shared one, once it is not pending any more."""
    path = _path(context)

    def look() -> Optional[dict[str, Any]]:
        found = read_object(context.get(path))
        return None if found.get("status") == "pending" else found

    return context.shared(
        "a completed snapshot", lambda: context.wait_until(look, "status completed", SNAPSHOT_SECONDS)
    )


def completed_path(context: Context) -> str:
    """The path of the shared one, completed."""
    found = _completed(context)
    if found.get("status") != "completed":
        raise Mismatch("status completed", repr(found.get("status")))
    return _path(context)


@group.contract("create-201", "Taking one answers 201.", "wire-contract 3.4")
def create_201(context: Context) -> None:
    assert_status(taken(context), 201)


@group.contract("create-shape", "Taking one answers a snapshot.", "wire-contract 3.4")
def create_shape(context: Context) -> None:
    made = read_object(taken(context), SNAPSHOT)
    assert_equal("sandbox_id", made["sandbox_id"], context.sandbox_id)


@group.contract("create-named", "It has the name and the description that were given.", "wire-contract 3.4")
def create_named(context: Context) -> None:
    made = read_object(taken(context))
    assert_contains("name", made.get("name"), context.label)
    assert_equal("description", made.get("description"), "made by caged-emulator verify")


@group.contract("create-manual", "The trigger of one that was asked for is `manual`.", "wire-contract 3.4")
def create_manual(context: Context) -> None:
    assert_equal("trigger", read_object(taken(context)).get("trigger"), "manual")


@group.decision("create-pending", "It is pending when the create answers.", "Part A, Snapshots")
def create_pending(context: Context) -> None:
    assert_equal("status", read_object(taken(context)).get("status"), "pending")


@group.contract("completes", "It becomes completed by itself.", "wire-contract 3.4")
def completes(context: Context) -> None:
    assert_equal("status", _completed(context).get("status"), "completed")


@group.contract("get", "It can be looked at by its id.", "wire-contract 3.4")
def get(context: Context) -> None:
    assert_equal("id", read_object(context.get(_path(context)), SNAPSHOT)["id"], taken(context).json()["id"])


@group.contract("list", "The list of a sandbox's snapshots has it.", "wire-contract 3.4")
def listed(context: Context) -> None:
    wanted = taken(context).json()["id"]
    found = [item["id"] for item in read_array(context.get(f"/sandboxes/{context.sandbox_id}/snapshots"), SNAPSHOT)]
    assert_true(wanted in found, f"{wanted} in the list", found)


@group.contract("no-target", "A restore without target is a 400, `target_sandbox_id required`.", "wire-contract 2.3")
def no_target(context: Context) -> None:
    answer = context.post(f"{_path(context)}/restore", json={})
    assert_error(answer, 400)
    assert_contains("a text", read_detail(answer), "target_sandbox_id required")


@group.decision("unknown-target", "A restore into a sandbox that does not exist is a 404.", "Part A, Snapshots")
def unknown_target(context: Context) -> None:
    assert_error(context.post(f"{completed_path(context)}/restore", json={"target_sandbox_id": "nobody"}), 404)


def _restore(context: Context) -> httpx.Response:
    """Into the shared sandbox, after its workspace has changed; done once."""

    def make() -> httpx.Response:
        path = completed_path(context)
        context.run_command("echo now > in-the-snapshot; echo new > not-in-the-snapshot")
        return context.post(f"{path}/restore", json={"target_sandbox_id": context.sandbox_id})

    return context.shared("a restore", make)


@group.contract("restore", "A restore answers 200 and status restored.", "wire-contract 3.4")
def restore(context: Context) -> None:
    answer = _restore(context)
    assert_status(answer, 200)
    assert_equal("status", read_object(answer).get("status"), "restored")


@group.contract("restore-content", "A restore brings back what files were.", "wire-contract 3.4")
def restore_content(context: Context) -> None:
    context.require_success(_restore(context), "a restore")
    assert_equal("output", context.exec_result("cat in-the-snapshot")["output"], "then\n")


@group.decision("restore-whole", "A restore removes what was not there.", "Part A, Snapshots")
def restore_whole(context: Context) -> None:
    context.require_success(_restore(context), "a restore")
    assert_equal(
        "output", context.exec_result("test -e not-in-the-snapshot && echo there || echo gone")["output"], "gone\n"
    )


@group.decision("restore-exact", "Modes, links and empty directories are restored.", "Part A, Snapshots")
def restore_exact(context: Context) -> None:
    context.require_success(_restore(context), "a restore")
    command = "stat -c %a in-the-snapshot; readlink snapshot-link; test -d snapshot-folder/empty && echo empty"
    assert_equal("output", context.exec_result(command)["output"], "751\nin-the-snapshot\nempty\n")


def _downloaded(context: Context, key: Optional[str] = None) -> httpx.Response:
    """What stands behind the URL; a relative one is below the server's own address."""
    url = read_object(context.get(f"{completed_path(context)}/download"), DOWNLOAD)["url"]
    if "://" in url:
        return context.get(url, key="" if key is None else key)
    return context.get(urljoin(context.client.base_url, url), key=key)


@group.contract("download", "A download is a URL and the seconds that it lives, 3600.", "wire-contract 3.4")
def download(context: Context) -> None:
    found = read_object(context.get(f"{completed_path(context)}/download"), DOWNLOAD)
    assert_equal("expires_in_seconds", found["expires_in_seconds"], 3600)


@group.contract("download-content", "Behind the URL is a .tar.gz of the workspace.", "platform-behaviour B17")
def download_content(context: Context) -> None:
    answer = _downloaded(context)
    assert_status(answer, 200)
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(answer.content))) as packed:
            names = packed.getnames()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise Mismatch("a .tar.gz", error) from None
    assert_true(any(name.endswith("in-the-snapshot") for name in names), "in-the-snapshot in it", names)


@group.decision("download-url", "The URL is an absolute one and needs no key.", "Part A, Snapshots")
def download_url(context: Context) -> None:
    url = read_object(context.get(f"{completed_path(context)}/download"), DOWNLOAD)["url"]
    assert_true("://" in url, "an absolute URL", url)
    assert_status(context.get(url, key=""), 200)


@group.decision("download-altered", "An altered URL is a 403.", "Part A, Snapshots")
def download_altered(context: Context) -> None:
    url = read_object(context.get(f"{completed_path(context)}/download"), DOWNLOAD)["url"]
    altered = url[:-1] + ("0" if url[-1] != "0" else "1")
    assert_status(context.get(altered, key=""), 403)


@group.decision("old-target", "`sandbox_id` is an older name of the target.", "Part A, Snapshots")
def old_target(context: Context) -> None:
    assert_status(context.post(f"{completed_path(context)}/restore", json={"sandbox_id": context.sandbox_id}), 200)


def _deleted(context: Context) -> tuple[httpx.Response, httpx.Response]:
    """(deleting one that was taken with an empty body, looking at it afterwards)."""

    def make() -> tuple[httpx.Response, httpx.Response]:
        identifier = str(_take(context, {}).json()["id"])
        path = f"/snapshots/{path_segment(identifier)}"
        context.wait_until(
            lambda: True if '"pending"' not in context.get(path).text else None, "a snapshot", SNAPSHOT_SECONDS
        )
        return context.delete(path), context.get(path)

    return context.shared("a deleted snapshot", make)


@group.contract("delete-204", "Deleting one answers 204 and nothing.", "wire-contract 3.4")
def delete_204(context: Context) -> None:
    answer, _after = _deleted(context)
    assert_no_content(answer)


@group.contract("deleted-404", "One that was deleted is a 404.", "platform-behaviour B3")
def deleted_404(context: Context) -> None:
    _answer, after = _deleted(context)
    assert_error(after, 404)


@group.contract("status-words", "The status is pending, completed or failed.", "wire-contract 3.4")
def status_words(context: Context) -> None:
    assert_one_of("status", read_object(taken(context)).get("status"), ("pending", "completed", "failed"))
