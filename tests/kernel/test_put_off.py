"""An actor that puts messages off: it deals with them later, and whoever waits for an answer gets one."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.kernel import Actor, ActorCrashed, ActorSpec, AskUnanswered, Envelope, Supervisor


class OneAtATime(Actor[int, int]):
    """Takes all that is there, and answers one message in each batch, the smallest."""

    batch_limit = 100

    def __init__(self, batches: list[list[int]], crash_at: int | None = None) -> None:
        self._batches = batches
        self._crash_at = crash_at
        self._kept: deque[Envelope[int, int]] = deque()

    async def on_batch(self, batch: Sequence[Envelope[int, int]]) -> None:
        self._batches.append([envelope.message for envelope in batch])
        self._kept = deque(sorted([*self._kept, *batch], key=lambda envelope: envelope.message))
        self.put_off = self._kept
        if self._kept[0].message == self._crash_at:
            raise RuntimeError("a bad message")
        await trio.lowlevel.checkpoint()
        envelope = self._kept.popleft()
        envelope.answer(envelope.message * 10)


async def test_what_is_put_off_comes_again_with_what_came_meanwhile_and_is_answered(autojump_clock: object):
    batches: list[list[int]] = []
    answers: list[Any] = []
    spec = ActorSpec("one", lambda: OneAtATime(batches))
    root = Supervisor("root", [spec])
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        for number in (3, 1, 2):
            root.ref(spec).request_nowait(number, answers.append)
        await wait_all_tasks_blocked()
        root.request_stop()
    assert answers == [10, 20, 30]
    assert batches == [[3, 1, 2], [], []]


async def test_an_actor_that_is_stopped_finishes_what_it_has_put_off(autojump_clock: object):
    answers: list[Any] = []
    spec = ActorSpec("one", lambda: OneAtATime([]))
    root = Supervisor("root", [spec])
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        for number in range(5):
            root.ref(spec).request_nowait(number, answers.append)
        root.request_stop()
    assert answers == [0, 10, 20, 30, 40]


async def test_what_was_put_off_is_what_a_crash_drops(autojump_clock: object):
    answers: list[Any] = []
    spec = ActorSpec("one", lambda: OneAtATime([], crash_at=2))
    root = Supervisor("root", [spec])
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        for number in (1, 2, 3):
            root.ref(spec).request_nowait(number, answers.append)
        await wait_all_tasks_blocked()
        assert answers[0] == 10
        assert [type(answer) for answer in answers[1:]] == [ActorCrashed] * 2
        # Its successor has none of that.
        await trio.sleep(5)
        assert await root.ref(spec).ask(4, timeout=1) == 40
        root.request_stop()


class Forgetful(OneAtATime):
    async def on_batch(self, batch: Sequence[Envelope[int, int]]) -> None:
        await super().on_batch(batch)
        self.put_off = ()


async def test_what_is_neither_answered_nor_put_off_fails(autojump_clock: object):
    answers: list[Any] = []
    spec = ActorSpec("one", lambda: Forgetful([]))
    root = Supervisor("root", [spec])
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        for number in (1, 2):
            root.ref(spec).request_nowait(number, answers.append)
        await wait_all_tasks_blocked()
        root.request_stop()
    assert answers[0] == 10
    assert isinstance(answers[1], AskUnanswered)
    with pytest.raises(AskUnanswered):
        raise answers[1]
