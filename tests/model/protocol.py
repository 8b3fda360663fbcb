"""The protocol of offsets, small enough that every run of it can be looked at.

One tenant, one user who sees every change, one client, one or two nodes, one database of which a copy can be put back.
A *past* is the tuple of the changes that a log has had so far. The mark of an offset stands for its whole past, so an
offset is a past here, and "the log has this mark at this number" is "the log begins with this past".

    client ── connect ──► session: snapshot ──► judged ──► slices of the log ──► caught up
    router ── commit ──► database ──► the node's own delivery ──► tail: is it the next one? ──► session
    follower ──► reads the log behind the tail, and looks for what was given ──► session, or everybody looks

What the model leaves out: several users and tenants, counts, limits of queues, lists that are loaded by HTTP (a client
that is reset has the past of its session's snapshot at once), and that notifications are read at one time or another:
whatever could wake a follower may do so at any moment, or never.

Rules that can be left out, to see that they are needed (`RULES`):
    marks          an offset is good by its whole past, and not by its number
    one snapshot   an offset is judged in the snapshot from which the answer is read
    beginning      the offset before any change is good only while nothing was purged
    chain          a node's own commit is told at once only if it builds on what was told last
    given          the follower looks in the log for what each session was given besides what it told itself
    position       the follower looks in the log for what it has told
    numbers        a delivery that was under way while the session read the log has the session read it again
    others wrote   a commit before which somebody else wrote is not told as if it were the next one
    stamps         a packet that is not logged carries what its session was told

Source: the decisions "marks" and "acknowledge after fsync" of the design; `djactors/actors/tails.py`, `follower.py` and
`user.py`, whose names are used here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

Past: TypeAlias = tuple[int, ...]

RULES = frozenset(
    {"marks", "one snapshot", "beginning", "chain", "given", "position", "numbers", "others wrote", "stamps"}
)


class Delivery(NamedTuple):
    """A commit of a node that its users were not told yet.

    `past` ends with the change. `old` says that the session read the log since the commit was asked for, so that it is
    not known which of the two came first. `doubts` says that somebody else wrote before the commit, or that the log did
    not end where the node had left it: everybody looks, or the follower reads, before anything is told.
    """

    past: Past
    old: bool = False
    doubts: bool = False


class Reading(NamedTuple):
    """What a follower has read and not told yet: from `since` up to `upto`, unless something that was told is lost."""

    since: Past
    sought: frozenset[Past]
    upto: Past
    lost: bool
    old: bool = False


class Node(NamedTuple):
    """`tail` is what was told of the tenant, `given` what a session was given besides; see `djactors.actors.tails`.
    `wrote` is the log as the node's last commit left it."""

    tail: Past | None = None
    given: frozenset[Past] = frozenset()
    deliveries: tuple[Delivery, ...] = ()
    wanted: bool = False
    reading: Reading | None = None
    wrote: Past | None = None


class Session(NamedTuple):
    """The client's session and its user's actor.

    `at` is where the actor stands, None before its snapshot. `since` is the offset that the client brought, None for a
    client that has none. `answered` says that the offset was judged. `behind` is up to where the session was told,
    where that is less than `at`.
    """

    node: int
    since: Past | None
    at: Past | None = None
    answered: bool = False
    behind: Past | None = None


class State(NamedTuple):
    """Everything. `view` is what the client believes, and `offset` is the past that its offset names."""

    log: Past = ()
    oldest: int = 0
    made: int = 0
    copy: tuple[Past, int] | None = None
    foreign: bool = False
    put_back: int = 0
    nodes: tuple[Node, ...] = (Node(), Node())
    session: Session | None = None
    view: Past | None = None
    offset: Past | None = None
    disconnects: int = 0


class Bounds(NamedTuple):
    """How far an exploration goes: how many changes are made, how often a copy is put back, how often somebody leaves
    or a node restarts, and how many changes are purged. There is one copy.
    """

    changes: int = 3
    put_back: int = 1
    disconnects: int = 1
    purged: int = 1


