"""The page of one sandbox: its state and what can be done with it, and a tab for each kind of its contents."""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable
from typing import Callable, Optional
from urllib.parse import quote

from ..control.clock import rfc3339
from ..platform import cost as costs
from ..platform.errors import ApiError
from ..platform.platform import Platform
from ..platform.sandbox_states import can
from ..store import Account
from ..trace.html import Html, element
from ..trace.text import plain
from .layout import View, call_button, confirmed, cost, empty, moment, status, table
from .sandboxes_page import preview_url

TABS = ("activity", "files", "logs", "snapshots", "ports", "settings")
WORKSPACE = "/workspace"
#: What a tab shows at most: characters of a file, entries of a directory, lines of a log.
FILE_CHARACTERS, MOST_ENTRIES, LOG_LINES = 200_000, 1000, 500


class SandboxPage:
    """Renders the page of a sandbox.

    Raises:
        ApiError: 404 when the account has no such sandbox.
    """

    def __init__(self, platform: Platform, account: Account, view: View, sandbox_id: str) -> None:
        self._platform = platform
        self._account = account
        self._view = view
        self._sandbox = platform.sandboxes.get(account, sandbox_id)

    async def render(self, tab: str, path: Optional[str]) -> list[Html]:
        """The heading and one tab.

        Args:
            tab: One of TABS.
            path: For the tab of files: the file or directory.
        """
        tabs: dict[str, Callable[[], Awaitable[Html]]] = {
            "activity": self._activity,
            "files": lambda: self._files(path or WORKSPACE),
            "logs": self._logs,
            "snapshots": self._snapshots,
            "ports": self._ports,
            "settings": self._settings,
        }
        if tab not in tabs:
            raise ApiError(404, f"a sandbox has no tab {tab!r}; there are {', '.join(TABS)}")
        links = [
            element(
                "a",
                name.capitalize(),
                href=self._view.link("sandboxes", self._sandbox.id, name),
                aria_current="page" if name == tab else None,
            )
            for name in TABS
        ]
        return [self._heading(), element("nav", *links, class_="page-tabs", aria_label="Sandbox"), await tabs[tab]()]

    def _heading(self) -> Html:
        sandbox, path = self._sandbox, f"/v1/sandboxes/{quote(self._sandbox.id, safe='')}"
        account = self._view.account
        now = self._platform.clock.now(account)[0]
        destroy = call_button("Yes, destroy", "DELETE", path, account, then=self._view.link(""))
        buttons = [
            call_button("Pause", "POST", f"{path}/pause", account) if can(sandbox, "pause") else None,
            call_button("Resume", "POST", f"{path}/resume", account) if can(sandbox, "resume") else None,
            call_button(
                "Snapshot",
                "POST",
                f"{path}/snapshots",
                account,
                {},
                self._view.link("sandboxes", sandbox.id, "snapshots"),
            )
            if sandbox.status in ("running", "paused")
            else None,
            confirmed("Destroy", "Its files are lost.", destroy),
        ]
        calls = [f'caged.sandboxes.{name}("{sandbox.id}")' for name in ("pause", "resume", "destroy")]
        lines = [*calls, f'caged.snapshots.create("{sandbox.id}")']
        return element(
            "div",
            element("h1", sandbox.id),
            status(sandbox.status),
            element("span", sandbox.template, class_="muted"),
            cost(costs.compute(sandbox, now) + sandbox.spent_llm, sandbox.budget),
            element("div", *buttons, class_="actions"),
            element(
                "details", element("summary", "The same in Python"), element("pre", "\n".join(lines), class_="code")
            ),
            class_="sandbox-top",
        )

    async def _activity(self) -> Html:
        return element("div", class_="steps-view", data_steps=self._account.id, data_sandbox=self._sandbox.id)

    # --- files

    async def _files(self, path: str) -> Html:
        files = self._platform.files
        try:
            entries = await files.entries(self._account, self._sandbox.id, path)
        except ApiError as error:
            if error.status not in (400, 404):
                return self._content(self._crumbs(path), empty(str(error)))
            return await self._file(path)
        rows = [
            (
                element(
                    "a", f"{entry.name}/" if entry.kind == "directory" else entry.name, href=self._file_link(entry.path)
                ),
                element("span", f"{entry.size:,}" if entry.kind != "directory" else "", class_="number"),
                moment(rfc3339(entry.mtime), self._view.now),
            )
            for entry in entries[:MOST_ENTRIES]
        ]
        more = f"{len(entries) - MOST_ENTRIES:,} more entries are not shown." if len(entries) > MOST_ENTRIES else None
        shown = table(("Name", "Bytes", "Changed"), rows, "Files") if rows else empty("This directory is empty.")
        return self._content(self._crumbs(path), shown, element("p", more, class_="note") if more else None)

    async def _file(self, path: str) -> Html:
        try:
            content = await self._platform.files.read(self._account, self._sandbox.id, path)
        except ApiError as error:
            return self._content(self._crumbs(path), empty(str(error)))
        text = content.decode("utf-8", "replace")
        note = f"The first {FILE_CHARACTERS:,} of {len(text):,} characters." if len(text) > FILE_CHARACTERS else None
        download = element(
            "button",
            "Download",
            type="button",
            data_download=f"/v1/sandboxes/{quote(self._sandbox.id, safe='')}/files/content?path={quote(path, safe='')}",
            data_name=posixpath.basename(path),
        )
        return self._content(
            element("div", self._crumbs(path), download, class_="actions"),
            element("p", note, class_="note") if note else None,
            element("pre", text[:FILE_CHARACTERS], class_="code file", tabindex="0"),
        )

    def _file_link(self, path: str) -> str:
        return self._view.link("sandboxes", self._sandbox.id, "files", path=path)

    def _crumbs(self, path: str) -> Html:
        """Links to the directories above."""
        parts = [part for part in path.split("/") if part]
        links = [element("a", "/", href=self._file_link("/"))]
        for number, part in enumerate(parts, 1):
            above = "/" + "/".join(parts[:number])
            links.append(element("a", part, href=self._file_link(above)))
            if number < len(parts):
                links.append(element("span", "/", class_="muted"))
        return element("p", *links, class_="crumbs")

    # --- the other tabs

    async def _logs(self) -> Html:
        lines = self._platform.sandboxes.logs(self._sandbox, LOG_LINES)
        rows = [
            (moment(line.timestamp, self._view.now), line.type, element("code", plain(line.message))) for line in lines
        ]
        return self._content(
            table(("Time", "Type", "Message"), rows, "Log") if rows else empty("The log is empty."),
        )

    async def _snapshots(self) -> Html:
        found = self._platform.snapshots.of_sandbox(self._account, self._sandbox.id)
        rows = [
            (
                element("code", one.id),
                one.name,
                status(one.status),
                element("span", f"{one.size_bytes:,}", class_="number"),
                moment(one.created_at, self._view.now),
                confirmed(
                    "Restore",
                    "The sandbox's files are replaced.",
                    call_button(
                        "Yes, restore",
                        "POST",
                        f"/v1/snapshots/{quote(one.id, safe='')}/restore",
                        self._view.account,
                        {"target_sandbox_id": self._sandbox.id},
                    ),
                )
                if one.status == "completed"
                else None,
            )
            for one in found
        ]
        return self._content(
            table(("Snapshot", "Name", "Status", "Bytes", "Created", ""), rows, "Snapshots")
            if rows
            else empty("No snapshots. Take one with the button above."),
        )

    async def _ports(self) -> Html:
        rows = []
        for number, port in sorted(self._sandbox.ports.items()):
            url = preview_url(self._view.base_url, self._sandbox.id, number)
            link = element("a", url, href=url, target="_blank", rel="noopener noreferrer")
            protected = "with a password" if self._platform.ports.is_protected(self._sandbox.id, number) else "open"
            rows.append((str(number), link, protected, moment(port.detected_at, self._view.now)))
        nothing = empty("No process listens on a port. Start one:", "python3 -m http.server 3000")
        return self._content(table(("Port", "Preview", "Access", "Since"), rows, "Ports") if rows else nothing)

    async def _settings(self) -> Html:
        sandbox = self._sandbox
        repository = sandbox.repo.split_credentials()[0] if sandbox.repo else None
        facts = {
            "Cores": str(sandbox.cpus),
            "Memory": f"{sandbox.memory_mb} MB",
            "Disk": f"{sandbox.disk_gb} GB",
            "Network": sandbox.network_mode,
            "Timeout": f"{sandbox.timeout} s",
            "Repository": repository,
            "Packages": ", ".join(sandbox.packages),
            "Agents": ", ".join(sandbox.agents),
            "Variables": ", ".join(sorted(sandbox.env)) and f"{', '.join(sorted(sandbox.env))} (values are not shown)",
            "Init script": sandbox.init_script,
        }
        rows = [element("div", element("dt", name), element("dd", value)) for name, value in facts.items() if value]
        return self._content(element("dl", *rows))

    def _content(self, *children: Optional[Html]) -> Html:
        return element("div", *children, class_="content")
