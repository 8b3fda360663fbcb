"""Two nodes write to one PostgreSQL database: in turn, at once, and one in the middle of the other's commit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

import msgspec
import psycopg
import pytest
import trio
from psycopg.pq.abc import PGresult

from djactors.domain.commands import (
    Command,
    Counted,
    ExpireSlice,
    Introduce,
    MarkAllRead,
    MarkRead,
    Publish,
    Published,
    PurgeSlice,
    RaiseAlerts,
    Recorded,
    SendSummaries,
    SignOut,
    Sliced,
    WakeSnoozed,
)
from djactors.domain.errors import Refused
from djactors.domain.events import JobCompleted, JobCreated, JobRetitled, NotificationRequested, UserUpserted
from djactors.domain.limits import Limits
from djactors.domain.notification_rules import Rules
from djactors.domain.notification_types import NotificationType
from djactors.domain.permissions import Person
from djactors.domain.times import utc_text
from djactors.inbox import names, prefetch, recorder, sharing, unit
from djactors.inbox.inbox import Inbox
from djactors.inbox.recorder import Recorder
from djactors.store.database import Database
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.pipeline import Pipeline
from tests.engines import AnyConnection, begin, commit, empty, open_connection, roll_back
from tests.history.chain import judge_marks
from tests.inbox.anything import Anything
from tests.inbox.desk import MORNING, Desk

DAY = timedelta(days=1)
BATCHES = 120


def note(tenant_id: int = 1, user_id: int = 11, key: str | None = None) -> Publish:
    event = NotificationRequested(
        tenant_id=tenant_id, user_id=user_id, notification_type="note", priority="LOW", title="Hello"
    )
    return Publish(event, key)


class Nodes:
    """Nodes, each with a connection of its own, and one more connection to look with."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        empty(url)
        self.url = url
        self._stack = stack
        self.look = self.connection()

    def connection(self) -> AnyConnection:
        return self._stack.enter_context(open_connection(self.url))

    def node(self, name: str) -> Desk:
        desk = Desk(self.connection(), name)
        desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=10_000), node=name)
        return desk

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return self.look.execute(sql).fetchall()


@pytest.fixture
def nodes(migrated_url: str) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(migrated_url, stack)


@pytest.fixture
def a(nodes: Nodes) -> Desk:
    return nodes.node("a")


@pytest.fixture
def b(nodes: Nodes) -> Desk:
    return nodes.node("b")


def judge(look: AnyConnection) -> None:
    """What must hold of every tenant, whoever wrote."""

    def rows(sql: str) -> list[tuple[object, ...]]:
        return look.execute(sql).fetchall()

    counted = """SELECT u.tenant_id, u.id, u.unread_count, count(n.id) FROM users u LEFT JOIN notifications n
        ON n.tenant_id = u.tenant_id AND n.user_id = u.id AND NOT n.is_read AND n.removed_seq IS NULL
        AND n.place IS NULL GROUP BY u.tenant_id, u.id HAVING u.unread_count <> count(n.id)"""
    assert rows(counted) == [], "a badge differs from the rows"
    gaps = """SELECT t.id FROM tenants t LEFT JOIN changes c ON c.tenant_id = t.id GROUP BY t.id
        HAVING count(c.seq) > 0 AND (max(c.seq) - t.oldest_seq <> count(c.seq))"""
    assert rows(gaps) == [], "a sequence has gaps"
    order = """SELECT n.id FROM notifications n JOIN notifications m ON m.tenant_id = n.tenant_id
        AND m.id < n.id AND m.seq > n.seq"""
    assert rows(order) == [], "within a tenant, ids rise with the sequence"
    assert list(judge_marks(look)) == []


# What is known


def test_what_another_node_wrote_is_read_anew_and_told(nodes: Nodes, a: Desk, b: Desk):
    assert a.record(note()).others_wrote_in == frozenset()
    assert a.record(note()).others_wrote_in == frozenset()
    assert b.record(note(), note(2)).others_wrote_in == {1}
    assert b.record(note(), note(2)).others_wrote_in == frozenset()
    back = a.record(note(), note(2), note(3))
    assert back.others_wrote_in == {1, 2}
    assert back.unread == {(1, 11): 5, (2, 11): 3, (3, 11): 1}
    assert nodes.rows("SELECT id, writer FROM tenants ORDER BY id") == [(1, "a"), (2, "a"), (3, "a")]
    judge(nodes.look)


