"""Notifications of alerts, by channel (docs/contract/wire-contract.md 3.9).

Nothing is sent: a notification for slack, discord or e-mail is a record of what the platform would send.
"""

from __future__ import annotations

import re
from typing import Optional

from ..control.randomness import Randomness
from ..store import AccountRecord, Alert, Notification, NotificationConfig, Store
from .errors import invalid, not_found

IN_APP = "in_app"
CHANNELS = ("slack", "discord", "email", IN_APP)
#: In place of a credential: remove it.
CLEAR = "__clear__"
#: What a webhook looks like; with a port, a path and so on. Control characters by number: what `\s` holds of them
#: differs from one language to the next.
WEBHOOK = r"https?://[^\s\x00-\x1f\x85/?#@:\[\]]+(:[0-9]{1,5})?([/?#][^\s\x00-\x1f\x85]*)?"
TEXT_MOST = 2000
#: Notifications of one emulator that are kept; the oldest go first.
MOST = 50_000
EMAIL_MOST = 254


class Notifications:
    def __init__(self, store: Store, randomness: Randomness) -> None:
        self._store = store
        self._randomness = randomness

    def create_for(self, account: AccountRecord, alert: Alert) -> None:
        """Create one notification in the app, and one for every other channel that is enabled."""
        store = self._store
        others = [name for name in account.notification_config.enabled_channels if name != IN_APP]
        for channel in (IN_APP, *others):
            identifier = self._randomness.identifier("ntf", store.notifications)
            store.notifications[identifier] = Notification(
                id=identifier,
                account_id=account.id,
                alert_id=alert.id,
                channel=channel,
                title=alert.title,
                message=alert.message,
                created_at=alert.created_at,
            )
            if len(store.notifications) > MOST:
                del store.notifications[next(iter(store.notifications))]

    def of(self, account: AccountRecord, unread_only: bool = False) -> list[Notification]:
        """The account's notifications, newest first."""
        everything = self._store.notifications.values()
        mine = [found for found in everything if found.account_id == account.id and not (unread_only and found.read)]
        return mine[::-1]

    def unread_count(self, account: AccountRecord) -> int:
        return len(self.of(account, unread_only=True))

    def mark_read(self, account: AccountRecord, notification_id: str) -> None:
        found = self._store.notifications.get(notification_id)
        if found is None or found.account_id != account.id:
            raise not_found("notification", notification_id)
        self._mark(found)

    def mark_all_read(self, account: AccountRecord) -> None:
        for found in self.of(account, unread_only=True):
            self._mark(found)

    def _mark(self, found: Notification) -> None:
        found.read = True
        self._store.notifications[found.id] = found  # the change tracker sees what is put

    def configure(
        self,
        account: AccountRecord,
        *,
        enabled_channels: Optional[list[str]] = None,
        slack_channel_id: Optional[str] = None,
        email_address: Optional[str] = None,
        slack_webhook_url: Optional[str] = None,
        discord_webhook_url: Optional[str] = None,
    ) -> NotificationConfig:
        """Change the given settings. 400, and no change at all, when one of them is wrong.

        Args:
            enabled_channels: Names of CHANNELS.
            slack_webhook_url, discord_webhook_url: An http or https URL; empty: unchanged; CLEAR: removed.
        """
        for name in enabled_channels or ():
            if name not in CHANNELS:
                raise invalid(f"enabled_channels: {name!r} is unknown; use {', '.join(CHANNELS)}")
        if email_address and ("@" not in email_address or len(email_address) > EMAIL_MOST):
            raise invalid("email_address: is not an e-mail address")
        if len(slack_channel_id or "") > TEXT_MOST:
            raise invalid(f"slack_channel_id: has more than {TEXT_MOST} characters")
        slack_webhook_url = _webhook("slack_webhook_url", slack_webhook_url)
        discord_webhook_url = _webhook("discord_webhook_url", discord_webhook_url)
        config = account.notification_config
        if enabled_channels is not None:
            config.enabled_channels = list(dict.fromkeys(enabled_channels))
        if slack_channel_id is not None:
            config.slack_channel_id = slack_channel_id
        if email_address is not None:
            config.email_address = email_address
        if slack_webhook_url:
            config.slack_webhook_url = "" if slack_webhook_url == CLEAR else slack_webhook_url
        if discord_webhook_url:
            config.discord_webhook_url = "" if discord_webhook_url == CLEAR else discord_webhook_url
        return config

    def delete_all(self, account: AccountRecord) -> None:
        for found in self.of(account):
            del self._store.notifications[found.id]


def hint(credential: str) -> Optional[str]:
    """Return what may be shown of a credential: three dots and its last four characters. None when there is none."""
    return f"...{credential[-4:]}" if credential else None


def _webhook(name: str, url: Optional[str]) -> str:
    url = (url or "").strip()
    if url not in ("", CLEAR) and (len(url) > TEXT_MOST or not re.fullmatch(WEBHOOK, url)):
        raise invalid(f"{name}: must be an https URL, or {CLEAR} to remove it")
    return url
