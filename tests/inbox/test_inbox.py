"""The same through the door that everyone above uses: a store over a database, without threads."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import outcome
import psycopg
import pytest
import trio

from djactors.domain.commands import Change, Command, Counted, MarkRead, Publish, Published, Recorded
from djactors.domain.errors import Refused
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.inbox import log, pages
from djactors.inbox.inbox import Inbox
from djactors.inbox.log import Replay, as_it_is
from djactors.inbox.pages import Snapshot
from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.errors import StoreBusy, StoreClosed, StoreDamaged
from djactors.store.threads import InlineRunner
from tests.inbox.desk import MORNING, answer
from tests.offsets import offset_in

POISON = Publish(JobCreated(tenant_id=1, title="x", requester_id=1, project_id=2**70), decoded=True)


def note(user_id: int = 11) -> Publish:
    event = NotificationRequested(tenant_id=1, user_id=user_id, notification_type="note", priority="LOW", title="Hello")
    return Publish(event)


@asynccontextmanager
async def opened(place: Place, **options: int) -> AsyncIterator[Inbox]:
    async with await Database.open(place, threads=InlineRunner, **options) as database:
        yield Inbox(database, lambda: MORNING)


async def changes(store: Inbox, since: int) -> list[Change]:
    with store._database.engine.reading() as connection:
        start = offset_in(connection, since)
    replay = await store.replay(1, 11, start, limit=10, make=as_it_is)
    assert isinstance(replay, Replay)
    return replay.changes


async def test_a_bad_command_among_many_fails_alone(place: Place):
    async with opened(place) as store:
        recorded = await store.record([note(), POISON, MarkRead(1, 11, 7), note()])
        kinds = [type(each) for each in recorded.outcomes]
        assert kinds[1] in (OverflowError, psycopg.errors.NumericValueOutOfRange)
        assert [kinds[0], *kinds[2:]] == [Published, Refused, Published]
        assert await store.snapshot(1, 11) == Snapshot(2, offset_in(place, 2), unseen=2)
        first = answer(recorded.outcomes[0])["notifications"][0]["id"]
        assert await store.record([MarkRead(1, 11, first)]) == Recorded(
            [Counted(1, 1)], {1: await changes(store, 2)}, {(1, 11): 1}, unseen={(1, 11): 1}, ends={1: 3}
        )


async def test_a_command_that_needs_a_damaged_page_fails_alone(path: Path):
    long = NotificationRequested(
        tenant_id=1, user_id=11, notification_type="note", priority="LOW", title="Hello", message="long " * 500
    )
    async with opened(path) as store:
        await store.record([Publish(long)] * 20)
    content = bytearray(path.read_bytes())
    place = content.index(b"long long") // 4096 * 4096
    content[place : place + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    async with opened(path) as store:
        commands: list[Command] = [note(), note(), MarkRead(1, 11, 1), note(), note()]
        outcomes = []
        while len(outcomes) < len(commands):
            # Those that were left out are asked for again, as the router does.
            outcomes += (await store.record(commands[len(outcomes) :])).outcomes
        assert [type(each) for each in outcomes] == [Published, Published, StoreDamaged, Published, Published]
        ids = [answer(each)["notifications"][0]["id"] for each in outcomes if isinstance(each, Published)]
        assert ids == [21, 22, 23, 24]


async def test_batches_that_meet_in_one_commit_do_not_disturb_each_other(place: Place):
    async with opened(place) as store:
        results: dict[int, Recorded] = {}

        async def record(index: int, commands: list[Command]) -> None:
            results[index] = await store.record(commands)

        async with trio.open_nursery() as nursery:
            for index in range(6):
                nursery.start_soon(record, index, [note(), POISON] if index == 3 else [note()])
        ids = sorted(answer(results[index].outcomes[0])["notifications"][0]["id"] for index in results)
        assert len(set(ids)) == 6
        assert isinstance(place, str) or ids == [1, 2, 3, 4, 5, 6]
        assert isinstance(results[3].outcomes[1], (OverflowError, psycopg.errors.NumericValueOutOfRange))
        seqs = sorted(change.offset.seq for recorded in results.values() for change in recorded.changes[1])
        assert seqs == [1, 2, 3, 4, 5, 6]


async def test_the_storages_own_failure_fails_the_batch_and_records_nothing(place: Place):
    async with opened(place, write_queue=1) as store:
        async with trio.open_nursery() as nursery:
            results: list[outcome.Maybe[Recorded]] = []

            async def record() -> None:
                results.append(await outcome.acapture(store.record, [note(), note()]))

            nursery.start_soon(record)
            nursery.start_soon(record)
        refused = [each.error for each in results if isinstance(each, outcome.Error)]
        assert [type(error) for error in refused] == [StoreBusy]
        assert (await store.snapshot(1, 11)).unread == 2


async def test_a_closed_store_says_so(place: Place):
    async with opened(place) as store:
        pass
    with pytest.raises(StoreClosed):
        await store.record([note()])


async def test_a_page_shows_what_was_recorded(place: Place):
    async with opened(place) as store:
        await store.record([note(), note(12), note()])
        await store.record([MarkRead(1, 11, 1)])
        page = await store.page(1, 11, limit=1)
        assert [(item.id, item.is_read) for item in page.items] == [(3, False)]
        assert (page.next_before, page.unread, page.at) == (3, 1, offset_in(place, 4))
        rest = await store.page(1, 11, limit=1, before=page.next_before)
        assert [(item.id, item.is_read) for item in rest.items] == [(1, True)]
        assert rest.next_before is None
        change = (await changes(store, 0))[0]
        assert json.loads(change.body)["id"] == 1


async def test_closing_a_small_database_does_not_change_how_a_large_one_is_searched(path: Path):
    def plan(connection: sqlite3.Connection) -> list[str]:
        query = f"EXPLAIN QUERY PLAN {log.SELECT_REACH}"
        steps = [row[3] for row in connection.execute(query, (1,))]
        return [step.partition(" ")[0] for step in steps if "SUBQUERY" not in step]

    def add_one(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO tenants (id, name, created_at, updated_at) VALUES (1, 'T', '', '')")
        connection.execute("INSERT INTO users (id, tenant_id, name, created_at, updated_at) VALUES (1, 1, 'U', '', '')")

    async with await Database.open(path) as database:
        await database.write(add_one)
        # On the writer, which is the one that could gather statistics of what it was asked.
        await database.write(lambda connection: pages.snapshot(connection, 1, 1))
    async with await Database.open(path) as database:
        assert await database.read(plan) == ["SEARCH"] * 3