def test_each_node_notifies_by_its_own_types_and_knows_who_has_a_role_by_now(nodes: Nodes, a: Desk, b: Desk):
    own = NotificationType("own", events=("job.retitled",), recipients=("role:admin",), title="{job}")
    a.recorder = Recorder(lambda: a.now, node="a", rules=Rules([own]))
    b.recorder = Recorder(lambda: b.now, node="b", rules=Rules([msgspec.structs.replace(own, name="other")]))

    def titled(desk: Desk) -> list[tuple[int, str]]:
        answer = desk.publish(JobRetitled(tenant_id=1, job_id=5, title="x"))
        return [(each["userId"], each["type"]) for each in answer["notifications"]]

    for desk, admin in ((a, 7), (b, 8)):
        desk.publish(UserUpserted(tenant_id=1, user_id=admin, name="x", role="admin"))
        assert titled(a) == [(user_id, "own") for user_id in (7, 8) if user_id <= admin]
        assert titled(b) == [(user_id, "other") for user_id in (7, 8) if user_id <= admin]
    b.publish(UserUpserted(tenant_id=1, user_id=7, name="x", role="user"))
    assert titled(a) == [(8, "own")]
    judge(nodes.look)


def test_who_writes_nothing_does_not_claim_the_tenant(nodes: Nodes, a: Desk, b: Desk):
    a.record(note())
    assert isinstance(b.record(MarkRead(1, 11, 10**6)).outcomes[0], Refused)
    assert nodes.rows("SELECT writer FROM tenants") == [("a",)]
    assert a.record(note()).others_wrote_in == frozenset()
    assert b.record_each(MarkRead(1, 11, 10**6), note()).others_wrote_in == {1}
    assert nodes.rows("SELECT writer FROM tenants") == [("b",)]


def test_what_was_undone_is_claimed_by_nobody(nodes: Nodes, a: Desk, b: Desk):
    a.record(note())
    poison = Publish(JobCreated(tenant_id=1, title="x", requester_id=1, project_id=2**70), decoded=True)
    b.record(poison, note(), poison)
    assert b.fell_back == 1
    assert nodes.rows("SELECT writer FROM tenants") == [("b",)]
    assert a.record(note()).unread == {(1, 11): 3}
    begin(b.connection)
    b.recorder.record(b.connection, [note()])
    b.recorder.forget()
    roll_back(b.connection)
    assert a.record(note()).others_wrote_in == frozenset()
    judge(nodes.look)


def test_a_database_that_lost_commits_is_noticed_without_a_reconnection(nodes: Nodes, a: Desk):
    """A pooler keeps the connections of its clients over a failover."""
    a.record(note(), note())
    a.record(note())
    # As an asynchronous standby has it that was a commit behind.
    for sql in (
        "DELETE FROM notifications WHERE seq = 3",
        "DELETE FROM domain_events WHERE seq = 3",
        "DELETE FROM changes WHERE seq = 3",
        "UPDATE users SET unread_count = 2, unseen_count = 2",
    ):
        nodes.look.execute(sql)
        nodes.look.settle()
    recorded = a.record(note())
    assert recorded.others_wrote_in == {1}
    assert recorded.changes[1][0].offset.seq == 3
    judge(nodes.look)


def test_a_tenant_that_is_lost_is_made_again(nodes: Nodes, a: Desk):
    a.record(note())
    nodes.look.execute("DELETE FROM tenants")
    nodes.look.settle()
    recorded = a.record(note())
    assert recorded.others_wrote_in == {1}
    assert recorded.unread == {(1, 11): 1}
    judge(nodes.look)


def test_a_key_is_one_key_on_all_nodes(a: Desk, b: Desk):
    first = a.publish(note().event, "once")
    assert b.publish(note().event, "once") == first


# In turn, and at the same moment


@pytest.mark.parametrize("seed", range(2))
def test_two_nodes_in_turn(nodes: Nodes, a: Desk, b: Desk, seed: int):
    dice = random.Random(seed)
    anything = Anything(dice, lambda: [id_ for (id_,) in a.rows("SELECT id FROM notifications ORDER BY id")])
    for _ in range(BATCHES):
        node = dice.choice((a, b))
        outcomes = node.record(*anything.batch(a.now)).outcomes
        assert all(isinstance(outcome, Refused) or not isinstance(outcome, Exception) for outcome in outcomes)
        a.now = b.now = a.now + timedelta(hours=dice.choice((0, 0, 1, 20)))
    judge(nodes.look)


