"""That notifications come is proved, and where they do not the database is polled."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from djactors.actors.listening import CALL_SECONDS, POLL_SECONDS, PROOF_SECONDS, Listening
from djactors.inbox.nodes import Announcement
from djactors.store.engine import Hearer
from djactors.store.errors import StoreUnavailable
from djactors.telemetry import Telemetry, make_logger

ME = "me"


class FakeDatabase:
    """The listener, and the caller: what is called comes back while it is `whole`."""

    def __init__(self) -> None:
        self.whole = True
        self.away = False
        self.calls = 0
        self.reconnections = 0
        self.hearer: Hearer

    def listener(self, hearer: Hearer) -> FakeDatabase:
        self.hearer = hearer
        return self

    async def run(self) -> None:
        self.hearer.connected()
        await trio.sleep_forever()

    def reconnect(self) -> None:
        self.reconnections += 1
        self.hearer.connected()

    async def call(self, node: str, nonce: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.away:
            raise StoreUnavailable("away")
        self.calls += 1
        if self.whole:
            self.hearer.heard(["other ?1", f"{node} ?{nonce}"])


class FakeFollower:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.polls = 0
        self.wanted_all = 0
        self.announcements: list[Announcement] = []

    def heard(self, announcement: Announcement) -> None:
        self.announcements.append(announcement)

    def want_all(self) -> None:
        self.wanted_all += 1

    async def poll(self) -> None:
        await trio.lowlevel.checkpoint()
        self.polls += 1


class Room:
    def __init__(self) -> None:
        self.database = FakeDatabase()
        self.follower = FakeFollower()
        self._log = io.StringIO()
        self.telemetry = Telemetry(make_logger("json", "info", self._log))

    @property
    def said(self) -> list[str]:
        return [msgspec.json.decode(line)["event"] for line in self._log.getvalue().splitlines()]

    @property
    def is_listening(self) -> bool:
        return self.telemetry.metrics.registry.get_sample_value("djactors_listening") == 1

    async def polls_in(self, seconds: float) -> int:
        before = self.follower.polls
        await trio.sleep(seconds)
        return self.follower.polls - before

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        listening = Listening(ME, self.database.listener, self.database, self.follower, self.telemetry)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            await nursery.start(listening.run)
            await trio.sleep(1)
            yield
            nursery.cancel_scope.cancel()


async def test_where_the_call_is_heard_nothing_is_polled(autojump_clock):
    room = Room()
    async with room.running():
        assert room.is_listening
        assert await room.polls_in(10) == 0
        assert room.said == ["listening for other nodes"]


async def test_it_is_proved_once_a_minute_and_everything_is_looked_at(autojump_clock):
    room = Room()
    async with room.running():
        calls, wanted = room.database.calls, room.follower.wanted_all
        await trio.sleep(10 * PROOF_SECONDS)
        assert room.database.calls - calls == 10
        assert room.follower.wanted_all - wanted == 10


async def test_where_the_call_is_not_heard_the_database_is_polled(autojump_clock):
    room = Room()
    room.database.whole = False
    async with room.running():
        await trio.sleep(CALL_SECONDS)
        assert not room.is_listening
        assert await room.polls_in(10) in range(45, 52)
        assert room.said == ["polling for other nodes"]
        await trio.sleep(10 * PROOF_SECONDS)
        assert room.said == ["polling for other nodes"]
        assert room.database.reconnections <= 12


async def test_when_notifications_come_again_polling_ends(autojump_clock):
    room = Room()
    room.database.whole = False
    async with room.running():
        await trio.sleep(CALL_SECONDS)
        room.database.whole = True
        await trio.sleep(2 * PROOF_SECONDS)
        assert room.is_listening
        assert await room.polls_in(10) == 0
        assert room.said == ["polling for other nodes", "listening for other nodes"]


async def test_a_connection_that_dies_without_a_word_is_noticed_within_a_minute(autojump_clock):
    room = Room()
    async with room.running():
        room.database.whole = False
        await trio.sleep(PROOF_SECONDS + CALL_SECONDS)
        assert not room.is_listening
        assert await room.polls_in(1) > 0


async def test_a_lost_connection_is_polled_for_at_once_until_there_is_another(autojump_clock):
    room = Room()
    async with room.running():
        room.database.hearer.lost("the server was stopped")
        assert await room.polls_in(2 * POLL_SECONDS) > 0
        room.database.hearer.connected()
        await trio.sleep(1)
        assert room.is_listening
        assert await room.polls_in(10) == 0


async def test_while_the_store_is_away_it_polls_and_fails_nothing(autojump_clock):
    room = Room()
    room.database.away = True
    async with room.running():
        assert not room.is_listening
        room.database.away = False
        await trio.sleep(2 * PROOF_SECONDS)
        assert room.is_listening


async def test_what_others_announce_goes_to_the_follower_and_calls_do_not(autojump_clock):
    room = Room()
    async with room.running():
        room.database.hearer.heard(["other 1:5 2:7", "other *", "other ?9", "rubbish"])
        assert room.follower.announcements == [
            Announcement("other", {1: 5, 2: 7}),
            Announcement("other", None),
            Announcement("rubbish", None),
        ]
