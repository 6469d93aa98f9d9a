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


@pytest.mark.parametrize(
    ("tab", "what"), [("terminal", "A terminal"), ("files", "Showing its files"), ("ports", "Listing its ports")]
)
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
    assert "The first 200,000 characters" in page
    assert len(page) < 230_000
    assert "onerror" in _tab(browser, view, sandbox.id, "files", file="/workspace/b")  # a link to a directory
    caged.sandboxes.exec(sandbox.id, "seq 300000 > large")
    page = _tab(browser, view, sandbox.id, "files", file="/workspace/large")
    assert "1 MiB or more" in page
    assert "The first 200,000 characters" in page
    assert "outside the sandbox" in _tab(browser, view, sandbox.id, "files", path="/proc")
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


def test_the_log_is_shown_without_escape_sequences(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", init_script=f"printf '\\033[31m%s' '{EVIL[:28]}'; false")
    page = _tab(browser, view, sandbox.id, "logs")
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "\x1b" not in page
    assert page.count('class="entry') == len(caged.sandboxes.logs(sandbox.id))
    assert 'class="entry problem"' in page
    caged.sandboxes.destroy(sandbox.id)
    assert "There is no log any more" in _tab(browser, view, sandbox.id, "logs")


def test_a_session_of_an_agent_is_listed_and_replayed(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", agents=["claude"])
    assert "No agent has run" in _tab(browser, view, sandbox.id, "sessions")
    view.agent("claude").reply(f"{EVIL}</dl>", files={"/workspace/a.py": "a = 1\n"}, cost_usd=0.25, optional=True)
    caged.sandboxes.exec(sandbox.id, f"claude -p '{EVIL[:28]}'")
    (session,) = caged.sessions.list_by_sandbox(sandbox.id)
    page = _tab(browser, view, sandbox.id, "sessions")
    assert "claude-code" in page
    assert "$0.25" in page
    (link,) = [link for link in _links(page) if f"session={session.id}" in link]
    page = browser.get(link).text
    assert "<img src=x" not in page
    events = caged.sessions.replay(session.id).events
    assert page.count("<li data-at=") == len(events) == 3
    assert f"{html.escape(EVIL, quote=True)}&lt;/dl&gt;" in page
    page = _tab(browser, view, sandbox.id, "sessions", session=session.id, type="file_op")
    assert page.count("<li data-at=") == 1
    assert "/workspace/a.py" in page
    after = _tab(browser, view, sandbox.id, "sessions", session=session.id, after=str(events[1].sequence))
    assert after.count("<li data-at=") == 1
    for given in ({"type": EVIL}, {"after": EVIL}, {"after": "9" * 40}):
        _tab(browser, view, sandbox.id, "sessions", session=session.id, **given)
    other = caged.sandboxes.create(template="minimal")
    for wrong in ("sess_none", EVIL):
        assert "All sessions" in _tab(browser, view, sandbox.id, "sessions", session=wrong)
    assert "is not of this sandbox" in _tab(browser, view, other.id, "sessions", session=session.id)
    caged.sandboxes.destroy(sandbox.id)
    assert "There are no sessions" in _tab(browser, view, sandbox.id, "sessions")


def test_a_long_session_is_replayed_in_pages(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", agents=["claude"])
    files = {f"/workspace/{number}": "" for number in range(250)}
    view.agent("claude").reply("many", files=files, optional=True)
    caged.sandboxes.exec(sandbox.id, "claude -p many")
    (session,) = caged.sessions.list_by_sandbox(sandbox.id)
    page = _tab(browser, view, sandbox.id, "sessions", session=session.id, type="file_op")
    assert page.count("<li data-at=") == 200
    (link,) = [link for link in _links(page) if "after=" in link]
    page = browser.get(link).text
    assert page.count("<li data-at=") == 50
    assert "after=" not in "".join(_links(page))


def test_snapshots_are_listed_with_what_can_be_done(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    page = _tab(browser, view, sandbox.id, "snapshots")
    assert "No snapshots yet" in page
    assert f'data-snapshot="/v1/sandboxes/{sandbox.id}/snapshots"' in page
    snapshot = caged.snapshots.create(sandbox.id, name=EVIL)
    caged.snapshots.wait(snapshot.id)
    page = _tab(browser, view, sandbox.id, "snapshots")
    assert html.escape(EVIL, quote=True) in page
    (restore,) = re.findall(r'data-call="(/v1/snapshots/[^"]*/restore)" data-body="([^"]*)"', page)
    caged.files.write(sandbox.id, "/workspace/later.txt", "")
    answer = browser.call("POST", restore[0], view.id, content=html.unescape(restore[1]))
    assert answer.status_code == 200
    assert [one.name for one in caged.files.list(sandbox.id)] == []
    caged.sandboxes.pause(sandbox.id)
    page = _tab(browser, view, sandbox.id, "snapshots")
    assert "Restore into a new sandbox" in page
    assert ">Restore<" not in page
    caged.sandboxes.destroy(sandbox.id)
    assert "not listed any more" in _tab(browser, view, sandbox.id, "snapshots")


def test_ports_are_listed_with_their_previews(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", network_mode="none")
    assert "No process listens" in _tab(browser, view, sandbox.id, "ports")
    with caged.sandboxes.stream(sandbox.id, "python3 -u -m http.server 3000") as output:
        next(iter(output))
        page = _tab(browser, view, sandbox.id, "ports")
        assert f"http://{sandbox.id}-3000.localhost:{browser.port}/" in _links(page)
        answer = browser.call("POST", f"/v1/sandboxes/{sandbox.id}/ports/3000/protect", view.id, json={"password": "x"})
        assert answer.status_code == 200
        assert "with a password" in _tab(browser, view, sandbox.id, "ports")
    caged.sandboxes.pause(sandbox.id)
    assert "Listing its ports needs a running sandbox" in _tab(browser, view, sandbox.id, "ports")


def test_settings_show_names_of_variables_without_their_values(browser, view, caged):
    evil = "<script>alert(1)</script>\"'&"  # a name may have no space and no `=`
    sandbox = caged.sandboxes.create(
        template="python-312",
        env={"TOKEN": "value-of-token", "MODE": "value-of-mode", evil: "value"},
        secrets=["TOKEN"],
        budget=1.5,
        cpus=3,
        timeout=1234,
        network_mode="none",
        init_script=f"true '{EVIL[:28]}'",
    )
    page = _tab(browser, view, sandbox.id, "settings")
    for shown in ("TOKEN", "MODE", html.escape(evil), "python-312", "1,234 s", "$1.50", "none"):
        assert shown in page
    assert "value-of" not in page
    assert evil not in page
    (call,) = re.findall(r'<pre class="code" tabindex="0">(caged.sandboxes.create\(.*?)</pre>', page, re.DOTALL)
    made = eval(html.unescape(call).replace("...", "'x'"), {"caged": caged})
    assert (made.template, made.cpus, made.budget, made.timeout) == ("python-312", 3, 1.5, 1234)
    view.journal.clear()
    page = _tab(browser, view, sandbox.id, "settings")
    assert "python-312" in page
    assert "Variables" not in page
    caged.sandboxes.destroy(sandbox.id)
    caged.sandboxes.destroy(made.id)


@pytest.mark.parametrize("tab", ["activity", "terminal", "files", "logs", "sessions", "snapshots", "ports", "settings"])
def test_a_tab_of_a_destroyed_sandbox_or_of_another_account(browser, emulator, view, caged, tab):
    sandbox = caged.sandboxes.create(template="minimal")
    with emulator.account(allow_unused=True) as other:
        _tab(browser, other, sandbox.id, tab, status=404)
    caged.sandboxes.destroy(sandbox.id)
    assert "destroyed" in _tab(browser, view, sandbox.id, tab)