async def test_two_nodes_at_the_same_moment(nodes: Nodes):
    """Each with a writer's thread of its own, in tenants that both make and both write to."""
    failed: list[object] = []

    async def work(store: Inbox, seed: int) -> None:
        dice = random.Random(seed)
        for number in range(BATCHES):
            tenants = dice.sample(range(1, 6), dice.randrange(1, 4))
            batch: list[Command] = [note(tenant, dice.randrange(11, 15), f"{seed}-{number}") for tenant in tenants]
            batch.append(MarkAllRead(tenants[0], 11))
            batch.append(Publish(UserUpserted(tenant_id=tenants[0], user_id=12, name=f"N {number}", role="user")))
            dice.shuffle(batch)
            recorded = await store.record(batch)
            failed.extend(outcome for outcome in recorded.outcomes if isinstance(outcome, Exception))

    limits = Limits(daily_limit=10_000)
    async with (
        await Database.open(nodes.url) as one,
        await Database.open(nodes.url) as other,
        trio.open_nursery() as nursery,
    ):
        for seed, (name, database) in enumerate({"a": one, "b": other}.items()):
            nursery.start_soon(work, Inbox(database, lambda: MORNING, limits, node=name), seed)
    assert failed == []
    assert len(nodes.rows("SELECT DISTINCT writer FROM tenants")) >= 1
    judge(nodes.look)


async def test_two_nodes_make_the_same_tenant(nodes: Nodes, a: Desk):
    """The second waits for the first one's commit, which may not happen."""
    for tenant_id, ends in ((1, commit), (2, roll_back)):
        begin(a.connection)
        a.recorder.record(a.connection, [note(tenant_id)])
        results: list[Recorded] = []

        async def record(store: Inbox, tenant_id: int = tenant_id, results: list[Recorded] = results) -> None:
            results.append(await store.record([note(tenant_id)]))

        async with await Database.open(nodes.url) as database, trio.open_nursery() as nursery:
            nursery.start_soon(record, Inbox(database, lambda: MORNING, node="b"))
            await waits(nodes)
            ends(a.connection)
            a.recorder.forget()
        assert results[0].others_wrote_in == (frozenset({1}) if ends is commit else frozenset())
        assert results[0].changes[tenant_id][0].offset.seq == (2 if ends is commit else 1)
    judge(nodes.look)


async def waits(nodes: Nodes) -> None:
    """Until some connection waits for a lock."""
    with trio.fail_after(5):
        while not nodes.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await trio.lowlevel.checkpoint()


# Once, whichever nodes live


def test_what_is_for_all_tenants_is_done_by_one_node_at_a_time(nodes: Nodes, a: Desk, b: Desk):
    deadline = MORNING + timedelta(hours=2)
    a.publish(JobCreated(tenant_id=1, title="x", requester_id=10, assignee_id=11, deadline=deadline))
    a.now = b.now = deadline
    begin(a.connection)
    first = a.recorder.record(a.connection, [RaiseAlerts(10)])
    [second] = b.record(RaiseAlerts(10)).outcomes
    assert second == Sliced(0, more=False, next_due=utc_text(deadline + recorder.TURN_SECONDS))
    assert b.do(PurgeSlice("changes", 7 * DAY, 10, after=3)) == Sliced(0, more=False, after=3)
    commit(a.connection)
    assert isinstance(first.outcomes[0], Sliced)
    assert first.outcomes[0].rows == 1
    assert b.do(RaiseAlerts(10)) == Sliced(0, more=False)
    assert len(nodes.rows("SELECT id FROM domain_events WHERE type LIKE 'sla%'")) == 1


def test_a_turn_ends_with_its_transaction(a: Desk, b: Desk):
    begin(a.connection)
    a.recorder.record(a.connection, [ExpireSlice(10), PurgeSlice("changes", DAY, 5, after=4)])
    assert b.do(PurgeSlice("changes", DAY, 5, after=4)) == Sliced(
        0, more=False, next_due=utc_text(MORNING + recorder.TURN_SECONDS), after=4
    )
    roll_back(a.connection)
    assert b.do(ExpireSlice(10)) == Sliced(0, more=False)


# Ids that do not rise with time


def test_expiry_steps_over_nobody_whose_commit_came_late(nodes: Nodes, a: Desk, b: Desk):
    begin(a.connection)
    a.recorder.record(a.connection, [note(1)])  # takes the lower id
    b.record(note(2))
    b.now += 31 * DAY
    assert b.do(ExpireSlice(10)) == Sliced(1, more=False)
    commit(a.connection)
    low, high = nodes.rows("SELECT tenant_id FROM notifications ORDER BY id")
    assert (low, high) == ((1,), (2,))
    assert b.do(ExpireSlice(10)) == Sliced(1, more=False)
    assert nodes.rows("SELECT id FROM notifications WHERE removed_seq IS NULL") == []
    judge(nodes.look)


