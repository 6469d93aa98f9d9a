"""The tab of a sandbox's files: directories, texts, and what has changed a file."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ...platform.errors import ApiError
from ...platform.limits import READ_BYTES
from ...trace.html import Child, Html, element
from ...trace.text import counted, one_line
from ...truncation import truncate
from ..components import call_button, empty, live, moment, python, table
from ..page import PageRequest, Tab
from ..public_api import segment
from .sandbox_states import unavailable

WORKSPACE = "/workspace"
#: Where a sandbox has files of its own.
_PLACES = (WORKSPACE, "/root", "/tmp")
#: What is shown at most: characters of a file, entries of a directory, changes of a file.
FILE_CHARACTERS, MOST_ENTRIES, MOST_CHANGES = 200_000, 1000, 5
#: The newest steps, among which the changes of a file are looked for.
_STEPS = 300
_TITLE_CHARACTERS = 120


async def render(request: PageRequest, sandbox: Mapping[str, Any]) -> Sequence[Html]:
    nothing = unavailable(request, sandbox, "Showing its files")
    if nothing is not None:
        return [live("files", nothing, class_="content")]
    file = request.query.get("file")
    path = posixpath.normpath(posixpath.join(WORKSPACE, file or request.query.get("path") or ""))
    view = _Files(request, sandbox["id"])
    try:
        content = await view.either(path) if file else await view.directory(path)
    except ApiError as error:
        back = element("a", "Show /workspace", href=view.link(WORKSPACE))
        content = [view.crumbs(path), empty(str(error), hint=back)]
    return [live("files", *content, class_="content")]


class _Files:
    """The files of one sandbox."""

    def __init__(self, request: PageRequest, sandbox: str) -> None:
        self._request = request
        self._sandbox = sandbox
        self._path = f"/v1/sandboxes/{segment(sandbox)}/files"

    def link(self, path: str, kind: str = "path") -> str:
        """The URL of the tab for a directory (`path`) or a file (`file`)."""
        return self._request.link("sandboxes", self._sandbox, "files", **{kind: path})

    async def either(self, path: str) -> list[Optional[Html]]:
        """A file; the directory to which a link of this path leads."""
        try:
            return await self.file(path)
        except ApiError as error:
            try:
                return await self.directory(path)
            except ApiError:
                raise error from None

    async def directory(self, path: str) -> list[Optional[Html]]:
        entries = await self._request.api.get(self._path, path=path)
        rows = [self._row(path, one) for one in entries[:MOST_ENTRIES]]
        more = len(entries) - len(rows)
        lines = [f'caged.files.list("{self._sandbox}", {_quoted(path)})']
        nothing = empty("This directory is empty. Write a file, and it appears here:", self._write(path))
        places = [element("a", place, href=self.link(place)) for place in _PLACES if place != path]
        return [
            element("div", self.crumbs(path), element("span", *places, class_="places"), class_="file-top"),
            table(("Name", "Bytes", "Changed"), rows, "Files") if rows else nothing,
            element("p", f"{counted(more, 'more entry', '')} not shown.", class_="note") if more else None,
            python(lines) if rows else None,
        ]

    def _write(self, path: str) -> str:
        return f'caged.files.write("{self._sandbox}", {_quoted(posixpath.join(path, "hello.txt"))}, "hello\\n")'

    def _row(self, path: str, entry: Mapping[str, Any]) -> tuple[Child, ...]:
        is_directory = entry["type"] == "directory"
        name = element("code", entry["name"], "/" if is_directory else None)
        target = posixpath.join(path, entry["name"])
        link = element("a", name, href=self.link(target, "path" if is_directory else "file"))
        size = "" if is_directory else f"{entry['size']:,}"
        return link, element("span", size, class_="number"), moment(entry["mod_time"])

    async def file(self, path: str) -> list[Optional[Html]]:
        where = f"/_emulator/sandboxes/{segment(self._sandbox)}/files/content"
        content = await self._request.api.read(where, path=path)
        size = counted(len(content), "byte") if len(content) < READ_BYTES else "1 MiB or more"
        bytes_ = element("span", size, class_="muted number")
        url = f"{where}?account={segment(self._request.account)}&path={segment(path)}"
        name = posixpath.basename(path)
        download = element("button", "Download", type="button", data_download=url, data_name=name)
        return [
            element("div", self.crumbs(path), bytes_, download, class_="file-top"),
            *_text(content, name),
            *await self._changes(path),
            python([f'caged.files.read("{self._sandbox}", {_quoted(path)})']),
        ]

    async def _changes(self, path: str) -> list[Html]:
        """What has changed the file, the newest first, as far as it was recorded."""
        found = await self._request.api.get("/_emulator/journal/steps", sandbox=self._sandbox, last=_STEPS)
        changes = [
            (step, change)
            for step in reversed(found["steps"])
            for change in step["detail"].get("changes") or ()
            if change["path"] == path
        ]
        if not changes:
            return [self._recording()]
        heading = element("h2", "Changes ", element("span", f"{len(changes):,}", class_="muted number"))
        return [heading, *[self._change(*one, number) for number, one in enumerate(changes[:MOST_CHANGES], 1)]]

    def _change(self, step: Mapping[str, Any], change: Mapping[str, Any], number: int) -> Html:
        by = element(
            "a",
            element("code", truncate(one_line(step["title"]), _TITLE_CHARACTERS)),
            href=f"{self._request.link('sandboxes', self._sandbox, 'activity')}#step-{segment(step['id'])}",
        )
        return element(
            "section",
            element("p", by, moment(step["at"]), class_="change-by"),
            element("div", data_change=json.dumps(change), data_label=f"Change {number}"),
            class_="file-change",
        )

    def _recording(self) -> Html:
        """How to have changes recorded."""
        button = call_button(
            "Record changes",
            "PUT",
            "/_emulator/journal/file-changes",
            self._request.account,
            {"enabled": True},
            done="From now on, what commands change in /workspace is recorded.",
        )
        return element(
            "details",
            element("summary", f"Changes of this file: none recorded in the newest {_STEPS} steps of the sandbox"),
            element("p", "What commands and agents change in /workspace is recorded when that is switched on."),
            button,
            python(["emulator.journal.record_file_changes(True)"]),
            class_="recording",
        )

    def crumbs(self, path: str) -> Html:
        """The path, with links to the directories in it."""
        parts = [part for part in path.split("/") if part]
        children: list[Child] = []
        for number, part in enumerate(parts, 1):
            target = "/" + "/".join(parts[:number])
            is_last = number == len(parts)
            children += [
                element("span", "/", class_="muted"),
                element("strong", part) if is_last else element("a", part, href=self.link(target)),
            ]
        return element("nav", *children, class_="crumbs", aria_label="Path")


def _text(content: bytes, name: str) -> list[Optional[Html]]:
    """The text of a file, within bounds."""
    if not content:
        return [element("p", "This file is empty.", class_="muted")]
    if b"\0" in content:
        return [element("p", "This file is not a text; download it to see it.", class_="note")]
    text = content.decode("utf-8", "replace")
    cut = f"The first {FILE_CHARACTERS:,} characters; download it for all."
    return [
        element("p", cut, class_="note") if len(text) > FILE_CHARACTERS else None,
        element("pre", text[:FILE_CHARACTERS], class_="code file", tabindex="0", role="region", aria_label=name),
    ]


def _quoted(text: str) -> str:
    return json.dumps(text)


TAB = Tab("files", "Files", render)
