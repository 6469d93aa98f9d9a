"""The page of all sandboxes of an account."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..platform import cost as costs
from ..platform.platform import Platform
from ..store import Account, Sandbox
from ..trace.html import Html, element, joined
from ..trace.timeline import title
from .layout import View, cost, empty, moment, status, table

COLUMNS = ("Sandbox", "Status", "Template", "Created", "Cost", "Ports", "Last command")


def sandboxes_page(platform: Platform, account: Account, view: View) -> list[Html]:
    """The heading and the table; the script shows it again when something happens."""
    found = platform.sandboxes.of(account)
    commands = {
        step.sandbox: title(step) for step in platform.steps.of(account.id) if step.kind == "command" and step.sandbox
    }
    now = platform.clock.now(account.id)[0]
    rows = [
        (
            element("a", element("code", sandbox.id), href=view.link("sandboxes", sandbox.id)),
            status(sandbox.status),
            sandbox.template,
            moment(sandbox.created_at, view.now),
            cost(costs.compute(sandbox, now) + sandbox.spent_llm, sandbox.budget),
            ports_of(sandbox, view),
            element("code", commands[sandbox.id], class_="last") if sandbox.id in commands else None,
        )
        for sandbox in reversed(found)
    ]
    content = table(COLUMNS, rows, "Sandboxes") if rows else empty("No sandboxes. Create one:", _first_lines(view))
    heading = element("h1", "Sandboxes ", element("span", str(len(found)), class_="muted"))
    return [element("div", heading, content, class_="content", data_live=account.id)]


def _first_lines(view: View) -> str:
    return (
        "from caged import Caged\n"
        f'caged = Caged(base_url="{view.base_url}", api_key="...")  # the key: caged-emulator env\n'
        'print(caged.sandboxes.exec(caged.sandboxes.create().id, "echo hello").output)'
    )


def preview_url(base_url: str, sandbox_id: str, port: int) -> str:
    """The address of a preview at a host name of its own, which the inspector's session is not sent to."""
    return f"http://{sandbox_id}-{port}.localhost:{urlsplit(base_url).port}/"


def ports_of(sandbox: Sandbox, view: View) -> Html:
    """Links to the previews of the ports on which the sandbox listens."""
    return joined(
        [
            element(
                "a",
                str(number),
                href=preview_url(view.base_url, sandbox.id, number),
                target="_blank",
                rel="noopener noreferrer",
                class_="port",
            )
            for number in sorted(sandbox.ports)
        ]
    )
