"""Any history with copies put back, against a reference that compares whole pasts.

The reference keeps, beside each database and each client, the list of all changes that lead there. A client can go on
where its list is the beginning of the database's, and history reaches back to its end; no hash has a part in that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from djactors.domain.commands import Change, Command, Delete, MarkAllRead, Publish, PurgeSlice
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.domain.marks import BEGINNING, Offset
from djactors.inbox import log, pages
from djactors.inbox.log import Astray, Replay
from djactors.store.sqlite.connection import SqliteConnection
from tests.history.chain import judge_marks
from tests.inbox.desk import Desk

USERS = (11, 12)
EVERYTHING = 10_000

What = tuple[str, int | None, bytes]
"""A change as a client sees it: the event, whose it is, and its payload."""


def seen(change: Change) -> What:
    return change.name, change.user_id, change.body


@dataclass
class Place:
    """A database: what is in it, all that led there, and how much of that was purged."""

    image: sqlite3.Connection
    past: list[What] = field(default_factory=list)
    purged: int = 0

    def copy(self) -> Place:
        connection = sqlite3.connect(":memory:", isolation_level=None, factory=SqliteConnection)
        self.image.backup(connection)
        return replace(self, image=connection, past=list(self.past))


@dataclass
class Client:
    """A client: the offset that it has, and all that led there."""

    user_id: int
    offset: Offset
    past: list[What]


class World:
    """One database at a time, copies of it, and clients that saw it at some moment."""

    def __init__(self, image: sqlite3.Connection) -> None:
        self.now = Place(image).copy()
        self.copies = [self.now.copy()]
        self.clients = [Client(user_id, BEGINNING, []) for user_id in USERS]

    def close(self) -> None:
        for place in (self.now, *self.copies):
            place.image.close()

    def record(self, *commands: Command) -> None:
        recorded = Desk(self.now.image).record(*commands)
        self.now.past += [seen(change) for change in recorded.changes.get(1, [])]

    def purge(self, count: int) -> None:
        Desk(self.now.image).record(PurgeSlice("changes", timedelta(0), count))
        self.now.purged = min(self.now.purged + count, len(self.now.past))

    def copy(self) -> None:
        self.copies.append(self.now.copy())

    def put_back(self, place: Place) -> None:
        self.now.image.close()
        self.now = place.copy()

    def meet(self, user_id: int) -> None:
        """Somebody loads a list, and knows from then on what has led there."""
        page = pages.page(self.now.image, 1, user_id, limit=1)
        assert page.at.seq == len(self.now.past)
        self.clients.append(Client(user_id, page.at, list(self.now.past)))

    def come_back(self, client: Client, limit: int) -> None:
        """A client asks for what it missed, and knows from then on what it was given."""
        past, length = self.now.past, len(client.past)
        right = past[:length] == client.past and length >= self.now.purged
        found = log.replay(self.now.image, 1, client.user_id, client.offset, limit=limit)
        event(f"{'goes on' if right else 'is reset'}, {'at the end' if length == len(past) else 'elsewhere'}")
        assert pages.snapshot(self.now.image, 1, client.user_id, client.offset).follows is right
        if not right:
            assert found is Astray.SINCE
            return
        assert isinstance(found, Replay)
        end = found.position.seq
        assert [seen(change) for change in found.changes] == [
            what for what in past[length:end] if what[1] in (None, client.user_id)
        ]
        client.offset, client.past = found.position, past[:end]


TITLES = st.sampled_from("ab")
"""Few, so that what is lost is often done again, to the same bytes."""

_commands = st.one_of(
    st.builds(
        lambda user_id, title: Publish(
            NotificationRequested(
                tenant_id=1, user_id=user_id, notification_type="note", priority="LOW", title=title, message="x"
            )
        ),
        st.sampled_from(USERS),
        TITLES,
    ),
    st.builds(lambda title: Publish(JobCreated(tenant_id=1, title=title, requester_id=13)), TITLES),
    st.builds(lambda user_id: MarkAllRead(1, user_id), st.sampled_from(USERS)),
    st.builds(lambda user_id, id_: Delete(1, user_id, id_), st.sampled_from(USERS), st.integers(1, 6)),
)


@pytest.fixture(scope="module")
def image(migrated: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(migrated)) as connection:
        yield connection


@pytest.mark.sqlite_only("copies of the file are put back")
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_a_client_goes_on_exactly_where_its_past_is_the_beginning_of_the_databases(
    image: sqlite3.Connection, data: st.DataObject
):
    world = World(image)
    with closing(world):
        for _ in range(data.draw(st.integers(1, 25), label="steps")):
            match data.draw(st.sampled_from(["record"] * 4 + ["copy", "put back", "purge"] + ["meet", "back"] * 2)):
                case "record":
                    world.record(*data.draw(st.lists(_commands, min_size=1, max_size=3), label="commands"))
                case "copy":
                    world.copy()
                case "put back":
                    world.put_back(data.draw(st.sampled_from(world.copies)))
                case "purge":
                    world.purge(data.draw(st.integers(1, 4), label="purged"))
                case "meet":
                    world.meet(data.draw(st.sampled_from(USERS)))
                case _:
                    client = data.draw(st.sampled_from(world.clients))
                    world.come_back(client, data.draw(st.sampled_from([1, 2, EVERYTHING]), label="limit"))
        for client in world.clients:
            world.come_back(client, EVERYTHING)
        assert list(judge_marks(world.now.image)) == []
