"""The page of the account: plan, usage, alerts with rules, notifications, keys without their values."""

from __future__ import annotations

import html
import re

from caged import Caged

EVIL = "<img src=x onerror=alert(1)>\"'&</script>"


def _page(browser, account):
    response = browser.get("/_emulator/ui/account", params={"account": account})
    assert response.status_code == 200, response.text
    assert "<img src=x" not in response.text
    return response.text


def _text(page):
    return re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]*>", " ", page)))


def test_an_account_without_alerts_says_when_one_is_raised(browser, view):
    text = _text(_page(browser, view.id))
    assert "No alerts." in text
    assert "No notifications." in text
    assert "team, active" in text
    assert "started without a plan" in text


def test_usage_is_shown_against_the_limits_of_the_plan(own_emulator, new_browser):
    emulator = own_emulator(tier="pro", allow_unused=True)
    browser = new_browser(emulator)
    browser.log_in(emulator.ui_link())
    with Caged(api_key=emulator.api_key, base_url=emulator.base_url) as caged:
        caged.sandboxes.create(template="minimal")
    text = _text(_page(browser, ""))
    assert "pro, active" in text
    assert "Sandboxes 1 of 10" in text
    assert "300 a minute at most" in text
    assert "started without a plan" not in text


def test_alerts_can_be_resolved_and_notifications_read(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", budget=1.0)
    view.spend(sandbox.id, 0.9)
    page = _page(browser, view.id)
    assert "Budget Threshold Exceeded" in page
    assert "1 unread" in _text(page)
    for label in ("Resolve", "Mark as read"):
        call = re.search(rf'data-method="POST" data-call="([^"]*)">{label}<', page)[1]
        assert browser.call("POST", html.unescape(call), view.id).status_code == 204
    text = _text(_page(browser, view.id))
    assert "resolved 20" in text
    assert "unread" not in text
    assert caged.alerts.list().alerts[0].resolved


def test_rules_have_a_form_with_their_thresholds(browser, view, caged):
    rule = next(one for one in caged.alerts.list_rules() if one.type == "error_spike")
    caged.alerts.update_rule(rule.id, enabled=False)
    page = _page(browser, view.id)
    form = page.partition(f'<form id="{rule.id}"')[2].partition("</form>")[0]
    assert re.findall('data-field="([^"]*)"', form) == [
        "enabled",
        "config.error_count_threshold",
        "config.window_minutes",
    ]
    assert f'data-path="/v1/alerts/rules/{rule.id}"' in form
    assert 'value="10"' in form
    assert "error_spike off; error_count_threshold 10" in _text(page)


def test_keys_are_shown_without_their_values(browser, view, caged):
    made = caged.account.create_key(EVIL, scope="read_only")
    page = _page(browser, view.id)
    assert made.info.id in page
    assert "read_only" in page
    for secret in (made.key, view.api_key, made.info.prefix):
        assert secret not in page
