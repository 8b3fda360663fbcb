"""A14: an answer that is costly to make is made once for all who ask the same soon after, whatever others ask."""

from __future__ import annotations

import trio

from djactors.edge.shared import KEPT, Shared

FRESH = 0.5


class Kitchen:
    def __init__(self) -> None:
        self.made: list[int] = []

    async def make(self, key: int) -> tuple[int, int]:
        await trio.lowlevel.checkpoint()
        self.made.append(key)
        return key, len(self.made)


async def test_a14_two_who_ask_in_turn_for_different_answers_have_each_made_once(autojump_clock: object) -> None:
    kitchen = Kitchen()
    shared: Shared[int, tuple[int, int]] = Shared(kitchen.make, FRESH)
    for _ in range(20):
        assert await shared.get(1) == (1, 1)
        assert await shared.get(2) == (2, 2)
    assert kitchen.made == [1, 2]
    await trio.sleep(FRESH)
    assert await shared.get(1) == (1, 3)
    shared.forget()
    assert await shared.get(1) == (1, 4)


async def test_a14_a_bounded_number_of_answers_is_kept_those_that_are_asked_for(autojump_clock: object) -> None:
    kitchen = Kitchen()
    shared: Shared[int, tuple[int, int]] = Shared(kitchen.make, FRESH)
    for key in range(1, 2 * KEPT):
        await shared.get(0)
        await shared.get(key)
    assert kitchen.made == list(range(2 * KEPT))
    await shared.get(1)
    assert kitchen.made[-1] == 1, "it was forgotten"
