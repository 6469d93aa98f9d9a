"""The parts of a trace's page that need no script: the heading, what happened, and a list of the steps."""

from __future__ import annotations

from typing import Any, Optional

from ..control.step import Step
from ..truncation import truncate
from .html import Html, element, escaped, joined
from .outline import REQUESTED_INSTEAD, Outline, diff, mappings_of, nearest_text, text_of
from .summary import facts
from .text import duration, middle_cut, money, one_line, plain, source_lines
from .timeline import output_lines, result, title

#: In the part about what happened: characters of the error, of a prompt or reply; lines of output; near misses.
ERROR_CHARACTERS, SPEECH_CHARACTERS, OUTPUT_LINES, NEAREST = 20_000, 1200, 40, 3
#: Files that are named below a prompt.
FILES = 5
#: Of the list without a script: steps, characters of an output, prompt or body, and of all together.
STATIC_STEPS, STATIC_CHARACTERS, STATIC_WHOLE = 400, 2000, 150_000
#: The shapes that go with the words.
_OUTCOMES = {"passed": "✓", "failed": "✕", "error": "✕", "skipped": "○"}


def heading(outline: Outline) -> Html:
    """The outcome, the name and the counts, and the place for the buttons of the script."""
    header = outline.trace.header
    path, _, name = header.title.rpartition("::")
    outcome = header.outcome if header.outcome in _OUTCOMES else "unknown"
    when = element("time", header.wall, datetime=header.wall) if header.wall else None
    return element(
        "header",
        element(
            "div",
            element("p", path, class_="where") if path else None,
            element("h1", name),
            class_="name",
        ),
        element("div", id="tools"),
        element(
            "p",
            element("span", f"{_OUTCOMES.get(outcome, '○')} {header.outcome}", class_=f"badge {outcome}"),
            *[element("span", fact) for fact in facts(outline) if not fact.startswith("failed in")],
            when,
            class_="facts",
        ),
        class_="top",
    )


def answer(outline: Outline) -> Html:
    """What a person comes for: what was never triggered, the assertion, the last command and the prompt before it."""
    header = outline.trace.header
    cards = [card for card in (_error_card(outline), _command_card(outline), _prompt_card(outline)) if card is not None]
    parts = [_unused(outline)] if header.unused else []
    parts += [element("div", *cards, class_="cards")] if cards else []
    whole = _whole_error(header.error)
    parts += [whole] if whole is not None else []
    parts += [element("ul", *[element("li", note) for note in header.notes], class_="notes")] if header.notes else []
    if header.kept:
        kept = [element("li", f"{sandbox}: ", element("code", path)) for sandbox, path in header.kept.items()]
        parts.append(element("details", element("summary", "Kept sandboxes"), element("ul", *kept), class_="kept"))
    return element("section", *parts, id="answer", aria_label="What happened") if parts else Html("")


def _unused(outline: Outline) -> Html:
    rows = []
    for one in outline.trace.header.unused:
        nearest = [
            element("span", *_nearest(outline, one.id, text), class_="nearest") for text in one.nearest[:NEAREST]
        ]
        where = element("span", one.source, class_="where") if one.source else None
        added = outline.added_by(one.id)
        what = plain(one.described)
        shown = element("strong", what) if added is None else element("strong", _step_link(added, what))
        rows.append(element("li", shown, where, *nearest))
    return element("div", element("h2", "▲ Set up, never triggered"), element("ul", *rows), class_="unused")


