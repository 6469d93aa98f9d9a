"""Agents: prompts and replies as a conversation for each session, and a form that scripts the next reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...trace.html import Child, Html, element, escaped, joined
from ...trace.text import counted, money, plain
from ...truncation import truncate
from ..components import empty, live, moment, status
from ..page import Page, PageRequest
from ..reply_form import reply_form

#: The newest prompts that are shown, the newest files that are searched for theirs, and the sessions for their costs.
_PROMPTS, _FILES, _SESSIONS = 100, 500, 100
#: Characters of a prompt or reply, and files of a session.
_TEXT_CHARACTERS, _FILES_SHOWN = 20_000, 30
Step = Mapping[str, Any]


async def render(request: PageRequest) -> Sequence[Html]:
    steps = await _steps(request, "prompt", _PROMPTS)
    files = await _steps(request, "file", _FILES)
    sessions = (await request.api.get("/v1/sessions", per_page=_SESSIONS))["data"]
    known = {one["id"]: one for one in sessions}
    conversations: dict[str, list[Step]] = {}
    for step in steps:
        conversations.setdefault(step["detail"].get("session") or step["id"], []).append(step)
    parts = [
        _conversation(request, prompts, known.get(id), [one for one in files if _is_of(one, prompts)])
        for id, prompts in reversed(conversations.items())
    ]
    count = element("span", f" {len(parts):,}", class_="muted number") if parts else None
    return [
        element(
            "div",
            live("conversations", element("h1", "Agents", count), *(parts or [_nothing()]), class_="conversations"),
            element(
                "section",
                element("h2", "Script the next reply", class_="section-title"),
                element("p", joined(_about(request)), class_="muted"),
                reply_form(),
                class_="beside",
                aria_label="Script the next reply",
            ),
            class_="content agents",
        ),
    ]


async def _steps(request: PageRequest, kind: str, last: int) -> list[Step]:
    found: list[Step] = (await request.api.get("/_emulator/journal/steps", kind=kind, last=last))["steps"]
    return found


def _about(request: PageRequest) -> list[Html]:
    return [
        escaped("An agent gives it to the next prompt that matches. What is scripted is in "),
        element("a", "Controls", href=request.link("controls", "replies")),
        escaped("."),
    ]


def _is_of(file: Step, prompts: Sequence[Step]) -> bool:
    """Whether one of the prompts changed a file."""
    return file["parent"] in [one["id"] for one in prompts]


def _conversation(request: PageRequest, prompts: Sequence[Step], session: Any, files: Sequence[Step]) -> Html:
    """One session: a heading with its cost, what was said, and the files that it changed."""
    first = prompts[0]
    tokens = (session["tokens_in"], session["tokens_out"]) if session else _tokens(prompts)
    spent = session["cost_usd"] if session else sum(one["detail"].get("cost_usd") or 0 for one in prompts)
    model = session["model"] if session else first["detail"].get("model")
    facts: list[Child] = [
        element("a", element("code", first["sandbox"]), href=request.link("sandboxes", first["sandbox"])),
        status(session["status"]) if session else None,
        moment(first["at"]),
        element("span", money(spent), class_="number", title="Cost of the session, with its computing time"),
        element("span", f"{tokens[0]:,} tokens in, {tokens[1]:,} out", class_="number") if any(tokens) else None,
        element("span", model) if model else None,
        element("a", "Steps", href=f"{request.link('journal')}#step-{first['id']}"),
    ]
    return element(
        "article",
        element("div", element("h2", first["detail"].get("agent", "agent")), *facts, class_="facts"),
        *[part for one in prompts for part in _said(one)],
        _changed(prompts, files),
        class_="conversation",
    )


def _tokens(prompts: Sequence[Step]) -> tuple[int, int]:
    details = [one["detail"] for one in prompts]
    return sum(one.get("tokens_in") or 0 for one in details), sum(one.get("tokens_out") or 0 for one in details)


def _said(step: Step) -> list[Html]:
    """A prompt, and the reply."""
    detail = step["detail"]
    prompt = element(
        "div",
        element("h3", "Prompt"),
        element("p", _text(detail.get("prompt")), class_="speech"),
        class_="said prompt",
    )
    if step["status"] == "running":
        return [prompt, element("div", element("p", "…", class_="speech"), class_="said reply")]
    code = detail.get("exit_code")
    note = element("span", f"exit {code}", class_="outcome failed") if code else None
    source = element("span", f" by {step['controls'][0]}", class_="muted") if step["controls"] else None
    reply = element(
        "div",
        element("h3", "Reply ", note, source),
        element("p", _text(detail.get("reply")) or "It said nothing.", class_="speech"),
        class_="said reply",
    )
    return [prompt, reply]


def _text(text: Any) -> str:
    return truncate(plain(str(text or "")).rstrip("\n"), _TEXT_CHARACTERS)


def _changed(prompts: Sequence[Step], files: Sequence[Step]) -> Child:
    """The files that a session changed: those that were seen to change, and those that the agent wrote."""
    changes: dict[str, str] = {}
    for one in files:
        data = one["detail"].get("data") or {}
        if data.get("operation") in ("write", "delete"):
            changes[data["path"]] = "wrote" if data["operation"] == "write" else "removed"
    for prompt in prompts:
        for change in prompt["detail"].get("changes") or ():
            changes[change["path"]] = change["change"]
    if not changes:
        return None
    listed = [
        element("li", element("span", word, class_="tag"), " ", element("code", path))
        for path, word in list(changes.items())[:_FILES_SHOWN]
    ]
    more = len(changes) - len(listed)
    return element(
        "div",
        element("h3", counted(len(changes), "file")),
        element("ul", *listed, element("li", f"and {more:,} more", class_="muted") if more else None),
        class_="changed",
    )


def _nothing() -> Html:
    lines = (
        'sandbox = caged.sandboxes.create(agents=["claude-code"])\n'
        "caged.sandboxes.exec(sandbox.id, 'claude -p \"Fix the tests\"')"
    )
    return empty(
        "No prompts yet. Run an agent in a sandbox, and what is said appears here:",
        lines,
        joined([escaped("It calls no model. The reply is the one that was scripted, or says that it is emulated.")]),
    )


PAGE = Page("agents", "Agents", "Agents", render, is_section=True)
