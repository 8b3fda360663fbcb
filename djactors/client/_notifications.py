"""What an inbox yields: one frozen struct for each thing that can happen, so that `match` tells them apart.

Every struct has `offset`, the point in the log behind it: text to be kept as it is, and to be given to `connect` as
`since`. It is None only where the server gave none. Times are aware `datetime`s. Ids are integers.
"""

from datetime import datetime
from typing import Any, TypeAlias

import msgspec


class _Item(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What all have in common."""

    offset: str | None = None


class Notification(_Item, frozen=True):
    """A notification has come.

    Attributes:
        id: its number; `read`, `delete` and the others take it.
        type: such as `job_assigned`, or a backend's own.
        priority: `CRITICAL`, `HIGH`, `MEDIUM` or `LOW`.
        title, message: plain text; show it as text, never as HTML.
        data: what it is about, such as `jobId` and `djId`.
        created_at: when.
        replaces: the id of the notification whose place it takes; show no second toast then.
    """

    id: int
    type: str
    priority: str
    title: str
    message: str | None
    data: dict[str, Any] | None
    created_at: datetime
    replaces: int | None = None


class ListedNotification(Notification, frozen=True, kw_only=True):
    """A notification as a list has it, with its state. `snoozed_until` is set while it is snoozed."""

    is_read: bool
    read_at: datetime | None
    snoozed_until: datetime | None = None


class Page(msgspec.Struct, frozen=True, rename="camel"):
    """A page of a list, newest first.

    Attributes:
        items: the notifications.
        next_before: what the next page's `before` is; None at the end.
        unread_count, unseen_count: of the whole inbox.
        offset: the point in the log at which the list was read.
    """

    items: list[ListedNotification]
    next_before: int | None
    unread_count: int
    unseen_count: int
    offset: str


class Counts(msgspec.Struct, frozen=True):
    """The unread notifications after a command, and how many of them are unseen."""

    count: int
    unseen: int


class UnreadCount(_Item, frozen=True):
    """The unread count, after every connect and every change. Show it; do not count by yourself."""

    count: int
    unseen: int


class Read(_Item, frozen=True):
    """Notifications were read, here or on another device. `all` means everything that is in the inbox itself."""

    read_at: datetime
    notification_ids: list[int] = []
    all: bool = False


class Unread(_Item, frozen=True):
    """Notifications are unread again."""

    notification_ids: list[int]


class Seen(_Item, frozen=True):
    """Everything up to this id is seen."""

    up_to: int
    at: datetime


class Archived(_Item, frozen=True):
    """Notifications were put into the archive."""

    notification_ids: list[int]


class Unarchived(_Item, frozen=True):
    """Notifications are back from the archive, read or unread as before."""

    notification_ids: list[int]


class Snoozed(_Item, frozen=True):
    """Notifications are gone until a moment."""

    notification_ids: list[int]
    until: datetime


class Unsnoozed(_Item, frozen=True):
    """Snoozed notifications are back, unread and unseen."""

    notification_ids: list[int]


class Deleted(_Item, frozen=True):
    """Notifications are gone: somebody deleted them, or their 30 days are over."""

    notification_ids: list[int]


class JobMuted(_Item, frozen=True):
    """The user hears less of a job."""

    job_id: int


class JobUnmuted(_Item, frozen=True):
    """The user hears of a job as before."""

    job_id: int


class JobAssignment(_Item, frozen=True):
    """Somebody in the tenant was assigned a job."""

    job_id: int
    dj_id: str | None
    assignee_id: int | None
    assignee_name: str | None


class JobChange(_Item, frozen=True):
    """A job of the tenant has changed; `job` is as the job routes answer it."""

    job: dict[str, Any]


class NewComment(_Item, frozen=True):
    """Somebody in the tenant commented on a job; `comment` is as the job routes answer it."""

    comment: dict[str, Any]


class ApprovalStatus(_Item, frozen=True):
    """A job of the tenant is `pending`, `approved` or `rejected`."""

    job_id: int
    dj_id: str | None
    status: str
    approved_by: str | None


class Presence(_Item, frozen=True):
    """Somebody of the tenant has come or gone; only after `watch_people`."""

    user_id: int
    connected: bool


class TokenExpiring(_Item, frozen=True):
    """The token expires soon. With a `token` function the client has begun to renew it; otherwise call `refresh`."""

    expires_at: datetime


class Reset(_Item, frozen=True):
    """The server cannot tell what was missed: forget what you have and load the list (`Inbox.list`).

    What comes behind this may be in that list already, so apply it by its id.
    """


class OtherEvent(_Item, frozen=True):
    """An event that this version does not know, or whose payload has another shape than it knows."""

    name: str
    data: Any


class Connected(_Item, frozen=True):
    """The server let the client in. What was missed follows; if the server cannot tell it, a `Reset` comes first."""

    transport: str


class Disconnected(_Item, frozen=True):
    """There is no connection, and the client tries again in `retry_in` seconds.

    Attributes:
        reason: a fixed word; `djactors.client.socketio.DisconnectReason` lists them.
        detail: the same for people.
        attempt: failed attempts since the last connection; 0 when that has just ended.
    """

    reason: str
    detail: str
    retry_in: float
    attempt: int = 0


InboxItem: TypeAlias = (
    Notification
    | UnreadCount
    | Read
    | Unread
    | Seen
    | Archived
    | Unarchived
    | Snoozed
    | Unsnoozed
    | Deleted
    | JobMuted
    | JobUnmuted
    | JobAssignment
    | JobChange
    | NewComment
    | ApprovalStatus
    | Presence
    | TokenExpiring
    | Reset
    | OtherEvent
    | Connected
    | Disconnected
)
"""Everything that an inbox yields."""

SHAPES: dict[str, type[_Item]] = {
    "notification:new": Notification,
    "notification:unread-count": UnreadCount,
    "notification:read": Read,
    "notification:unread": Unread,
    "notification:seen": Seen,
    "notification:archived": Archived,
    "notification:unarchived": Unarchived,
    "notification:snoozed": Snoozed,
    "notification:unsnoozed": Unsnoozed,
    "notification:deleted": Deleted,
    "job:muted": JobMuted,
    "job:unmuted": JobUnmuted,
    "job:assigned": JobAssignment,
    "job:updated": JobChange,
    "comment:added": NewComment,
    "approval:status-changed": ApprovalStatus,
    "people:presence": Presence,
    "auth:expiring": TokenExpiring,
}
"""The struct for each of the server's events."""


_NAMES = {shape: name for name, shape in SHAPES.items()} | {
    Reset: "changes:reset",
    Connected: "connect",
    Disconnected: "disconnect",
}


def event_name(item: InboxItem) -> str:
    """The name of the server's event that an item is; `connect` and `disconnect` for the connection's own."""
    return item.name if isinstance(item, OtherEvent) else _NAMES[type(item)]


def item_of(name: str, data: Any, offset: str | None) -> InboxItem:
    """The item that an event is."""
    if name == "changes:reset":
        # Its payload names the same point as its offset.
        told = data.get("offset") if isinstance(data, dict) else None
        return Reset(offset=told if isinstance(told, str) else offset)
    shape = SHAPES.get(name)
    if shape is None or not isinstance(data, dict):
        return OtherEvent(name=name, data=data, offset=offset)
    try:
        return msgspec.convert({**data, "offset": offset}, shape)  # type: ignore[return-value]
    except msgspec.ValidationError:
        return OtherEvent(name=name, data=data, offset=offset)
