"""Snapshots of the kernel's state for telemetry: immutable, and cheap enough to take on every scrape."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a node of the tree is. A nested supervisor is a `SERVICE` until it has been made for the first time."""

    ACTOR = "actor"
    SERVICE = "service"
    SUPERVISOR = "supervisor"


class State(StrEnum):
    """Where a node is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing_off"
    QUARANTINED = "quarantined"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class MailboxStatistics:
    """One mailbox.

    Attributes:
        depth: items in the mailbox now.
        capacity: items that fit.
        high_water: the largest depth that there has been.
        received: all items that the mailbox has taken so far.
        refused: items refused because the mailbox was full.
        waiting_senders: tasks waiting for room now.
    """

    depth: int
    capacity: int
    high_water: int
    received: int
    refused: int
    waiting_senders: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Counters that only rise.

    Attributes:
        restarts: how often a new instance took the place of an old one.
        crashes: how often an instance raised.
        dropped: messages that nobody handled: an actor crashed on them, or they were left in a mailbox that was given
            up.
    """

    restarts: int = 0
    crashes: int = 0
    dropped: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.restarts + other.restarts, self.crashes + other.crashes, self.dropped + other.dropped)


@dataclass(frozen=True, slots=True)
class ChildStatistics:
    """One node of the tree of supervision.

    Attributes:
        tally: this node's own counters. A supervisor's tally includes the children that it no longer has, so the sum
            over a tree never falls when children come and go.
        mailbox: `None` unless the node is an actor.
        last_error: type and text of the last crash.
        children: in the order they were started; empty unless the node is a supervisor.
    """

    name: str
    kind: Kind
    state: State
    tally: Tally = Tally()
    mailbox: MailboxStatistics | None = None
    last_error: str | None = None
    children: tuple["ChildStatistics", ...] = ()

    @property
    def restarts(self) -> int:
        """See `Tally`."""
        return self.tally.restarts

    @property
    def crashes(self) -> int:
        """See `Tally`."""
        return self.tally.crashes

    @property
    def dropped(self) -> int:
        """See `Tally`."""
        return self.tally.dropped

    def walk(self) -> Iterator["ChildStatistics"]:
        """This node, then all nodes below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def total(self) -> Tally:
        """The tallies of the whole subtree, added up."""
        return sum((node.tally for node in self.walk()), Tally())
