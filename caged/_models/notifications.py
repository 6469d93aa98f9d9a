"""Notifications and their settings."""

from dataclasses import dataclass, field
from typing import Optional

from .._naming import public
from ._base import Model

CLEAR_CREDENTIAL = "__clear__"
"""As a webhook URL in `NotificationConfigUpdate`: remove the stored one."""


@public
@dataclass(frozen=True)
class Notification(Model):
    """An alert that is sent to the account's owner; `channel` is slack, discord, email or in_app."""

    id: str = ""
    account_id: str = ""
    alert_id: str = ""
    channel: str = ""
    title: str = ""
    message: str = ""
    read: bool = False
    created_at: str = ""


@public
@dataclass(frozen=True)
class NotificationPage(Model):
    """Some notifications; `unread_count` counts all unread ones of the account."""

    notifications: list[Notification] = field(default_factory=list, hash=False)
    unread_count: int = 0


@public
@dataclass(frozen=True)
class NotificationConfig(Model):
    """Where notifications are sent. Credentials are not returned; a hint holds their last characters."""

    account_id: str = ""
    enabled_channels: list[str] = field(default_factory=list, hash=False)
    slack_channel_id: str = ""
    email_address: str = ""
    slack_webhook_configured: bool = False
    slack_webhook_hint: str = ""
    slack_bot_token_configured: bool = False
    slack_bot_token_hint: str = ""
    discord_webhook_configured: bool = False
    discord_webhook_hint: str = ""


@public
@dataclass
class NotificationConfigUpdate:
    """The settings to change: None keeps a setting, `CLEAR_CREDENTIAL` removes a webhook."""

    enabled_channels: Optional[list[str]] = None
    slack_channel_id: Optional[str] = None
    email_address: Optional[str] = None
    slack_webhook_url: Optional[str] = field(default=None, repr=False)
    discord_webhook_url: Optional[str] = field(default=None, repr=False)
