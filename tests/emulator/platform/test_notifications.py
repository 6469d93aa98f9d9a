"""Notifications of alerts, and where they would go."""

import re

import pytest
from emulator_testing import assert_problem
from internals import call_on_loop, platform_of


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


SLACK = "https://hooks.slack.com/services/T0/B0/secret-abcd"
DISCORD = "https://discord.com/api/webhooks/1/secret-wxyz"


@pytest.fixture
def alert(api):
    """Makes alerts; the text tells them apart."""
    platform = platform_of(api.emulator)

    def make(text="boom", account_id=None):
        async def fire():
            platform.alerts.fire(account_id or api.account_id, "idle_timeout", "info", "Sandbox paused", text)

        call_on_loop(api.emulator, fire())

    return make


def listed(api, **query):
    answer = api.get("/notifications", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["notifications"]


def unread(api):
    return api.get("/notifications/unread-count").json()["unread_count"]


def configure(api, **body):
    answer = api.put("/notifications/config", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_alert_of_the_emulator_makes_one_notification(timed):
    api, clock = timed
    api.sandbox(timeout=60)
    clock.advance(61)
    (alert,) = api.get("/alerts").json()["alerts"]
    (found,) = listed(api)
    assert set(found) == {"id", "account_id", "alert_id", "channel", "title", "message", "read", "created_at"}
    assert re.fullmatch(r"ntf_[a-z0-9]{8}", found["id"])
    assert (found["alert_id"], found["account_id"], found["channel"]) == (alert["id"], api.account_id, "in_app")
    assert (found["title"], found["message"]) == (alert["title"], alert["message"])
    assert (found["read"], found["created_at"]) == (False, alert["created_at"])


@pytest.mark.parametrize(
    ("enabled", "channels"),
    [
        ([], ["in_app"]),
        (["in_app"], ["in_app"]),
        (["slack"], ["in_app", "slack"]),
        (["email", "discord", "in_app", "email"], ["discord", "email", "in_app"]),
    ],
)
def test_every_enabled_channel_has_one_of_its_own(api, alert, enabled, channels):
    configure(api, enabled_channels=enabled)
    alert()
    assert sorted(found["channel"] for found in listed(api)) == channels
    assert unread(api) == len(channels)


def test_the_list_is_newest_first_and_counts_what_is_unread(api, alert):
    for number in range(3):
        alert(str(number))
    page = api.get("/notifications").json()
    assert [found["message"] for found in page["notifications"]] == ["2", "1", "0"]
    assert page["unread_count"] == 3


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (60, 60), (100, 60), (0, 50), (101, 50), (-1, 50), (None, 50)])
def test_the_limit_is_1_to_100_and_50_otherwise(api, alert, limit, count):
    for _ in range(60):
        alert()
    query = {} if limit is None else {"limit": limit}
    assert len(listed(api, **query)) == count
    assert api.get("/notifications", params=query).json()["unread_count"] == 60


def test_a_limit_that_is_not_a_number_is_refused(api):
    assert_problem(api.get("/notifications?limit=all"), 400, "limit")


def test_the_count_is_of_unread_notifications(api, alert):
    assert api.get("/notifications/unread-count").json() == {"unread_count": 0}
    alert()
    assert api.get("/notifications/unread-count").json() == {"unread_count": 1}


def test_one_that_was_read_leaves_the_unread(api, alert):
    alert("old")
    alert("new")
    old = listed(api)[1]
    for _ in range(2):
        answer = api.post(f"/notifications/{old['id']}/read")
        assert (answer.status_code, answer.content) == (204, b"")
    assert [found["message"] for found in listed(api, unread="true")] == ["new"]
    assert [(found["message"], found["read"]) for found in listed(api)] == [("new", False), ("old", True)]
    assert [found["message"] for found in listed(api, unread="false")] == ["new", "old"]
    assert unread(api) == 1


def test_all_are_read_at_once(api, alert):
    alert()
    alert()
    for _ in range(2):
        answer = api.post("/notifications/read-all")
        assert (answer.status_code, answer.content) == (204, b"")
    assert (unread(api), listed(api, unread="true"), len(listed(api))) == (0, [], 2)


