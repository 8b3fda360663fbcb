"""What connected users get of a commit: it is numbered, delivered to each user's actor, and encoded for the sockets.

A packet leaves in one of two forms. The stamped form has an offset as its last argument, which stock JS clients send
back when they reconnect. The plain form is for clients that said `recovery: false`. Each form is made when the first
socket wants it, and all sockets share it. Packets that are wanted together are encoded together: of a commit, the
stamped forms for all users who are told of it, because nearly everybody wants these (`Deliver.encode_together`).

Source: the contract's section "Offsets and recovery".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from operator import not_
from typing import TypeAlias

import msgspec

from djactors.domain.commands import Change
from djactors.domain.marks import Offset, json_of
from djactors.domain.packets import UNREAD_COUNT
from djactors.inbox.log import Replay
from djactors.protocol import EncodedBatch, EncodedPacket, encode_events_json, frames_of

SHARED = 1024
"""Packets of changes for everybody that are remembered once they were replayed. Who returns together has missed the
same of them."""

SHARED_BYTES = 4096
"""The largest payload that is remembered, with its packet and its frame: all together take 12 MiB at most."""


class Numbering:
    """Numbers the commits as they are asked for, so that an actor can order what it is told and what it has read.

    Attributes:
        newest: the number of the commit that was asked for last.
        doubted: the database may have lost any commit up to this number.
    """

    __slots__ = ("doubted", "newest")

    def __init__(self) -> None:
        self.newest = 0
        self.doubted = 0

    def next(self) -> int:
        """The number of a commit that is about to be asked for."""
        self.newest += 1
        return self.newest

    def doubt(self) -> None:
        """Doubt all commits that have been asked for. A read from now on has a later number."""
        self.doubted = self.next()


class Outgoing:
    """Something that sockets are told, and its packets: a change, or what is in no log, such as the badge.

    Attributes:
        name: the Socket.IO event.
        body: the payload as JSON.
        at: the offset that it is stamped with. Of a change it is the point in the log right after the change, of
            anything else what its socket was told last.
        user_id: whose change it is; None where everyone in the tenant sees it.
        trace: the trace of the post that made it; None where it was read from the log, or is in none.
        stamped, plain: its packet in either form; None as long as nobody has wanted that.
    """

    __slots__ = ("at", "body", "name", "plain", "stamped", "trace", "user_id")

    def __init__(
        self, name: str, body: bytes, at: Offset, user_id: int | None = None, trace: str | None = None
    ) -> None:
        self.name = name
        self.body = body
        self.at = at
        self.user_id = user_id
        self.trace = trace
        self.stamped: EncodedPacket | None = None
        self.plain: EncodedPacket | None = None


Counts: TypeAlias = tuple[int, int]
"""How many notifications are unread, and how many of these are unseen."""


def unread_count(counts: Counts, told: Offset) -> Outgoing:
    """The badge."""
    return Outgoing(UNREAD_COUNT, b'{"count":%d,"unseen":%d}' % counts, told)


def encoded(outgoing: Sequence[Outgoing], *, stamped: bool) -> list[EncodedPacket]:
    """The packets of all, in order, stamped or plain. Those that nobody has wanted in this form yet are made."""
    if stamped:
        new = [each for each in outgoing if each.stamped is None]
        if new:
            stamps = json_of([each.at for each in new])
            events = [(each.name, (each.body, stamp)) for each, stamp in zip(new, stamps, strict=True)]
            for each, packet in zip(new, encode_events_json(events), strict=True):
                each.stamped = packet
        return [each.stamped for each in outgoing if each.stamped is not None]
    new = [each for each in outgoing if each.plain is None]
    for each, packet in zip(new, encode_events_json([(each.name, (each.body,)) for each in new]), strict=True):
        each.plain = packet
    return [each.plain for each in outgoing if each.plain is not None]


class Slice(msgspec.Struct, frozen=True):
    """A part of the log as one socket is given it.

    Attributes:
        packets: of the changes, in order.
        position: the offset up to which a client that has these changes misses nothing.
    """

    packets: list[EncodedPacket]
    position: Offset


def slice_of(replay: Replay, *, stamped: bool) -> Slice:
    """Make the packets of a replay, and their frames. For the thread that has read it, so that the loop only writes."""
    changes = replay.changes
    shared = [change.user_id is None and len(change.body) <= SHARED_BYTES for change in changes]
    if any(shared):
        own = iter(_packets_of(list(compress(changes, map(not_, shared))), stamped))
        packets = [
            _shared_packet(change, stamped) if is_shared else next(own)
            for change, is_shared in zip(changes, shared, strict=True)
        ]
    else:
        packets = _packets_of(changes, stamped)
    # The packets keep their frames.
    frames_of(packets)
    return Slice(packets, replay.position)


def _packets_of(changes: Sequence[Change], stamped: bool) -> list[EncodedPacket]:
    if not stamped:
        return encode_events_json([(change.name, (change.body,)) for change in changes])
    stamps = json_of([change.offset for change in changes])
    return encode_events_json(
        [(change.name, (change.body, stamp)) for change, stamp in zip(changes, stamps, strict=True)]
    )


@lru_cache(SHARED)
def _shared_packet(change: Change, stamped: bool) -> EncodedPacket:
    """The same for all who are given this change. The mark in a change's offset tells the change from any other."""
    [packet] = _packets_of([change], stamped)
    return packet


class Deliver:
    """What one commit means to one user: changes in order, the counts if they changed, when it was durable.

    Where it means the same to many, all of them are told with the same object. `number` is that of the commit. `told`
    is everything that the user is told if the counts are news: the changes, and the badge behind them.
    """

    __slots__ = ("_batches", "_stamped", "changes", "committed_at", "counts", "number", "told")

    def __init__(self, changes: Sequence[Outgoing], counts: Counts | None, committed_at: float, number: int) -> None:
        self.changes = changes
        self.counts = counts
        self.committed_at = committed_at
        self.number = number
        self.told = changes if counts is None or not changes else [*changes, unread_count(counts, changes[-1].at)]
        # What `encode_together` has made of `told`.
        self._stamped: Sequence[EncodedPacket] | None = None
        self._batches: dict[bool, EncodedBatch] = {}

    def packets(self, *, counted: bool, stamped: bool) -> Sequence[EncodedPacket]:
        """All changes, each stamped with its offset or plain; where the counts are news, with the badge behind them."""
        if counted:
            return self._stamped if stamped and self._stamped is not None else encoded(self.told, stamped=stamped)
        batch = self._batches.get(stamped)
        if batch is None:
            # Put together once, because the same may be told to many.
            batch = self._batches[stamped] = EncodedBatch(encoded(self.changes, stamped=stamped))
        return batch

    @staticmethod
    def encode_together(deliveries: Sequence[Deliver]) -> None:
        """Make the stamped packets of all: together it takes half of what it takes for each user alone."""
        packets = encoded([each for delivery in deliveries for each in delivery.told], stamped=True)
        end = 0
        for delivery in deliveries:
            start, end = end, end + len(delivery.told)
            delivery._stamped = packets[start:end]
