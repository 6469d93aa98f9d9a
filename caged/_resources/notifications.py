"""Notifications: read them, and say where they go."""

from __future__ import annotations

from typing import Any, Optional

from .. import _arguments as arguments
from .._call import Call, ExpectedContent, ignore
from .._errors import CagedError
from .._http import AsyncSession, Session
from .._json import json_type
from .._models.notifications import (
    Notification,
    NotificationConfig,
    NotificationConfigUpdate,
    NotificationPage,
)
from .._tracebacks import short_tracebacks

# The method named `list` hides the builtin inside the classes.
NotificationList = list[Notification]


def list_(unread_only: bool, limit: Optional[int]) -> Call[NotificationPage]:
    query = {
        "limit": arguments.optional_integer("limit", limit),
        "unread": "true" if arguments.boolean("unread_only", unread_only) else None,
    }
    return Call(
        "GET", "/notifications", ExpectedContent.OBJECT, NotificationPage.from_api, query=query, repeatable=True
    )


def unread_count() -> Call[int]:
    return Call("GET", "/notifications/unread-count", ExpectedContent.OBJECT, _count, repeatable=True)


def _count(data: Any) -> int:
    count = data.get("unread_count")
    if isinstance(count, bool) or not isinstance(count, int):
        raise CagedError(f"unread_count must be a whole number, not {json_type(count)}")
    return count


def mark_read(notification_id: str) -> Call[None]:
    path = f"/notifications/{arguments.segment('notification_id', notification_id)}/read"
    return Call("POST", path, ExpectedContent.NOTHING, ignore, repeatable=True)


def mark_all_read() -> Call[None]:
    return Call("POST", "/notifications/read-all", ExpectedContent.NOTHING, ignore, repeatable=True)


def get_config() -> Call[NotificationConfig]:
    path = "/notifications/config"
    return Call("GET", path, ExpectedContent.OBJECT, NotificationConfig.from_api, repeatable=True)


def update_config(update: NotificationConfigUpdate) -> Call[NotificationConfig]:
    if not isinstance(update, NotificationConfigUpdate):
        raise CagedError(f"update must be a NotificationConfigUpdate, not {type(update).__name__}")
    body: dict[str, Any] = {}
    if update.enabled_channels is not None:
        body["enabled_channels"] = arguments.texts("enabled_channels", update.enabled_channels)
    for name in ("slack_channel_id", "email_address", "slack_webhook_url", "discord_webhook_url"):
        value = arguments.optional_text(name, getattr(update, name))
        if value is not None:
            body[name] = value
    path = "/notifications/config"
    return Call("PUT", path, ExpectedContent.OBJECT, NotificationConfig.from_api, body=body, repeatable=True)


@short_tracebacks
class Notifications:
    """``caged.notifications``"""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, unread_only: bool = False, limit: Optional[int] = None) -> NotificationPage:
        """The newest notifications: at most `limit` (1-100)."""
        return self._session.send(list_(unread_only, limit))

    def list_unread(self, limit: Optional[int] = None) -> NotificationList:
        """The newest unread notifications: at most `limit` (1-100)."""
        return self._session.send(list_(True, limit)).notifications

    def unread_count(self) -> int:
        """The number of unread notifications."""
        return self._session.send(unread_count())

    def mark_read(self, notification_id: str) -> None:
        """Mark one as read."""
        self._session.send(mark_read(notification_id))

    def mark_all_read(self) -> None:
        """Mark all as read."""
        self._session.send(mark_all_read())

    def get_config(self) -> NotificationConfig:
        """Where notifications go; credentials are not in it."""
        return self._session.send(get_config())

    def update_config(self, update: NotificationConfigUpdate) -> NotificationConfig:
        """Change where notifications go; what `update` leaves at None stays as it is."""
        return self._session.send(update_config(update))


@short_tracebacks
class AsyncNotifications:
    """``caged.notifications`` of `AsyncCaged`; every method is described in `Notifications`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list(self, unread_only: bool = False, limit: Optional[int] = None) -> NotificationPage:
        """See `Notifications.list`."""
        return await self._session.send(list_(unread_only, limit))

    async def list_unread(self, limit: Optional[int] = None) -> NotificationList:
        """See `Notifications.list_unread`."""
        return (await self._session.send(list_(True, limit))).notifications

    async def unread_count(self) -> int:
        """See `Notifications.unread_count`."""
        return await self._session.send(unread_count())

    async def mark_read(self, notification_id: str) -> None:
        """See `Notifications.mark_read`."""
        await self._session.send(mark_read(notification_id))

    async def mark_all_read(self) -> None:
        """See `Notifications.mark_all_read`."""
        await self._session.send(mark_all_read())

    async def get_config(self) -> NotificationConfig:
        """See `Notifications.get_config`."""
        return await self._session.send(get_config())

    async def update_config(self, update: NotificationConfigUpdate) -> NotificationConfig:
        """See `Notifications.update_config`."""
        return await self._session.send(update_config(update))