def test_expiry_waits_for_nobody_whose_clock_is_ahead(nodes: Nodes, a: Desk, b: Desk):
    a.now += 365 * DAY
    a.record(note(1))
    b.record(note(2))
    b.now += 30 * DAY
    assert b.do(ExpireSlice(10)) == Sliced(1, more=False, next_due=utc_text(MORNING + 395 * DAY))
    assert nodes.rows("SELECT tenant_id FROM notifications WHERE removed_seq IS NULL") == [(1,)]


@pytest.mark.parametrize("table", ["domain_events", "suppressions"])
def test_purging_steps_over_nobody_and_takes_nobody_who_is_younger(nodes: Nodes, a: Desk, b: Desk, table: str):
    """The lower ids are the younger rows, and one of them comes into sight last."""
    wanted = PurgeSlice(table, 30 * DAY, 10)
    for desk in (a, b):
        desk.recorder = Recorder(partial(getattr, desk, "now"), Limits(daily_limit=1), node="a" if desk is a else "b")
    a.record(note(1), note(1))
    begin(a.connection)
    a.recorder.record(a.connection, [note(1)])
    b.now -= 40 * DAY
    b.record(note(2), note(2))
    b.now += 40 * DAY
    assert b.do(wanted) == Sliced(2 if table == "domain_events" else 1, more=False)
    commit(a.connection)
    assert nodes.rows(f"SELECT DISTINCT tenant_id FROM {table}") == [(1,)]
    assert b.do(wanted) == Sliced(0, more=False)
    b.now += 31 * DAY
    assert b.do(wanted) == Sliced(3 if table == "domain_events" else 2, more=False)
    assert nodes.rows(f"SELECT id FROM {table}") == []


# Names of a database from before


def test_names_are_folded_beside_another_node_that_renames(nodes: Nodes, a: Desk, b: Desk):
    a.publish(UserUpserted(tenant_id=1, user_id=11, name="Ann", role="user"))
    begin(b.connection)
    assert names.fold_slice(b.connection, (0, 0)) == (1, 11)
    commit(b.connection)
    a.publish(UserUpserted(tenant_id=1, user_id=11, name="Zoë", role="user"))
    assert nodes.rows("SELECT text FROM people_names WHERE until IS NULL AND part = 0") == [("zoe",)]


# Told, and how often the database is asked


