"""A thread wakes the one task that waits for it by a bell. Nothing may be lost where the task leaves meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from djactors.store.bells import BELLS, Bells
from djactors.store.connection import Connection
from djactors.store.threads import Call, DedicatedThreads, Report


class Servant:
    """Does what it is told, without a database."""

    batch_limit = 1

    def open(self) -> None:
        """Nothing to open."""

    def run(self, calls: Sequence[Call[Any]]) -> Report:
        """Run the one call."""
        [call] = calls
        try:
            call.value = call.work(None)  # type: ignore[arg-type]
        except ValueError as error:
            call.error = error
        return Report(1)

    def after(self) -> None:
        """Nothing is left to do."""

    def idle(self) -> None:
        """Nothing to tidy."""

    def close(self) -> None:
        """Nothing to close."""


class Counted(Bells[Report]):
    """Says when it has rung, and for whom it could not."""

    def __init__(self, most: int = BELLS) -> None:
        super().__init__(most)
        self.asked = threading.Semaphore(0)
        self.rung: list[bool] = []

    def ring(self, call: Any, report: Report) -> bool:
        """Ring as the real one does."""
        self.rung.append(super().ring(call, report))
        self.asked.release()
        return self.rung[-1]


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[Counted]:
    made: list[Counted] = []

    def make(most: int) -> Counted:
        made.append(Counted(most))
        return made[-1]

    # The class itself is subscripted where it is named as a type only.
    monkeypatch.setattr("djactors.store.threads.Bells", make)
    return made


@asynccontextmanager
async def serving(under_way: int = 2) -> AsyncIterator[tuple[DedicatedThreads, list[Report]]]:
    """An executor with one servant, and the reports of its batches. When it ends, each call was accounted for once."""
    reports: list[Report] = []
    threads = DedicatedThreads("test", [Servant()], queue_limit=1000, under_way=under_way, on_report=reports.append)
    await threads.open()
    try:
        yield threads, reports
        assert await threads.call(named("last")) == "last"
        # That calls were dropped is noted by a hop, which a bell overtakes.
        with trio.fail_after(10):
            while threads._room < under_way:
                await trio.lowlevel.checkpoint()
        assert threads._room == under_way
        assert threads.queued == 0
    finally:
        await threads.close(10)


def named(name: str) -> Callable[[Connection], str]:
    return lambda _: name


async def test_who_waits_has_the_value_or_the_error(bells: list[Counted]) -> None:
    def wrong(_: Connection) -> None:
        raise ValueError("wrong")

    async with serving() as (threads, reports):
        assert await threads.call(named("a")) == "a"
        with pytest.raises(ValueError, match="wrong"):
            await threads.call(wrong)
        assert len(reports) == 2
    assert all(bells[0].rung)


async def test_who_leaves_before_the_bell_rings_is_not_rung_for(bells: list[Counted]) -> None:
    started, release = threading.Event(), threading.Event()

    def slow(_: Connection) -> None:
        started.set()
        release.wait()

    async with serving() as (threads, reports):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(threads.call, slow)
            await trio.to_thread.run_sync(started.wait)
            nursery.cancel_scope.cancel()
        # The bell is another call's by now.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(threads.call, named("next"))
            release.set()
    assert bells[0].rung == [False, True, True]
    assert len(reports) == 3


async def test_who_leaves_while_the_bell_rings_notes_what_was_done(bells: list[Counted]) -> None:
    release = threading.Event()

    def waiting(_: Connection) -> None:
        release.wait()

    async with serving() as (threads, reports):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(threads.call, waiting)
            await trio.testing.wait_all_tasks_blocked()
            release.set()
            # No other task has a turn meanwhile, so the caller has not heard it yet.
            assert bells[0].asked.acquire(timeout=10)
            nursery.cancel_scope.cancel()
        assert bells[0].rung == [True]
        assert len(reports) == 1


async def test_whoever_finds_no_bell_is_woken_without_one(bells: list[Counted]) -> None:
    calls = BELLS + 3
    async with serving(under_way=calls) as (threads, reports):
        async with trio.open_nursery() as nursery:
            for _ in range(calls):
                nursery.start_soon(threads.call, named("x"))
        assert len(reports) == calls
    assert bells[0].rung.count(True) == BELLS + 1


async def test_a_bell_that_is_in_use_is_closed_when_it_was_heard() -> None:
    release = threading.Event()
    got: list[str] = []

    def slow(_: Connection) -> str:
        release.wait()
        return "late"

    async def ask(threads: DedicatedThreads) -> None:
        got.append(await threads.call(slow))

    threads = DedicatedThreads("test", [Servant()], queue_limit=9, under_way=2, on_report=lambda _: None)
    await threads.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, threads)
        await trio.testing.wait_all_tasks_blocked()
        release.set()
        await threads.close(10)
    assert got == ["late"]


@pytest.mark.parametrize("seed", range(5))
async def test_many_come_and_go(seed: int) -> None:
    rng = random.Random(seed)
    done: list[int] = []

    async def ask(threads: DedicatedThreads, number: int) -> None:
        with trio.CancelScope() as scope:
            if rng.random() < 0.5:
                nursery.start_soon(leave, scope, rng.randrange(4))
            assert await threads.call(lambda _: number) == number
            done.append(number)

    async def leave(scope: trio.CancelScope, turns: int) -> None:
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async with serving(under_way=3) as (threads, reports), trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(ask, threads, number)
            if rng.random() < 0.3:
                await trio.lowlevel.checkpoint()
    assert len(done) >= 100
    assert len(reports) >= len(done)