def _nearest(outline: Outline, control: str, text: str) -> list[Html]:
    """What came nearest to a control, with a link to each operation, or to the command or prompt."""
    added = outline.added_by(control)
    later = [step for step in outline.steps if added is None or step.start >= added.start]
    shown = nearest_text(text)
    label, _colon, rest = shown.partition(": ")
    if not shown.startswith(REQUESTED_INSTEAD):
        found = next((step for step in later if rest in (text_of(step, "command"), text_of(step, "prompt"))), None)
        return [escaped(f"{label}: "), _step_link(found, rest)] if found is not None and rest else [escaped(shown)]
    names, semicolon, end = rest.partition("; ")
    parts = [escaped(f"{label}: ")]
    for number, name in enumerate(names.split(", ")):
        found = next((step for step in later if name.partition(" (")[0] == text_of(step, "operation")), None)
        parts += [escaped(", ")] if number else []
        parts.append(escaped(name) if found is None else _step_link(_call_of(outline, found), name))
    return [*parts, escaped(f"{semicolon}{end}")]


def _call_of(outline: Outline, request: Step) -> Step:
    return next((above for above in outline.ancestors(request) if above.kind == "call"), request)


def _error_card(outline: Outline) -> Optional[Html]:
    header = outline.trace.header
    if not header.error and not header.error_summary:
        return None
    source = header.error_source if isinstance(header.error_source, dict) else {}
    lines = [
        element("span", element("span", str(number), class_="number"), f"{text}\n", class_="here" if here else None)
        for number, text, here in source_lines(source)
    ]
    where = f"{source.get('path', '')}:{source.get('line', '')}" if source else ""
    summary = header.error_summary or plain(header.error).strip().splitlines()[-1:] or [""]
    text = summary if isinstance(summary, str) else summary[0]
    return element(
        "section",
        _card_head(
            "Failure" if not header.phase else f"Failure in {header.phase}",
            element("span", where, class_="where") if where else None,
        ),
        element("p", truncate(plain(text), 600), class_="message"),
        _cause(outline) if outline.refused is not outline.last_command else None,
        element("pre", *lines, class_="code source", tabindex="0") if lines else None,
        class_="card failure",
    )


def _card_head(name: str, *facts_: Optional[Html]) -> Html:
    return element("div", element("h2", name), element("p", *facts_, class_="facts"), class_="head")


def _whole_error(error: str) -> Optional[Html]:
    if not error:
        return None
    text = middle_cut(plain(error), ERROR_CHARACTERS)
    return element(
        "details", element("summary", "Whole error"), element("pre", text, class_="code", tabindex="0"), class_="whole"
    )


def _command_card(outline: Outline) -> Optional[Html]:
    step = outline.last_command
    if step is None:
        return None
    failed = step.status == "error"
    reason = one_line(plain(text_of(step, "error"))) if step.status == "error" else ""
    outcome = "failed" if reason else result(step).replace(" -> ", "").strip() or step.status
    took = duration(step.duration_ms) if step.duration_ms is not None else ""
    lines = output_lines(step, OUTPUT_LINES)
    return element(
        "section",
        _card_head(
            "Last command",
            element("span", f"{'✕' if failed else '✓'} {outcome}", class_="status error" if failed else "status ok"),
            element("span", took),
            _line_of(outline, step),
        ),
        element("p", _step_link(step, text_of(step, "command") or title(step)), class_="command"),
        element("p", truncate(reason, 600), class_="problem") if reason else None,
        _cause(outline) if outline.refused is step else None,
        element("div", element("pre", "\n".join(lines)), class_="code tail", tabindex="0") if lines else None,
        class_="card",
    )


def _cause(outline: Outline) -> Optional[Html]:
    """Why the sandbox did not run, with a link to the step that interrupted it."""
    if outline.cause is None:
        return None
    text = outline.interruption_text(outline.cause)
    return element("p", "Cause: ", _step_link(outline.cause, text), class_="cause")


def _line_of(outline: Outline, step: Step) -> Optional[Html]:
    line = outline.line_number(step)
    return element("span", f"line {line}") if line else None


