"""What clients are told: the payload of each Socket.IO event that the server emits.

The payload of a change is encoded once, and its bytes are in the log and in the change's mark. A struct has its fields
in the order in which they are sent.

Source: the contract's section "Socket.IO".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from djactors.domain.comments import CommentView
from djactors.domain.jobs import JobView
from djactors.domain.notifications import Notification
from djactors.domain.times import UtcText


class Packet(msgspec.Struct, frozen=True, rename="camel"):
    """Base of all payloads."""


class NotificationIds(Packet, frozen=True):
    """The notifications to which it has happened."""

    notification_ids: list[int]


class Read(Packet, frozen=True, kw_only=True):
    """Notifications were read: these, or `all` that are neither archived nor snoozed."""

    notification_ids: list[int] | msgspec.UnsetType = msgspec.UNSET
    all: Annotated[bool, Meta(extra_json_schema={"const": True})] | msgspec.UnsetType = msgspec.UNSET
    read_at: UtcText


class Seen(Packet, frozen=True):
    """Everything up to the notification `up_to` was seen."""

    up_to: int
    at: UtcText


class Snoozed(NotificationIds, frozen=True):
    """Notifications have left the inbox, and come back at a moment."""

    until: UtcText


class OfJob(Packet, frozen=True):
    """The job to which it has happened."""

    job_id: int


class JobGiven(OfJob, frozen=True):
    """A job was given to somebody."""

    dj_id: str | None
    assignee_id: int | None
    assignee_name: str | None


class ApprovalChanged(OfJob, frozen=True):
    """Where the approval of a job stands. `approved_by` is the name of the person who decided, if anybody has."""

    dj_id: str | None
    status: Literal["pending", "approved", "rejected"]
    approved_by: str | None


class JobChanged(Packet, frozen=True):
    """A job is new or has changed."""

    job: JobView


class Commented(Packet, frozen=True):
    """A comment is new."""

    comment: CommentView


class Badge(Packet, frozen=True):
    """How many notifications are unread, and how many of these are unseen."""

    count: int
    unseen: int


class Expiring(Packet, frozen=True):
    """When the socket's token expires: a new one is due, with `auth:refresh`."""

    expires_at: UtcText


class Reset(Packet, frozen=True):
    """The server cannot tell what the client has missed: load the lists again. From `offset` on, changes come."""

    offset: str


class Presence(Packet, frozen=True):
    """Somebody of the tenant has come or gone."""

    user_id: int
    connected: bool


NEW = "notification:new"

LOGGED: Mapping[str, tuple[str, type[Any]]] = {
    "new": (NEW, Notification),
    "read": ("notification:read", Read),
    "unread": ("notification:unread", NotificationIds),
    "seen": ("notification:seen", Seen),
    "archived": ("notification:archived", NotificationIds),
    "unarchived": ("notification:unarchived", NotificationIds),
    "snoozed": ("notification:snoozed", Snoozed),
    "unsnoozed": ("notification:unsnoozed", NotificationIds),
    "deleted": ("notification:deleted", NotificationIds),
    "job_muted": ("job:muted", OfJob),
    "job_unmuted": ("job:unmuted", OfJob),
    "job_assigned": ("job:assigned", JobGiven),
    "approval_changed": ("approval:status-changed", ApprovalChanged),
    "job_updated": ("job:updated", JobChanged),
    "comment_added": ("comment:added", Commented),
}
"""The kinds of change in the log, and the Socket.IO event that a client gets for each of them, with its payload."""

UNREAD_COUNT = "notification:unread-count"
AUTH_EXPIRING = "auth:expiring"
CHANGES_RESET = "changes:reset"
PRESENCE = "people:presence"

UNLOGGED: Mapping[str, type[Any]] = {
    UNREAD_COUNT: Badge,
    AUTH_EXPIRING: Expiring,
    CHANGES_RESET: Reset,
    PRESENCE: Presence,
}
"""The events that are in no log, with their payloads."""

FOR_TENANT = frozenset({"job_assigned", "approval_changed", "job_updated", "comment_added"})
"""The kinds of change that everybody in the tenant sees. The others are for one user."""
