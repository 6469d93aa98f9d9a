"""Notifications and their configuration (wire-contract.md 3.9)."""

from __future__ import annotations

from typing import Any, Optional

from pydantic import Field
from starlette.responses import Response

from ..platform.alerts import page_size
from ..platform.notifications import CHANNELS, CLEAR, EMAIL_MOST, TEXT_MOST, WEBHOOK, hint
from ..store import AccountRecord, Notification
from .operation import Body, Call, EmptyBody, Model, Operations, json_reply, no_content

operations = Operations()

_WEBHOOK: dict[str, Any] = {"pattern": f"^({WEBHOOK}|{CLEAR}|)$", "maxLength": TEXT_MOST}


class NotificationOut(Model):
    id: str
    account_id: str
    alert_id: str
    channel: str
    title: str
    message: str
    read: bool
    created_at: str


class NotificationPage(Model):
    notifications: list[NotificationOut]
    unread_count: int


class UnreadCount(Model):
    unread_count: int


class UpdateConfig(Body):
    """A change of the configuration. An absent key is not changed; `__clear__` removes a webhook."""

    enabled_channels: Optional[list[str]] = Field(None, json_schema_extra={"items": {"enum": list(CHANNELS)}})
    slack_channel_id: Optional[str] = Field(None, json_schema_extra={"maxLength": TEXT_MOST})
    email_address: Optional[str] = Field(None, json_schema_extra={"pattern": "^$|@", "maxLength": EMAIL_MOST})
    slack_webhook_url: Optional[str] = Field(None, json_schema_extra=_WEBHOOK)
    discord_webhook_url: Optional[str] = Field(None, json_schema_extra=_WEBHOOK)


class ConfigOut(Model):
    """The configuration of notifications. Of a webhook: whether there is one, and its last four characters."""

    account_id: str
    enabled_channels: list[str]
    slack_channel_id: str
    email_address: str
    slack_webhook_configured: bool
    slack_webhook_hint: Optional[str]
    slack_bot_token_configured: bool
    discord_webhook_configured: bool
    discord_webhook_hint: Optional[str]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


def serialize(notification: Notification) -> NotificationOut:
    """The notification as clients read it."""
    return NotificationOut(
        id=notification.id,
        account_id=notification.account_id,
        alert_id=notification.alert_id,
        channel=notification.channel,
        title=notification.title,
        message=notification.message,
        read=notification.read,
        created_at=notification.created_at,
    )


def serialize_config(account: AccountRecord) -> ConfigOut:
    """The account's configuration as clients read it."""
    config = account.notification_config
    return ConfigOut(
        account_id=account.id,
        enabled_channels=config.enabled_channels,
        slack_channel_id=config.slack_channel_id,
        email_address=config.email_address,
        slack_webhook_configured=bool(config.slack_webhook_url),
        slack_webhook_hint=hint(config.slack_webhook_url),
        slack_bot_token_configured=False,
        discord_webhook_configured=bool(config.discord_webhook_url),
        discord_webhook_hint=hint(config.discord_webhook_url),
    )


@operations.add(
    "GET", "/v1/notifications", "notifications.list", reply=NotificationPage, query={"limit": int, "unread": str}
)
async def list_all(call: Call[EmptyBody]) -> Response:
    """Newest first. A limit that is not 1 to 100 is 50; `unread` counts when it is `true`."""
    limit = page_size(call.query_int("limit"))
    unread = call.query("unread") == "true"
    if call.query("unread") not in (None, "", "true", "false"):
        call.warnings.append(f"unread={call.query('unread')} has no effect: use unread=true")
    found = call.platform.notifications.of(call.account, unread)[:limit]
    count = call.platform.notifications.unread_count(call.account)
    return json_reply(NotificationPage(notifications=[serialize(one) for one in found], unread_count=count))


@operations.add("GET", "/v1/notifications/unread-count", "notifications.unread_count", reply=UnreadCount)
async def unread_count(call: Call[EmptyBody]) -> Response:
    return json_reply(UnreadCount(unread_count=call.platform.notifications.unread_count(call.account)))


@operations.add("POST", "/v1/notifications/read-all", "notifications.mark_all_read")
async def mark_all_read(call: Call[EmptyBody]) -> Response:
    call.platform.notifications.mark_all_read(call.account)
    return no_content()


@operations.add("POST", "/v1/notifications/{id}/read", "notifications.mark_read")
async def mark_read(call: Call[EmptyBody]) -> Response:
    call.platform.notifications.mark_read(call.account, call.param("id"))
    return no_content()


@operations.add("GET", "/v1/notifications/config", "notifications.get_config", reply=ConfigOut)
async def get_config(call: Call[EmptyBody]) -> Response:
    return json_reply(serialize_config(call.account))


@operations.add("PUT", "/v1/notifications/config", "notifications.update_config", UpdateConfig, reply=ConfigOut)
async def update_config(call: Call[UpdateConfig]) -> Response:
    body = call.body
    call.platform.notifications.configure(
        call.account,
        enabled_channels=body.enabled_channels,
        slack_channel_id=body.slack_channel_id,
        email_address=body.email_address,
        slack_webhook_url=body.slack_webhook_url,
        discord_webhook_url=body.discord_webhook_url,
    )
    return json_reply(serialize_config(call.account))
