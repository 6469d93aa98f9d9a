"""The pages of controls: what is set up, how often it applied, and forms made from the descriptions."""

from __future__ import annotations

import html
import json
import re

import pytest

from caged import CagedError
from caged.emulator.control.agent_replies import ScriptedReply
from caged.emulator.control.clock import Advance
from caged.emulator.control.description import options_of
from caged.emulator.control.faults import Fault
from caged.emulator.control.stubs import Stub
from caged.emulator.inspector.forms import Field, PythonCall, fields_of, form, marked
from caged.emulator.wire.all_operations import all_operations

EVIL = "<img src=x onerror=alert(1)>\"'&</script>"
PAGES = ("controls", "controls/stubs", "controls/replies", "controls/clock")


def _page(browser, view, path):
    response = browser.get(f"/_emulator/ui/{path}", params={"account": view.id})
    assert response.status_code == 200, response.text
    assert "<img src=x" not in response.text
    return response.text


def _live(page, name="controls"):
    """The text of a live part, without tags."""
    part = page.partition(f'id="{name}" data-live')[2].partition("<form")[0]
    return html.unescape(re.sub(r"<[^>]*>", " ", part))


def test_without_controls_each_page_says_what_to_do_next(browser, view):
    for path, text in zip(PAGES, ("No faults.", "No stubs:", "No replies:", "No sandboxes.")):
        assert text in _page(browser, view, path)


def test_faults_are_listed_with_how_often_they_triggered(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    once = view.faults.add("sandboxes.exec", status=503, detail=EVIL, times=1)
    never = view.faults.add("files.*", delay=1.5, after=5)
    with pytest.raises(CagedError):
        caged.sandboxes.exec(sandbox.id, "true")
    caged.files.list(sandbox.id, "/workspace")
    shown = re.sub(r"\s+", " ", _live(_page(browser, view, "controls")))
    first, second = shown.split(once.id)[1].split(never.id)
    assert 'operation= "sandboxes.exec"' in first
    assert "<img src=x onerror" in first
    assert "1 time , used up" in first
    assert "not yet; 1 request matched" in second


def test_stubs_and_replies_are_listed_with_how_often_they_were_used(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", agents=["claude-code"])
    view.commands.stub(re.compile("^npm"), EVIL)
    view.commands.program("git", exit_code=3)
    view.agent("claude").reply(EVIL, cost_usd=0.25)
    caged.sandboxes.exec(sandbox.id, "npm install")
    caged.sandboxes.exec(sandbox.id, "claude -p hello")
    stubs = _live(_page(browser, view, "controls/stubs"))
    assert 're.compile("^npm")' in stubs
    assert "1 time" in stubs
    assert '"git"' in stubs
    assert "not yet" in stubs
    replies = _live(_page(browser, view, "controls/replies"))
    assert "claude-code" in replies
    assert "0.25" in replies
    assert "1 time" in replies


def test_controls_of_all_accounts_are_removed_one_by_one(browser, emulator, view):
    own = view.faults.add("files.*", status=500)
    shared = emulator.faults.add("snapshots.*", status=500, account="*")
    try:
        page = _page(browser, view, "controls")
        calls = re.findall(r'data-method="DELETE" data-call="(/_emulator/faults[^"]*)"', page)
        assert calls == [
            f"/_emulator/faults?account={view.id}",
            f"/_emulator/faults/{own.id}?account={view.id}",
            f"/_emulator/faults/{shared.id}?account=%2A",
        ]
        for call in calls[1:]:
            assert browser.call("DELETE", html.unescape(call)).status_code == 204
        assert view.faults.list() == []
    finally:
        if shared.id in [one.id for one in emulator.faults.list(account="*")]:
            shared.remove()


@pytest.mark.parametrize(
    ("path", "description", "method"),
    [
        ("controls", Fault, ""),
        ("controls/stubs", Stub, "stub"),
        ("controls/stubs", Stub, "program"),
        ("controls/replies", ScriptedReply, "reply_to"),
        ("controls/clock", Advance, ""),
    ],
)
def test_each_option_of_a_control_has_a_field_with_its_help_choices_and_bounds(
    browser, view, path, description, method
):
    page = _page(browser, view, path)
    for option in options_of(description, method):
        has_field = f'data-field="{option.name}"' in page
        if option.is_local:
            assert not has_field
            continue
        assert has_field, option.name
        assert str(marked(option.help)) in page
        for choice in option.choices:
            assert f'<option value="{choice}"' in page
        if option.at_least is not None:
            assert f'min="{option.at_least:g}"' in page
        if option.at_most is not None:
            assert f'max="{option.at_most:g}"' in page


def test_the_kind_of_a_field_follows_from_the_type_of_its_option():
    kinds = {one.name: one.kind for one in fields_of(Fault)}
    assert (kinds["operation"], kinds["status"], kinds["delay"]) == ("text", "integer", "number")
    assert (kinds["hang"], kinds["drop"], kinds["rate_limit"]) == ("flag", "choice", "integer")
    kinds = {one.name: one.kind for one in fields_of(ScriptedReply, "reply_to")}
    assert (kinds["prompt"], kinds["text"], kinds["files"]) == ("pattern", "lines", "files")


def test_a_form_escapes_all_of_its_texts():
    fields = [
        Field("one", kind, EVIL, unit=EVIL, value=EVIL, hint=EVIL, choices=[EVIL])
        for kind in ("text", "choice", "lines")
    ]
    made = form("f", fields, "POST", f"/x/{EVIL}", [PythonCall(EVIL)], submit=EVIL, done=EVIL)
    assert "<img" not in made
    (python,) = re.findall('data-python="([^"]*)"', made)
    assert json.loads(html.unescape(python)) == [{"call": EVIL, "positional": [], "when": "", "literal": ""}]


def test_a_text_of_help_shows_what_is_in_backquotes_as_code():
    assert marked("a `b<` c") == "a <code>b&lt;</code> c"
    assert marked("a ` c") == "a ` c"


def test_reading_the_pages_leaves_no_trace(browser, view, caged):
    caged.sandboxes.create(template="minimal")
    fault = view.faults.add("sandboxes.*", status=503, optional=True)
    before = view.journal.steps()
    for path in PAGES:
        _page(browser, view, path)
    assert view.journal.steps() == before
    assert [one.seen for one in view.faults.list() if one.id == fault.id] == [0]


def test_every_form_and_button_makes_a_call_that_the_api_knows(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", budget=1.0)
    view.spend(sandbox.id, 0.9)
    view.faults.add("files.*", status=500)
    view.commands.stub("x")
    view.agent("claude").reply("x")
    routes = [(one.method, re.compile(re.sub(r"\{\w+\}", "[^/]+", one.path))) for one in all_operations()]
    for path, least in ((PAGES[0], 8), (PAGES[1], 9), (PAGES[2], 8), (PAGES[3], 10), ("agents", 6), ("account", 12)):
        page = _page(browser, view, path)
        calls = re.findall(r'data-method="(\w+)" data-call="([^"?]+)', page)
        calls += re.findall(r'data-form="(\w+)" data-path="([^"?]+)', page)
        assert len(calls) >= least, path
        for method, called in calls:
            assert any(method == known and pattern.fullmatch(called) for known, pattern in routes), called