def test_a_commit_tells_the_other_nodes_where_the_logs_end(nodes: Nodes, a: Desk):
    with psycopg.connect(**Conninfo.of(nodes.url).parameters, autocommit=True) as listener:
        listener.execute("LISTEN djactors")

        def hear() -> list[str]:
            return [notify.payload for notify in listener.notifies(timeout=5, stop_after=1)]

        a.record(note(1), note(2), note(2))
        assert hear() == ["a 1:1 2:2"]
        # Nobody is told of what changed nothing, or was undone.
        a.record(MarkRead(1, 11, 10**6))
        a.record(Introduce(1, Person(12, "user", "Ann")))
        begin(a.connection)
        a.recorder.record(a.connection, [note(1)])
        roll_back(a.connection)
        a.recorder.forget()
        # Of a sign-out there is no change in the log, but the other nodes must know.
        a.record(SignOut(1, 11))
        assert hear() == ["a 1:1"]


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements each round trip to the server has."""
    taken: list[int] = []
    finish = Pipeline.finish

    def counted(self: Pipeline) -> list[PGresult]:
        results = finish(self)
        taken.append(len(results))
        return results

    monkeypatch.setattr(Pipeline, "finish", counted)
    return taken


def test_64_events_with_keys_take_four_round_trips(a: Desk, trips: list[int]):
    a.record(note(1, 1), note(2, 1))
    batch = [note(1 + number % 2, 100 + number, f"k{number}") for number in range(64)]
    for _ in range(2):  # the second time all keys were used
        trips.clear()
        assert all(isinstance(outcome, Published) for outcome in a.record(*batch).outcomes)
        # Tenants and ids, keys, users, commit.
        assert len(trips) <= 4, trips
    # The users are known now, and new keys are new events.
    trips.clear()
    a.record(*[note(1 + number % 2, 100 + number, f"l{number}") for number in range(64)])
    assert len(trips) == 3, trips


def test_a_unit_in_which_everything_is_foreseen_takes_few_round_trips(a: Desk, b: Desk, trips: list[int]):
    for number in range(1, 21):
        a.publish(JobCreated(tenant_id=1, title="x", requester_id=number, assignee_id=30 + number, watcher_ids=(99,)))
    ids = [id_ for (id_,) in a.rows("SELECT id FROM notifications ORDER BY id")]
    events: list[Command] = [
        Publish(JobCompleted(tenant_id=1, job_id=number, actor_id=60 + number), f"c{number}") for number in range(1, 21)
    ]
    reads: list[Command] = [MarkRead(1, 30 + number, id_) for number, id_ in enumerate(ids, 1)]
    # Of each table a connection asks once for the types of its columns.
    b.record(*[note(2), note(2, 12, "x"), note(2, 13, "y"), note(2, 14)], MarkAllRead(2, 11))
    for batch in (events, reads, [*events, *reads, note(77, 1, "new")]):
        trips.clear()
        recorded = b.record(*batch)
        assert not any(isinstance(outcome, Exception) for outcome in recorded.outcomes)
        assert len(trips) <= prefetch.ROUND_TRIPS + 1, trips


def test_a_batch_that_is_sent_in_parts_is_carried_out_as_a_whole(a: Desk, nodes: Nodes, trips: list[int]):
    a.record(*[note(1, user_id) for user_id in range(11, 16)])
    seen = nodes.rows("SELECT max(id) FROM notifications")[0][0]
    several = [note(1, 11 + number % 5) for number in range(2 * unit.EVENTS_AHEAD)]
    trips.clear()
    a.record(*several)
    assert len(trips) == 2, trips  # tenants and ids, commit
    # Somebody new, somebody who reads what was sent already, and a refusal.
    batch = [
        *several,
        note(1, 99),
        *several,
        MarkAllRead(1, 11),
        MarkRead(1, 12, 10**6),
        MarkRead(1, 12, seen),
        *several,
    ]
    outcomes = a.record(*batch).outcomes
    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Published)] == [Counted, Refused, Refused]
    assert nodes.rows("SELECT count(*) FROM domain_events") == [(5 + 4 * len(several) + 1,)]
    assert (a.fell_back, nodes.rows("SELECT unread_count FROM users WHERE id = 99")) == (0, [(1,)])
    judge(nodes.look)


@pytest.mark.parametrize("place", [0, unit.EVENTS_AHEAD, -1])
def test_a_command_that_the_database_refuses_fails_alone_however_much_was_sent(a: Desk, nodes: Nodes, place: int):
    a.record(note(1, 11), note(1, 12))
    too_long = Publish(msgspec.structs.replace(note(1, 11).event, title="x" * 300), decoded=True)
    batch = [note(1, 11 + number % 2) for number in range(3 * unit.EVENTS_AHEAD)]
    batch[place] = too_long
    outcomes = a.record(*batch).outcomes
    assert [isinstance(outcome, Published) for outcome in outcomes] == [command is not too_long for command in batch]
    assert a.fell_back == 1
    judge(nodes.look)


def test_20_new_jobs_take_few_round_trips(a: Desk, trips: list[int]):
    a.record(note(1), note(1, 12), note(1, 13))
    new: list[Command] = [
        Publish(JobCreated(tenant_id=1, title="x", requester_id=10, assignee_id=11, watcher_ids=(12, 13)))
        for _ in range(20)
    ]
    a.record(*new)  # of each table a connection asks once for the types of its columns
    trips.clear()
    a.record(*new)
    # Tenant, number, ids, commit. All users are known.
    assert len(trips) <= 4, trips


def test_an_idle_clock_costs_little(a: Desk, trips: list[int]):
    trips.clear()
    a.record(RaiseAlerts(100), SendSummaries(100), WakeSnoozed(100), ExpireSlice(100))
    # Each asks for its turn, what is due, the same once more, and when something will be.
    assert len(trips) <= 4 * 4 + 1, trips


def test_a_notification_names_the_ends_of_the_logs_or_everybody():
    assert sharing.payload("a", {1: 5, 2: 7}) == "a 1:5 2:7"
    many = dict.fromkeys(range(10**6, 10**6 + 600), 10**9)
    assert sharing.payload("a", many) == "a *"
    assert len(sharing.payload("a", dict(list(many.items())[:400]))) <= sharing.MAX_PAYLOAD
