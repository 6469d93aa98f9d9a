"""Snapshots of a sandbox's workspace."""

from dataclasses import dataclass
from typing import Optional

from .._literals import SnapshotStatus
from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class Snapshot(Model):
    """A copy of ``/workspace``, as far along as it was when the API answered.

    Attributes:
        sandbox_id: The sandbox it was taken of.
        status: One of pending, completed, failed.
        trigger: ``manual``, or ``auto`` for the one that pausing makes.
        size_bytes: Of the stored archive.
        created_at, completed_at: RFC 3339; the second may be None even when it is completed.
    """

    id: str = ""
    sandbox_id: str = ""
    name: str = ""
    description: str = ""
    status: SnapshotStatus = "pending"
    trigger: str = ""
    size_bytes: int = 0
    created_at: str = ""
    completed_at: Optional[str] = None


@public
@dataclass(frozen=True)
class SnapshotDownload(Model):
    """Where a snapshot can be fetched from.

    Attributes:
        url: As the server gave it. An absolute one is signed and needs no key; a server that keeps
            snapshots on its own disk may give a path (``/v1/snapshots/...``) that takes the API key.
        expires_in_seconds: How long it is good for, counted from the answer.
    """

    url: str = ""
    expires_in_seconds: int = 0


@public
@dataclass
class SnapshotCreateParams:
    """What a snapshot can be made with: ``create(sandbox_id, **vars(params))``."""

    name: Optional[str] = None
    description: Optional[str] = None