class Protocol:
    """The transitions. `shared` is a database that several nodes follow; otherwise one node has a file of its own."""

    def __init__(self, *, shared: bool, rules: frozenset[str] = RULES, bounds: Bounds | None = None) -> None:
        self.shared = shared
        self.bounds = bounds or Bounds()
        self._rules = rules

    def start(self, nodes: int) -> State:
        """Nothing has happened."""
        return State(nodes=(Node(),) * nodes)

    # What comes from outside

    def outside(self, state: State) -> Iterator[tuple[str, State]]:
        """What people, other machines and time may do now."""
        bounds = self.bounds
        for number in range(len(state.nodes)):
            if state.made < bounds.changes:
                yield f"commit {number}", self.commit(state, number)
            if state.session is None:
                yield f"connect {number}", self.connect(state, number)
            if state.nodes[number] != Node() and state.disconnects < bounds.disconnects:
                yield f"restart {number}", self.restart(state, number)
        if state.session is not None and state.disconnects < bounds.disconnects:
            yield "disconnect", self.disconnect(state)
        if state.oldest < min(len(state.log), bounds.purged):
            yield "purge", state._replace(oldest=state.oldest + 1)
        if state.put_back < bounds.put_back:
            if state.copy is None:
                yield "copy", self.copy(state)
            if state.copy is not None and state.copy[0] != state.log:
                yield "put back", self.put_back(state)

    def commit(self, state: State, number: int) -> State:
        """A node commits a change, which no other change is equal to."""
        made = state.made + 1
        log = (*state.log, made)
        node = state.nodes[number]
        doubts = state.log != node.wrote if self.shared else state.foreign
        delivery = Delivery(log, doubts=doubts and "others wrote" in self._rules)
        node = node._replace(deliveries=(*node.deliveries, delivery), wrote=log if self.shared else None)
        return _with(state._replace(log=log, made=made, foreign=False), number, node)

    def connect(self, state: State, number: int) -> State:
        """The client connects to a node, with the offset that it has."""
        node = state.nodes[number]
        if self.shared and node.tail is None:
            node = node._replace(tail=state.log)
        return _with(state._replace(session=Session(number, state.offset)), number, node)

    def disconnect(self, state: State) -> State:
        """The client leaves."""
        return state._replace(session=None, disconnects=state.disconnects + 1)

    def restart(self, state: State, number: int) -> State:
        """A node is killed and comes back."""
        session = state.session
        if session is not None and session.node == number:
            session = None
        return _with(state._replace(session=session, disconnects=state.disconnects + 1), number, Node())

    def copy(self, state: State) -> State:
        """Somebody takes a copy of the database, or a standby has come so far."""
        return state._replace(copy=(state.log, state.oldest))

    def put_back(self, state: State) -> State:
        """The copy takes the place of the database."""
        assert state.copy is not None
        log, oldest = state.copy
        return state._replace(log=log, oldest=oldest, foreign=True, put_back=state.put_back + 1)

    # What the nodes do

    def inside(self, state: State) -> Iterator[tuple[str, State]]:
        """What the nodes may do next, each step in one snapshot of the database at most."""
        for number, node in enumerate(state.nodes):
            if node.deliveries:
                yield f"deliver {number}", self._deliver(state, number)
            if node.reading is not None:
                yield f"tell {number}", self._tell(state, number)
            elif node.tail is not None and (node.wanted or node.given or len(node.tail) != len(state.log)):
                yield f"read {number}", self._read(state, number)
        session = state.session
        if session is None:
            return
        if session.at is None:
            yield "snapshot", self._snapshot(state, session)
        elif not session.answered:
            yield "judge", self._judge(state, session)
        elif session.behind is not None:
            yield "slice", self._slice(state, session)
        else:
            if session.at != state.log:
                # A mailbox was full, or a crash: whoever may look may look at any time.
                yield "look", self._look(state, session)
            yield "stamp", self._stamp(state, session)

    def has(self, state: State, past: Past) -> bool:
        """Whether the log has an offset in its past."""
        if not past and "beginning" not in self._rules:
            return True
        if not state.oldest <= len(past) <= len(state.log):
            return False
        return "marks" not in self._rules or state.log[: len(past)] == past

    def _deliver(self, state: State, number: int) -> State:
        """The router tells the users of its oldest commit."""
        node = state.nodes[number]
        delivery, rest = node.deliveries[0], node.deliveries[1:]
        node = node._replace(deliveries=rest)
        if not self.shared:
            state = _with(state, number, node)
            if delivery.doubts and state.session is not None:
                # Everybody looks, which finds the change as well.
                return self._look(state, state.session)
            return self._give(state, number, delivery.past, old=delivery.old)
        past, tail = delivery.past, node.tail
        if tail is None:
            return _with(state, number, node)
        if delivery.doubts or node.reading is not None:
            return _with(state, number, node._replace(wanted=True))
        if len(past) <= len(tail):
            return _with(state, number, node)
        builds_on = past[:-1] == tail if "chain" in self._rules else True
        if len(past) != len(tail) + 1 or not builds_on or not self._given(node) <= {past}:
            return _with(state, number, node._replace(wanted=True))
        state = _with(state, number, node._replace(tail=past, given=frozenset()))
        return self._give(state, number, past, old=delivery.old)

    def _read(self, state: State, number: int) -> State:
        """The follower reads behind what was told, and looks for all that was told in the same snapshot."""
        node = state.nodes[number]
        tail = node.tail
        assert tail is not None
        if state.session is None or state.session.node != number:
            return _with(state, number, node._replace(tail=None, given=frozenset(), wanted=False))
        given = self._given(node)
        since = min(given, default=tail, key=len)
        if len(since) >= len(tail):
            since, sought = tail, given
        else:
            sought = given | {tail}
        lost = not all(self.has(state, past) for past in sought)
        lost = lost or ("position" in self._rules and not self.has(state, since))
        reading = Reading(since, node.given, state.log, lost)
        return _with(state, number, node._replace(wanted=False, reading=reading))

    def _tell(self, state: State, number: int) -> State:
        """The follower tells what it has read."""
        node = state.nodes[number]
        reading = node.reading
        assert reading is not None
        given = (node.given - reading.sought) - {reading.upto}
        state = _with(state, number, node._replace(tail=reading.upto, given=given, reading=None))
        if reading.lost:
            session = state.session
            if session is None or session.node != number or session.at is None:
                return state
            return self._look(state, session)
        for length in range(len(reading.since) + 1, len(reading.upto) + 1):
            state = self._give(state, number, reading.upto[:length], old=reading.old)
        return state

    def _give(self, state: State, number: int, past: Past, *, old: bool) -> State:
        """Tell the session of a change, unless its actor is further already."""
        session = state.session
        if session is None or session.node != number or session.at is None or len(past) <= len(session.at):
            return state
        if old and "numbers" in self._rules:
            return self._look(state, session)
        state = state._replace(session=session._replace(at=past))
        if not session.answered or session.behind is not None:
            return state
        return self._take(state, past)

    def _take(self, state: State, past: Past) -> State:
        """The client takes in a change and its offset."""
        assert state.view is not None
        return state._replace(view=(*state.view, past[-1]), offset=past)

    def _snapshot(self, state: State, session: Session) -> State:
        """The user's actor begins where the log stands."""
        state = self._noted(state, session.node, state.log)
        return state._replace(session=session._replace(at=state.log))

    def _judge(self, state: State, session: Session) -> State:
        """Judge what the client brought; a client whose offset is not good loads everything anew."""
        at, since = session.at, session.since
        assert at is not None
        if since is None:
            return state._replace(session=session._replace(answered=True), view=at, offset=at)
        if len(since) > len(at) and at != state.log:
            return self._look(state, session)
        if not self.has(state, at):
            return self._look(state, session)
        if len(since) > len(at) or not self.has(state, since):
            return state._replace(session=session._replace(answered=True), view=at, offset=at)
        return state._replace(session=session._replace(answered=True, behind=None if since == at else since))

    def _slice(self, state: State, session: Session) -> State:
        """Send a session that is behind the next change of the log."""
        at, behind = session.at, session.behind
        assert at is not None
        assert behind is not None
        if "one snapshot" in self._rules:
            if not self.has(state, at):
                return self._look(state, session)
            if len(behind) > len(at) or not self.has(state, behind):
                return self._close(state)
        elif not len(behind) < len(at) <= len(state.log):
            return self._close(state)
        if behind == at:
            return state._replace(session=session._replace(behind=None))
        # What was purged is not in the slice.
        past = state.log[: max(len(behind), state.oldest) + 1]
        if len(past) > len(at):
            return state._replace(session=session._replace(behind=None), offset=at)
        state = state._replace(session=session._replace(behind=None if len(past) == len(at) else past))
        return self._take(state, past)

    def _look(self, state: State, session: Session) -> State:
        """The user's actor goes to where the log stands; a session that was told what is lost is closed."""
        caught_up = session.answered and session.behind is None
        if caught_up and session.at is not None and not self.has(state, session.at):
            return self._close(state)
        behind = session.behind
        if caught_up and session.at != state.log:
            behind = session.at
        state = self._noted(state, session.node, state.log)
        return state._replace(session=session._replace(at=state.log, behind=behind))

    def _stamp(self, state: State, session: Session) -> State:
        """Send a packet that is in no log."""
        return state._replace(offset=session.at if "stamps" in self._rules else state.log)

    def _close(self, state: State) -> State:
        return state._replace(session=None)

    def _noted(self, state: State, number: int, at: Past) -> State:
        """A read of the log: the tail keeps what was given, and what was under way meanwhile is old."""
        node = state.nodes[number]
        if self.shared and at != node.tail:
            node = node._replace(given=node.given | {at})
        reading = None if node.reading is None else node.reading._replace(old=True)
        deliveries = tuple(delivery._replace(old=True) for delivery in node.deliveries)
        return _with(state, number, node._replace(deliveries=deliveries, reading=reading))

    def _given(self, node: Node) -> frozenset[Past]:
        return node.given if "given" in self._rules else frozenset()


def is_idle(protocol: Protocol, state: State) -> bool:
    """Whether the nodes have nothing to do but what they may do at any time."""
    return all(name in ("stamp", "look") for name, _ in protocol.inside(state))


def wrong(protocol: Protocol, state: State) -> str | None:
    """What is wrong with a state."""
    if state.view != state.offset:
        return "the client's offset names another past than the client has"
    session = state.session
    # A log that was put back and has grown to the same number is noticed at its next change.
    if session is None or session.at is None or len(session.at) == len(state.log):
        return None
    if protocol.shared and is_idle(protocol, state):
        return "nobody will tell the client what it lacks"
    return None


def _with(state: State, number: int, node: Node) -> State:
    nodes = state.nodes
    return state._replace(nodes=(*nodes[:number], node, *nodes[number + 1 :]))
