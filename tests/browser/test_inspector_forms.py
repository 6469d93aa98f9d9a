"""The inspector's pages of controls, agents and the account in a real browser: forms, and what they set up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable

import pytest
from accessibility import violations_in_both_schemes
from inspector_testing import EVIL, show

from caged import Caged, CagedServerError
from caged.emulator import AccountView, Emulator

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def visit(page: Page, emulator: Emulator, view: AccountView) -> Callable[[str], Page]:
    """Shows a page of the test's account."""

    def visit_page(path: str) -> Page:
        show(page, emulator, path, view.id)
        return page

    return visit_page


def check_accessible(page: Page) -> None:
    """Check a page with all parts open by axe-core, in light and dark, and that it fits windows of two widths."""
    page.evaluate("document.querySelectorAll('main details:not(.confirm)').forEach((one) => { one.open = true; })")
    for width in (800, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.querySelector('main').scrollWidth <= document.querySelector('main').clientWidth")
    assert violations_in_both_schemes(page) == []


def python_of(page: Page, form: str) -> str:
    return page.locator(f"#{form} .form-python pre").inner_text()


def run_python(page: Page, form: str, view: AccountView) -> Any:
    """What the line of Python beside a form returns."""
    *imports, call = python_of(page, form).split("\n\n")
    names: dict[str, Any] = {"emulator": view}
    exec("\n".join(imports), names)
    return eval(call, names)


def test_a_fault_added_by_the_form_makes_the_next_call_fail(
    visit: Callable[[str], Page], view: AccountView, caged: Caged
) -> None:
    sandbox = caged.sandboxes.create(template="minimal")
    page = visit("controls")
    page.get_by_text("No faults.").wait_for()
    page.locator("#fault-operation").fill("sandboxes.exec")
    page.locator("#fault-status").fill("503")
    page.locator("#fault-detail").fill(EVIL)
    page.locator("#fault-times").fill("1")
    assert page.locator("#known-operations option[value='sandboxes.exec']").count() == 1
    by_python = run_python(page, "fault", view)
    options = view.faults.list()[0].options
    assert options == {"operation": "sandboxes.exec", "status": 503, "detail": EVIL, "times": 1}
    by_python.remove()
    page.get_by_role("button", name="Add the fault").click()
    page.locator("#message").get_by_text("Added fault_").wait_for()
    (fault,) = view.faults.list()
    assert fault.options == options
    row = page.locator("tr", has_text=fault.id)
    row.get_by_text("not yet").wait_for()
    assert page.locator("#fault-status").input_value() == ""
    with pytest.raises(CagedServerError, match="<img"):
        caged.sandboxes.exec(sandbox.id, "true")
    row.get_by_text("1 time").wait_for()
    row.get_by_text("used up").wait_for()
    row.get_by_role("button", name="Remove").click()
    page.get_by_text("No faults.").wait_for()
    assert view.faults.list() == []
    assert page.locator("img").count() == 0
    view.faults.add("files.*", status=500, detail="x" * 300)
    page.get_by_text('"files.*"').wait_for()
    check_accessible(page)


def test_errors_of_the_api_are_shown_at_the_field(
    visit: Callable[[str], Page], view: AccountView, problems: list[str]
) -> None:
    page = visit("controls")
    add = page.get_by_role("button", name="Add the fault")
    page.locator("#fault-operation").fill("sandbox.exec")
    page.locator("#fault-status").fill("503")
    add.click()
    page.locator("#fault-operation-problem").get_by_text("did you mean 'sandboxes.exec'").wait_for()
    assert page.locator("#fault-operation").get_attribute("aria-invalid") == "true"
    assert page.evaluate("document.activeElement.id") == "fault-operation"
    page.locator("#fault-operation").fill("sandboxes.exec")
    page.locator("#fault summary").click()
    page.locator("#fault-hang").check()
    page.locator("#fault summary").click()
    add.click()
    page.locator("#fault-hang-problem").get_by_text("cannot be combined with status").wait_for()
    assert not page.locator("#fault-operation-problem").is_visible()
    page.locator("#fault-hang").uncheck()
    page.locator("#fault-status").fill("")
    add.click()
    page.locator("#fault").get_by_text("the fault has no effect").wait_for()
    assert view.faults.list() == []
    assert len(problems) == 3
    problems.clear()  # the browser logs each answer that is an error


def test_a_control_is_added_for_all_accounts_and_removed(
    visit: Callable[[str], Page], emulator: Emulator, view: AccountView
) -> None:
    page = visit("controls/stubs")
    page.locator("#add-stub-match").fill("^make")
    page.locator("#add-stub-match-regex").check()
    page.locator("#add-stub-output").fill('two\nlines "quoted"')
    page.locator("#add-stub-scope").select_option("*")
    assert python_of(page, "add-stub").startswith("import re")
    run_python(page, "add-stub", view)
    (by_python,) = view.commands.list()
    emulator.commands.remove(by_python.id)
    page.locator("#add-stub").get_by_role("button", name="Add the stub").click()
    page.locator("tr").get_by_text("all accounts").wait_for()
    (stub,) = view.commands.list()
    assert (stub.account, stub.options) == (by_python.account, by_python.options)
    assert stub.options == {"match": {"regex": "^make"}, "output": 'two\nlines "quoted"'}
    page.locator("tr", has_text=stub.id).get_by_role("button", name="Remove").click()
    page.get_by_text("No stubs:").wait_for()
    assert stub.id not in [one.id for one in emulator.commands.list(account="*")]
    view.commands.stub("make*", "x" * 300)
    page.get_by_text("make*").first.wait_for()
    check_accessible(page)


def test_the_clock_is_set_advanced_and_money_is_spent(
    visit: Callable[[str], Page], view: AccountView, caged: Caged
) -> None:
    sandbox = caged.sandboxes.create(template="minimal", budget=2.0)
    page = visit("controls/clock")
    page.locator("#clock-freeze-at").fill("2030-01-02T03:04:05Z")
    page.get_by_role("button", name="Set the clock").click()
    page.locator("#clock-state").get_by_text("2030-01-02T03:04:05").wait_for()
    page.locator("#clock-advance-hours").fill("2")
    page.locator("#clock-advance-minutes").fill("1.5")
    assert python_of(page, "clock-advance") == "emulator.clock.advance(minutes=1.5, hours=2)"
    page.get_by_role("button", name="Advance the clock").click()
    page.locator("#clock-state").get_by_text("2030-01-02T05:05:35").wait_for()
    page.get_by_role("button", name="Tick", exact=True).click()
    page.locator("#clock-state").get_by_text("2030-01-02T05:05:36").wait_for()
    assert view.clock.now().isoformat() == "2030-01-02T05:05:36+00:00"
    page.locator("#spend-usd").fill("1.5")
    assert python_of(page, "spend") == f'emulator.spend("{sandbox.id}", 1.5)'
    page.get_by_role("button", name="Spend").click()
    # Two hours of the sandbox cost a few cents, too.
    page.locator("#costs").get_by_text(re.compile(r"\$1\.5\d of \$2\.00")).wait_for()
    check_accessible(page)


def test_a_scripted_reply_is_used(visit: Callable[[str], Page], view: AccountView, caged: Caged) -> None:
    sandbox = caged.sandboxes.create(template="minimal", agents=["claude-code"])
    page = visit("agents")
    page.get_by_text("No prompts yet.").wait_for()
    page.locator("#reply-prompt").fill("Fix*")
    page.locator("#reply-text").fill(EVIL)
    page.locator("#reply-cost_usd").fill("0.25")
    page.locator("#reply summary").click()
    page.locator("#reply-files").fill("a.py")
    page.locator("#reply").get_by_label("files: content").fill("x = 1")
    page.locator("#reply").get_by_role("button", name="Another file").click()
    page.locator("#reply").get_by_label("files: path").nth(1).fill("b.py")
    by_python = run_python(page, "reply", view)
    options = view.agents.list()[0].options
    by_python.remove()
    page.get_by_role("button", name="Add the reply").click()
    page.locator("#message").get_by_text("Added reply_").wait_for()
    assert view.agents.list()[0].options == options
    assert options["files"] == {"a.py": "x = 1", "b.py": ""}
    result = caged.sandboxes.exec(sandbox.id, "claude -p 'Fix it'")
    assert EVIL in result.output
    said = page.locator("article")
    said.get_by_text("Fix it").wait_for()
    said.get_by_text(EVIL).wait_for()
    said.get_by_text("$0.25").wait_for()
    said.get_by_text("/workspace/a.py").wait_for()
    assert page.locator("img").count() == 0
    check_accessible(page)
    check_accessible(visit("controls/replies"))


def test_alerts_are_resolved_and_rules_changed(
    visit: Callable[[str], Page], view: AccountView, caged: Caged, problems: list[str]
) -> None:
    rule = caged.alerts.list_rules()[0]
    sandbox = caged.sandboxes.create(template="minimal", budget=1.0)
    page = visit("account")
    page.get_by_text("No alerts.").wait_for()
    view.spend(sandbox.id, 0.9)
    page.locator("#alerts").get_by_role("button", name="Resolve").click()
    page.locator("#alerts").get_by_text("resolved").wait_for()
    page.locator("#notifications").get_by_role("button", name="Mark all as read").click()
    page.locator("#notifications").get_by_text("unread").wait_for(state="hidden")
    page.locator("summary", has_text="budget_exceeded").click()
    form = page.locator(f"#{rule.id}")
    threshold = page.locator(f"#{rule.id}-config-threshold_percent")
    threshold.fill("-1")
    form.get_by_role("button", name="Save").click()
    form.get_by_text("must be between 0 and").wait_for()
    assert len(problems) == 1
    problems.clear()  # the browser logs the answer
    threshold.fill("50")
    assert "config=RuleConfig(threshold_percent=50)" in python_of(page, rule.id)
    form.get_by_role("button", name="Save").click()
    page.locator("summary", has_text="threshold_percent 50").wait_for()
    assert caged.alerts.list_rules()[0].config.threshold_percent == 50
    assert threshold.input_value() == "50"
    check_accessible(page)


def test_the_selector_of_the_bar_shows_another_account(
    visit: Callable[[str], Page], emulator: Emulator, view: AccountView
) -> None:
    with emulator.account(name="another", allow_unused=True) as other:
        other.faults.add("files.*", status=500)
        page = visit("controls")
        page.get_by_text("No faults.").wait_for()
        page.locator("#account").select_option(other.id)
        page.get_by_role("link", name="Controls").click()
        page.get_by_text('"files.*"').wait_for()
        page.goto("about:blank")
