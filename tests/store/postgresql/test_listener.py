"""The listener hears what is notified, and connects anew when it does not."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest
import trio

from djactors.store.postgresql import listener as module
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.listener import Listener

CHANNEL = "a channel"
PATIENCE = 20.0


class FakeHearer:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._news = trio.Event()

    def connected(self) -> None:
        self._note("connected")

    def lost(self, reason: str) -> None:
        self._note(f"lost: {reason}")

    def heard(self, payloads: list[str]) -> None:
        for payload in payloads:
            self._note(payload)

    def overflown(self) -> None:
        self._note("overflown")

    async def until(self, condition: Callable[[list[str]], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition(self.told):
                await self._news.wait()

    def _note(self, what: str) -> None:
        self.told.append(what)
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[tuple[Listener, FakeHearer]]:
    hearer = FakeHearer()
    listener = Listener(Conninfo.of(url), CHANNEL, hearer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.run)
        await hearer.until(lambda told: "connected" in told)
        yield listener, hearer
        nursery.cancel_scope.cancel()


def notify(url: str, *payloads: str) -> None:
    """Notify all of these in one transaction."""
    with psycopg.connect(**Conninfo.of(url).parameters) as connection:
        for payload in payloads:
            connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


def terminate(url: str) -> None:
    with psycopg.connect(**Conninfo.of(url).parameters, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN \"a channel\"%'"
        )


async def test_what_is_notified_is_heard_in_order(url: str):
    async with listening(url) as (_, hearer):
        notify(url, "one", "two", "Grüße")
        await hearer.until(lambda told: told[1:] == ["one", "two", "Grüße"])


async def test_it_is_never_inside_a_transaction(url: str):
    async with listening(url):
        with psycopg.connect(**Conninfo.of(url).parameters, autocommit=True) as connection:
            [state] = connection.execute(
                "SELECT state FROM pg_stat_activity WHERE query LIKE 'LISTEN \"a channel\"%'"
            ).fetchall()
        assert state == ("idle",)


async def test_a_lost_connection_is_made_again(url: str):
    async with listening(url) as (_, hearer):
        terminate(url)
        await hearer.until(lambda told: told.count("connected") == 2)
        assert hearer.told[1].startswith("lost: ")
        notify(url, "again")
        await hearer.until(lambda told: told[-1] == "again")


async def test_it_connects_anew_when_it_is_told_to(url: str):
    async with listening(url) as (listener, hearer):
        listener.reconnect()
        await hearer.until(lambda told: told == ["connected", "connected"])
        notify(url, "again")
        await hearer.until(lambda told: told[-1] == "again")


async def test_what_is_too_much_while_the_loop_stands_still_is_dropped_and_this_is_told(
    url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MAX_PAYLOADS", 3)
    async with listening(url) as (_, hearer):
        # This blocks the loop, and the server sends what one transaction notified at once.
        notify(url, *map(str, range(10)))
        await hearer.until(lambda told: "overflown" in told)
        # Where the rest of the ten came later, it may overflow once more, and "last" is dropped with it.
        while hearer.told[-1] != "last":
            before = len(hearer.told)
            notify(url, "last")
            await hearer.until(lambda told, before=before: len(told) > before)


async def test_a_server_that_is_not_there_is_tried_again(url: str):
    hearer = FakeHearer()
    nowhere = Listener(Conninfo.of("postgresql://nobody@%2Fnowhere/x"), CHANNEL, hearer)
    with trio.move_on_after(PATIENCE) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nowhere.run)
            await hearer.until(lambda told: len(told) == 2)
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    assert all(each.startswith("lost: ") for each in hearer.told)
