"""What a run records: one struct for each thing that happened at a publisher or at a client, kept as JSON lines.

Records of one device are in the order in which they happened there; between devices the order says nothing. A device is
one client with a place of its own in the log: a tab, a phone, a program that polls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

Kind = Literal["recovery", "since", "polling"]
"""How a device resumes: a stock client's `pid` and `offset`; `auth.since`, without offsets on its events; HTTP only."""


class Sent(msgspec.Struct, frozen=True, tag="sent", omit_defaults=True):
    """A publisher is about to post this event under this key, for the first time."""

    tenant_id: int
    key: str
    event: dict[str, Any]


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """A publisher was given this answer. Posts that were answered by nobody leave no record."""

    tenant_id: int
    key: str
    status: int
    body: dict[str, Any]


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """A device begins to exist, knowing nothing."""

    device: str
    tenant_id: int
    user_id: int
    kind: Kind


class Connected(msgspec.Struct, frozen=True, tag="connected", omit_defaults=True):
    """The device's CONNECT was answered. `since` is the offset that its application presented, if any."""

    device: str
    recovered: bool = False
    since: str | None = None


class Received(msgspec.Struct, frozen=True, tag="received", omit_defaults=True):
    """An event came in over the device's socket; `offset` is its last argument, None where there was none."""

    device: str
    event: str
    data: Any
    offset: str | None = None


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """The device noticed that its connection is gone."""

    device: str


class Reloaded(msgspec.Struct, frozen=True, tag="reloaded"):
    """The device loaded its inbox over HTTP: the newest page. `items` are pairs of id and whether it is read."""

    device: str
    offset: str
    unread: int
    items: list[tuple[int, bool]]
    complete: bool


class Paged(msgspec.Struct, frozen=True, tag="paged", omit_defaults=True):
    """The device asked for its changes over HTTP."""

    device: str
    since: str
    items: list[dict[str, Any]]
    offset: str
    reset: bool = False


Verb = Literal["read", "delete", "read-all", "seen", "unread", "archive", "unarchive", "snooze", "unsnooze"]


class Commanded(msgspec.Struct, frozen=True, tag="commanded", omit_defaults=True):
    """The device gave a command, over its socket or HTTP, and was answered.

    `after` is the newest offset that the device knew when it gave the command; `code` is of a refusal. `unseen` is None
    where the answer had none.
    """

    device: str
    verb: Verb
    notification_id: int | None = None
    count: int | None = None
    code: str | None = None
    after: str | None = None
    unseen: int | None = None


class Acknowledged(msgspec.Struct, frozen=True, tag="acknowledged", omit_defaults=True):
    """An ack with counts arrived on the device's socket, behind what has the offset `told`.

    It is recorded only where acks are heard in order with what else the socket brings.
    """

    device: str
    count: int
    unseen: int
    told: str


class Barred(msgspec.Struct, frozen=True, tag="barred", omit_defaults=True):
    """From now on what is posted must not reach sessions that were opened before: of a user who was signed out, or of
    one device, whose token has expired."""

    tenant_id: int
    user_id: int
    device: str | None = None


class Marked(msgspec.Struct, frozen=True, tag="marked"):
    """The last notification that this user was sent: every device of the user's must have come that far."""

    tenant_id: int
    user_id: int
    notification_id: int


class Note(msgspec.Struct, frozen=True, tag="note"):
    """What the run did to the world, for whoever reads the file; judged by nobody."""

    at: float
    text: str


DeviceRecord: TypeAlias = Opened | Connected | Received | Lost | Reloaded | Paged | Commanded | Acknowledged
Record: TypeAlias = Sent | Answered | DeviceRecord | Barred | Marked | Note

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class History:
    """The records of one run, oldest first."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records: list[Record] = list(records)

    def add(self, record: Record) -> None:
        """Append a record."""
        self.records.append(record)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def save(self, path: Path) -> None:
        """Write it as JSON lines."""
        with path.open("wb") as file:
            file.writelines(_encoder.encode(record) + b"\n" for record in self.records)

    @classmethod
    def load(cls, path: Path) -> History:
        """Read what `save` wrote."""
        with path.open("rb") as file:
            return cls(_decoder.decode(line) for line in file)
