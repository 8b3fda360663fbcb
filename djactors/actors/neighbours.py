"""What a node does besides because others serve the same database: all of it in one place, for the composition root.

    tails        how far each tenant was told; the users' actors read the inbox through them
    follower     tells what other nodes wrote
    listening    hears of it, or polls
    registration tells that this node is there, and by which types it notifies

Neither a node's name nor its row decides anything. The name must be one that no other process has or had, because the
database says by it who wrote last. So a part of it is drawn anew at each start.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable
from datetime import datetime, timedelta

from djactors.actors.follower import Follower
from djactors.actors.listening import Listening
from djactors.actors.registration import Registration
from djactors.actors.sla import Alarm
from djactors.actors.tails import Tails
from djactors.actors.user import Inbox
from djactors.actors.users import Users
from djactors.inbox.nodes import Nodes
from djactors.inbox.sharing import CHANNEL
from djactors.kernel import Exhausted, ServiceSpec
from djactors.store.database import Database
from djactors.store.engine import Hearer, Listener
from djactors.telemetry import Telemetry

TYPES_DIFFER = "notification types that differ"
"""Words by which the warning of it is known again: `djactors top` names the nodes itself."""

DRAWN_BYTES = 5
"""Bytes of a name that are drawn: among a thousand starts, two get the same name in one of two million cases."""


def name_of_node(name: str, random_bytes: Callable[[int], bytes]) -> str:
    """The name of this process among the nodes: the operator's, and a part that no other process has."""
    drawn = b32encode(random_bytes(DRAWN_BYTES)).decode().lower()
    return f"{name}-{drawn}" if name else drawn


class Neighbours:
    """See the module.

    Args:
        node: the name of this node.
        database: is shared with others.
        inbox: where actors read.
        telemetry: counts and logs.
        types: the digest of this node's notification types.

    Attributes:
        node: the name of this node.
        tails: the inbox for the users' actors.
        nodes: what the nodes ask of the database.
        types: the digest of this node's notification types.
    """

    def __init__(self, node: str, database: Database, inbox: Inbox, telemetry: Telemetry, types: str) -> None:
        self.node = node
        self.types = types
        self.nodes = Nodes(database)
        self.tails = Tails(inbox, self.nodes)
        self._engine = database.engine
        self._telemetry = telemetry
        self._registration: Registration | None = None

    def follow(self, users: Users, alarm: Callable[[], Alarm], history_days: float) -> Follower:
        """The follower, which the router tells its commits to."""

        def bring_forward(moment: str) -> None:
            alarm().bring_forward(moment)

        history = timedelta(days=history_days).total_seconds()
        return Follower(self.node, self.nodes, self.tails, users, bring_forward, self._telemetry, history=history)

    def services(self, follower: Follower) -> list[ServiceSpec]:
        """What tells this node's users of other nodes' commits, in start order."""

        def listener(hearer: Hearer) -> Listener:
            made = self._engine.listener(CHANNEL, hearer)
            assert made is not None, "a database that is shared notifies"
            return made

        listening = Listening(self.node, listener, self.nodes, follower, self._telemetry)
        return [ServiceSpec("follower", lambda: follower), ServiceSpec("listening", lambda: listening)]

    def registration(self, users: Users, url: Callable[[], str], now: Callable[[], datetime]) -> ServiceSpec:
        """What tells that this node is there. As nothing depends on it, it is set aside alone."""
        service = Registration(self.node, self.nodes, users, url, now, self._telemetry, self.types)
        self._registration = service
        return ServiceSpec("registration", lambda: service, when_exhausted=Exhausted.QUARANTINE)

    def concern(self) -> str | None:
        """That nodes notify by different types, in words for everybody; None if they do not."""
        others = [] if self._registration is None else self._registration.others
        if not others:
            return None
        count = "another node has" if len(others) == 1 else f"{len(others)} other nodes have"
        return f"{count} {TYPES_DIFFER} from this one's: `djactors top` and the log name them"
