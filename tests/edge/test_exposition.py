"""A13: `GET /metrics` with ten thousand actors looks at a slice of them in each turn of the loop."""

from __future__ import annotations

from typing import Any

import trio

from djactors.actors.census import SLICE
from djactors.edge.exposition import FRESH, Exposition
from djactors.kernel import MailboxStatistics, Supervisor
from djactors.loop_lag import LoopLag
from djactors.net import UnprovenBytes
from djactors.telemetry import Telemetry

ACTORS = 10_000
MAX_LOOKED_AT_IN_A_TURN = 100


class Crowd(trio.abc.Instrument):
    """Ten thousand user actors with a message each. Stands in for `Users`, for their refs and for their
    presences, and notes how many of them were looked at in each turn."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.of_turns: list[int] = []
        self.ref = self

    def presences(self) -> list[Any]:
        return [self] * ACTORS

    def statistics(self) -> MailboxStatistics:
        self.looked_at += 1
        return MailboxStatistics(depth=1, capacity=9, high_water=1, received=1, refused=0, waiting_senders=0)

    def before_io_wait(self, timeout: float) -> None:
        """A turn is over."""
        self.of_turns.append(self.looked_at - sum(self.of_turns))


async def test_a13_metrics_look_at_a_slice_of_the_actors_in_each_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    crowd = Crowd()
    exposition = Exposition(Supervisor("test", []), crowd, LoopLag(), UnprovenBytes(), Telemetry())  # type: ignore[arg-type]
    trio.lowlevel.add_instrument(crowd)
    try:
        text = (await exposition.take()).decode()
        await trio.lowlevel.checkpoint()
    finally:
        trio.lowlevel.remove_instrument(crowd)
    assert 'djactors_mailbox_depth{actor="user"} 10000.0' in text
    assert f"djactors_tasks {trio.lowlevel.current_statistics().tasks_living}.0" in text
    assert sum(crowd.of_turns) == ACTORS
    assert max(crowd.of_turns) <= MAX_LOOKED_AT_IN_A_TURN == SLICE


async def test_a13_many_who_ask_at_once_have_the_actors_looked_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    crowd = Crowd()
    exposition = Exposition(Supervisor("test", []), crowd, LoopLag(), UnprovenBytes(), Telemetry())  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(exposition.take)
    assert crowd.looked_at == ACTORS
    await trio.sleep(FRESH)
    await exposition.take()
    assert crowd.looked_at == 2 * ACTORS
