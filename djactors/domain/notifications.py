"""What a notification is, and its one JSON form, which is the same on the wire, in a list and in a replay.

Source: the seed's "Server -> Client" events and the contract's `notification:new`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from djactors.domain.events import Priority
from djactors.domain.times import UtcText


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A notification for one user, before it has an id. `data` is the JSON text of an object, or None."""

    user_id: int
    type: str
    priority: Priority
    title: str
    message: str | None
    data: bytes | None


ObjectText: TypeAlias = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": ["object", "null"]})]
"""The JSON of an object or of null, which is sent as it is."""


class Notification(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The payload of `notification:new`."""

    id: int
    type: str
    priority: Priority
    title: str
    message: str | None
    data: ObjectText
    created_at: UtcText
    replaces: int | msgspec.UnsetType = msgspec.UNSET


class InboxItem(Notification, frozen=True, kw_only=True, gc=False):
    """A notification as a list shows it, with its read state, and when it comes back if it is snoozed."""

    is_read: bool
    read_at: UtcText | None
    snoozed_until: UtcText | msgspec.UnsetType = msgspec.UNSET


NULL = msgspec.Raw(b"null")
encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
"""Encodes a struct or a plain value as JSON bytes. Everything that is sent to a client goes through it."""
