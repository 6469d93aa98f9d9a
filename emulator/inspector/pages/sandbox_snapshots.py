"""The tab of a sandbox's snapshots: they are listed, taken, restored and deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ...platform.errors import ApiError
from ...trace.html import Html, element
from ..components import call_button, confirmed, empty, live, moment, python, status, table
from ..page import PageRequest, Tab
from ..public_api import segment

_COLUMNS = ("Snapshot", "Name", "Status", "Bytes", "Taken", "Actions")
#: What a new sandbox for a snapshot has of the one from which it was taken.
_SAME = ("template", "cpus", "memory_mb", "disk_gb", "network_mode")


async def render(request: PageRequest, sandbox: Mapping[str, Any]) -> Sequence[Html]:
    id = sandbox["id"]
    try:
        found = await request.api.get(f"/v1/sandboxes/{segment(id)}/snapshots")
    except ApiError as error:
        text = f"The snapshots of this sandbox are not listed any more: {error}. Each is still there by its id:"
        return [live("snapshots", empty(text, "caged.snapshots.get(snapshot_id)"), class_="content")]
    rows = [_row(request, sandbox, one) for one in reversed(found)]
    can_take = sandbox["status"] in ("running", "paused")
    nothing = empty("No snapshots yet. Take one here, or in Python:", f'caged.snapshots.create("{id}", name="before")')
    return [
        element("div", _form(id), class_="content form-tab") if can_take else element("div"),
        live(
            "snapshots",
            table(_COLUMNS, rows, "Snapshots") if rows else nothing,
            python(_lines(id, found[-1]["id"])) if rows else None,
            class_="content",
            data_poll=any(one["status"] == "pending" for one in found),
        ),
    ]


def _form(id: str) -> Html:
    return element(
        "form",
        element("label", "Name", for_="snapshot-name"),
        element("input", id="snapshot-name", name="name", type="text", maxlength="200", placeholder="optional"),
        element("button", "Take a snapshot"),
        data_snapshot=f"/v1/sandboxes/{segment(id)}/snapshots",
    )


def _row(request: PageRequest, sandbox: Mapping[str, Any], snapshot: Mapping[str, Any]) -> Sequence[Optional[Html]]:
    name = snapshot["name"] if snapshot["name"] != snapshot["id"] else ""
    trigger = None if snapshot["trigger"] == "manual" else element("span", snapshot["trigger"], class_="muted")
    return (
        element("code", snapshot["id"]),
        element("span", name, " " if trigger else None, trigger),
        status(snapshot["status"]),
        element("span", f"{snapshot['size_bytes']:,}", class_="number"),
        moment(snapshot["created_at"]),
        element("div", *_actions(request, sandbox, snapshot), class_="actions"),
    )


def _actions(request: PageRequest, sandbox: Mapping[str, Any], snapshot: Mapping[str, Any]) -> Sequence[Optional[Html]]:
    path, account = f"/v1/snapshots/{segment(snapshot['id'])}", request.account
    delete = call_button("Yes, delete it", "DELETE", path, account, class_="danger", done="The snapshot is deleted.")
    restores: Sequence[Optional[Html]] = ()
    if snapshot["status"] == "completed":
        target = {"target_sandbox_id": sandbox["id"]}
        done = "The workspace is that of the snapshot."
        restore = call_button("Yes, restore it", "POST", f"{path}/restore", account, target, class_="danger", done=done)
        restores = (
            element(
                "button",
                "Restore into a new sandbox",
                type="button",
                data_restore=f"{path}/restore",
                data_create=json.dumps({name: sandbox[name] for name in _SAME}),
                data_then=request.link("sandboxes", "{id}", "files"),
            ),
            confirmed("Restore", "All files in /workspace will be replaced.", restore)
            if sandbox["status"] == "running"
            else None,
        )
    return (*restores, confirmed("Delete", "It cannot be restored then.", delete))


def _lines(id: str, snapshot: str) -> list[str]:
    return [
        f'snapshot = caged.snapshots.create("{id}", name="before")',
        "caged.snapshots.wait(snapshot.id)",
        f'caged.snapshots.restore("{snapshot}")  # into {id}',
        f'caged.snapshots.restore("{snapshot}", target_sandbox_id=caged.sandboxes.create().id)',
        f'caged.snapshots.delete("{snapshot}")',
    ]


TAB = Tab("snapshots", "Snapshots", render)