def test_another_accounts_notifications_are_neither_seen_nor_read(api, other, alert):
    alert()
    assert listed(other) == []
    assert_problem(other.post(f"/notifications/{listed(api)[0]['id']}/read"), 404, "notification not found")
    other.post("/notifications/read-all")
    assert unread(api) == 1


@pytest.mark.parametrize("identifier", ["ntf_1", "config", "a%2Fb"])
def test_an_unknown_notification_is_not_found(api, identifier):
    assert_problem(api.post(f"/notifications/{identifier}/read"), 404, "notification not found")


# --- the config


def test_a_new_account_has_nothing_configured(api):
    assert api.get("/notifications/config").json() == {
        "account_id": api.account_id,
        "enabled_channels": [],
        "slack_channel_id": "",
        "email_address": "",
        "slack_webhook_configured": False,
        "slack_bot_token_configured": False,
        "discord_webhook_configured": False,
    }


def test_a_credential_is_never_shown_but_for_its_end(api):
    config = configure(api, slack_webhook_url=SLACK, discord_webhook_url=DISCORD)
    assert config["slack_webhook_configured"] is True
    assert config["discord_webhook_configured"] is True
    assert (config["slack_webhook_hint"], config["discord_webhook_hint"]) == ("...abcd", "...wxyz")
    text = api.get("/notifications/config").text
    assert api.get("/notifications/config").json() == config
    assert not re.search("hooks.slack|discord.com|secret", text)


def test_what_is_left_out_stays_and_clear_removes(api):
    configure(api, slack_webhook_url=SLACK, discord_webhook_url=DISCORD, email_address="a@b.c")
    config = configure(api, enabled_channels=["slack"], slack_channel_id="C1")
    assert (config["email_address"], config["slack_channel_id"]) == ("a@b.c", "C1")
    assert config["slack_webhook_hint"] == "...abcd"
    config = configure(api, slack_webhook_url="__clear__", enabled_channels=[])
    assert config["slack_webhook_configured"] is False
    assert "slack_webhook_hint" not in config
    assert config["discord_webhook_configured"] is True
    assert config["enabled_channels"] == []
    assert configure(api, email_address="")["email_address"] == ""


@pytest.mark.parametrize("body", [{}, {"slack_webhook_url": ""}, {"slack_webhook_url": None, "enabled_channels": None}])
def test_an_update_of_nothing_changes_nothing(api, body):
    before = configure(api, slack_webhook_url=SLACK, enabled_channels=["slack"])
    assert configure(api, **body) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"enabled_channels": ["pigeon"]}, "enabled_channels"),
        ({"enabled_channels": ["slack", ""]}, "enabled_channels"),
        ({"enabled_channels": "slack"}, "enabled_channels"),
        ({"slack_webhook_url": "hooks.slack.com"}, "slack_webhook_url"),
        ({"slack_webhook_url": "file:///etc/passwd"}, "slack_webhook_url"),
        ({"slack_webhook_url": "https://"}, "slack_webhook_url"),
        ({"discord_webhook_url": "http://[::1"}, "discord_webhook_url"),
        ({"discord_webhook_url": "https://h/" + "x" * 3000}, "discord_webhook_url"),
        ({"email_address": "nobody"}, "email_address"),
        ({"slack_channel_id": 1}, "slack_channel_id"),
        ({"slack_channel_id": "C" * 3000}, "slack_channel_id"),
    ],
)
def test_a_config_that_cannot_be_is_a_400_and_changes_nothing(api, body, field):
    before = configure(api, enabled_channels=["email"], email_address="a@b.c")
    assert_problem(api.put("/notifications/config", json={"slack_channel_id": "C9", **body}), 400, field)
    assert api.get("/notifications/config").json() == before


def test_the_slack_bot_token_cannot_be_set(api):
    assert configure(api, slack_bot_token="xoxb-1")["slack_bot_token_configured"] is False


def test_every_account_has_a_config_of_its_own(api, other):
    configure(api, slack_webhook_url=SLACK, enabled_channels=["slack"])
    assert other.get("/notifications/config").json()["slack_webhook_configured"] is False
