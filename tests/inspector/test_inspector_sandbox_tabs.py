"""What the tabs of a sandbox's page show, as HTML."""

from __future__ import annotations

import html
import re

import pytest

EVIL = "<img src=x onerror=alert(1)>\"'&"


def _tab(browser, view, sandbox, tab, status=200, **query):
    response = browser.get(f"/_emulator/ui/sandboxes/{sandbox}/{tab}", params={"account": view.id, **query})
    assert response.status_code == status, response.text
    assert "<img src=x" not in response.text
    return response.text


def _links(page):
    return [html.unescape(link) for link in re.findall(r'href="([^"]*)"', page)]


@pytest.mark.parametrize(("tab", "what"), [("terminal", "A terminal"), ("files", "A look at files")])
def test_a_tab_that_needs_a_running_sandbox_offers_to_resume_it(browser, view, caged, tab, what):
    sandbox = caged.sandboxes.create(template="minimal")
    caged.sandboxes.pause(sandbox.id)
    page = _tab(browser, view, sandbox.id, tab)
    assert f"{what} needs a running sandbox; this one is paused." in page
    content = page[page.index(what) :]
    assert f'data-call="/v1/sandboxes/{sandbox.id}/resume"' in content
    caged.sandboxes.destroy(sandbox.id)
    page = _tab(browser, view, sandbox.id, tab)
    assert f"{what} needs a running sandbox; this one is destroyed." in page
    assert "data-call" not in page[page.index(what) :]


def test_files_are_listed_and_shown(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    assert "This directory is empty" in _tab(browser, view, sandbox.id, "files")
    caged.files.write(sandbox.id, f"/workspace/a/{EVIL.replace('/', '')}.txt", f"{EVIL}</pre><script>")
    caged.sandboxes.exec(
        sandbox.id, "ln -s a b; printf 'a\\0b' > binary; touch nothing; yes 123456789 | head -c 250000 > long"
    )
    page = _tab(browser, view, sandbox.id, "files")
    for name in ("a", "b", "binary", "nothing", "long"):
        assert f"<code>{name}" in page
    (folder,) = [link for link in _links(page) if link.endswith("path=%2Fworkspace%2Fa")]
    page = browser.get(folder).text
    assert "<img src=x" not in page
    (file,) = [link for link in _links(page) if "file=" in link]
    page = browser.get(file).text
    assert "<img src=x" not in page
    assert f"{html.escape(EVIL, quote=True)}&lt;/pre&gt;&lt;script&gt;</pre>" in page
    assert "not a text; download it" in _tab(browser, view, sandbox.id, "files", file="/workspace/binary")
    assert "This file is empty" in _tab(browser, view, sandbox.id, "files", file="/workspace/nothing")
    page = _tab(browser, view, sandbox.id, "files", file="/workspace/long")
    assert "The first 200,000 of 250,000 characters" in page
    assert len(page) < 230_000
    assert "onerror" in _tab(browser, view, sandbox.id, "files", file="/workspace/b")  # a link to a directory
    assert "outside the sandbox" in _tab(browser, view, sandbox.id, "files", path="/etc")
    for given in ({"file": "/workspace/none"}, {"path": f"/workspace/{EVIL}"}, {"file": "\0"}, {"path": "../etc"}):
        assert "Show /workspace" in _tab(browser, view, sandbox.id, "files", **given)


def test_a_long_directory_says_how_many_entries_are_not_shown(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    caged.sandboxes.exec(sandbox.id, "for i in $(seq 1001); do : > $i; done")
    page = _tab(browser, view, sandbox.id, "files")
    assert page.count("<tr>") == 1001
    assert "1 more entry not shown" in page


def test_changes_of_a_file_are_shown_with_the_step_that_made_them(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    caged.sandboxes.exec(sandbox.id, "echo one > a.txt")
    page = _tab(browser, view, sandbox.id, "files", file="/workspace/a.txt")
    assert "none recorded" in page
    assert 'data-call="/_emulator/journal/file-changes' in page
    view.journal.record_file_changes(True)
    caged.sandboxes.exec(sandbox.id, f"printf '%s\\n' {chr(39)}{EVIL[:28]}{chr(39)} > a.txt")
    caged.sandboxes.exec(sandbox.id, "echo three >> a.txt")
    page = _tab(browser, view, sandbox.id, "files", file="a.txt")
    changes = [html.unescape(one) for one in re.findall(r'data-change="([^"]*)"', page)]
    assert len(changes) == 2
    assert "three" in changes[0]
    assert '"before": "one\\n"' in changes[1]
    (step,) = [one for one in view.journal.steps() if one.title == "$ echo three >> a.txt"]
    assert any(link.endswith(f"#step-{step.id}") for link in _links(page))


def test_reading_files_neither_records_events_nor_keeps_a_sandbox_from_being_idle(browser, view, caged):
    view.clock.freeze()
    sandbox = caged.sandboxes.create(template="minimal", timeout=900)
    caged.files.write(sandbox.id, "/workspace/a.txt", "a")
    before = view.journal.steps()
    view.clock.advance(seconds=800)
    moved = view.journal.steps()
    for query in ({}, {"file": "/workspace/a.txt"}):
        _tab(browser, view, sandbox.id, "files", **query)
    assert view.journal.steps() == moved
    assert len(moved) == len(before) + 1
    view.clock.advance(seconds=200)
    assert caged.sandboxes.get(sandbox.id).status == "paused"