def _prompt_card(outline: Outline) -> Optional[Html]:
    step = outline.last_prompt
    if step is None:
        return None
    cost = step.detail.get("cost_usd")
    facts_ = [text_of(step, "model"), money(cost) if isinstance(cost, (int, float)) and cost > 0 else ""]
    return element(
        "section",
        _card_head(
            "Prompt before it" if outline.last_command is not None else "Last prompt",
            _step_link(step, text_of(step, "agent") or "agent"),
            *[element("span", fact) for fact in facts_ if fact],
        ),
        element("h3", "Prompt"),
        element("p", middle_cut(plain(text_of(step, "prompt")), SPEECH_CHARACTERS).strip(), class_="speech"),
        element("h3", "Reply"),
        element("p", middle_cut(plain(text_of(step, "reply")), SPEECH_CHARACTERS).strip() or "(none)", class_="speech"),
        _changed_files(outline, step),
        class_="card",
    )


def _changed_files(outline: Outline, step: Step) -> Optional[Html]:
    """Which files the prompt, or the command that it was in, changed."""
    near = [step, *outline.children(step), *outline.ancestors(step)]
    paths: dict[str, Step] = {}
    for one in near:
        for change in mappings_of(one, "changes"):
            paths.setdefault(f"{change.get('change', '')} {change.get('path', '')}", one)
    if not paths:
        return None
    links: list[Html] = []
    for text, one in list(paths.items())[:FILES]:
        links += [escaped(", ")] if links else []
        links.append(_step_link(one, text, tab="Files"))
    if len(paths) > FILES:
        links.append(escaped(f", and {len(paths) - FILES} more"))
    return element("p", *links, class_="where")


def _step_link(step: Step, text: str, tab: Optional[str] = None) -> Html:
    """A link to a step. `tab`: the tab of its details that it opens; by default the one that shows most."""
    shown = truncate(one_line(plain(text)), 200)
    return element("a", shown, href=f"#step-{_fragment(step.id)}", data_step=step.id, data_tab=tab)


def _fragment(step_id: str) -> str:
    from urllib.parse import quote

    return quote(step_id, safe="", errors="replace")


def static_list(outline: Outline) -> Html:
    """The first steps as a list that opens without a script."""
    rows: list[Html] = []
    left = STATIC_WHOLE
    for step, depth in outline.walk():
        if len(rows) == STATIC_STEPS or left < 0:
            rows.append(element("p", f"{len(outline.steps) - len(rows)} more steps are shown with JavaScript."))
            break
        row = _static_step(outline, step, depth)
        left -= len(row)
        rows.append(row)
    return element("section", element("h2", "Steps"), joined(rows), class_="static", aria_label="Steps")


def _static_step(outline: Outline, step: Step, depth: int) -> Html:
    mark = {"ok": "✓", "error": "✕"}.get(step.status, "◐")
    took = f", {duration(step.duration_ms)}" if step.duration_ms else ""
    text = f"{outline.seconds(step):.2f}  {mark} {'· ' * min(depth, 8)}{title(step)}{result(step)}{took}"
    parts = [*_static_texts(step), *_static_controls(outline, step)]
    anchor = f"step-{_fragment(step.id)}"
    if not parts:
        return element("p", text, id=anchor, class_=step.status)
    return element("details", element("summary", text), *parts, id=anchor, class_=step.status)


def _static_texts(step: Step) -> list[Html]:
    texts: list[tuple[str, Any]] = [("Output", "\n".join(output_lines(step, 40)))]
    texts += [
        (name.capitalize(), step.detail.get(name)) for name in ("prompt", "reply", "request", "response", "error")
    ]
    texts += [(str(change.get("path", "")), "\n".join(diff(change))) for change in mappings_of(step, "changes")[:5]]
    return [
        joined([element("h3", name), element("pre", middle_cut(plain(text), STATIC_CHARACTERS))])
        for name, text in texts
        if isinstance(text, str) and text
    ]


def _static_controls(outline: Outline, step: Step) -> list[Html]:
    if not outline.is_applied(step):
        return []
    return [element("p", f"Matched: {', '.join(map(outline.described, step.controls))}")]
