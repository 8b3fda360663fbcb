"""Cancelling every waiting operation after each number of turns of the scheduler, from none to well past its end.

Whatever the moment: no message is lost or handled twice, nobody hangs, and the actor goes on.
"""

import pytest
import trio
import trio.testing

from djactors.kernel import ActorStopped, Mailbox, State
from tests.kernel.support import NamedTree, Scribe, gate, running, scribe

# The longest operation below is over after about ten turns.
TURNS = range(14)


async def cancelled_after(turns, operation, *args):
    """Run an operation and cancel it after so many turns of the scheduler; its result, or "cancelled"."""
    result = "cancelled"

    async def run():
        nonlocal result
        with scope:
            result = await operation(*args)

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        scope.cancel()
    return result


@pytest.mark.parametrize("turns", TURNS)
async def test_put(autojump_clock, turns):
    """With room made in the middle."""
    mailbox = Mailbox[str](1)
    mailbox.put_nowait("first")

    async def make_room():
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        mailbox.receive_batch_nowait(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make_room)
        result = await cancelled_after(turns, mailbox.put, "second")
    assert mailbox.drain() == ([] if result == "cancelled" else ["second"])


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("limit", [None, 1, 3])
async def test_receive(autojump_clock, turns, limit):
    """With items coming in the middle."""
    mailbox = Mailbox[int](4)
    receive = mailbox.receive if limit is None else lambda: mailbox.receive_batch(limit)

    async def fill():
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        for item in range(4):
            mailbox.put_nowait(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        result = await cancelled_after(turns, receive)
    taken = [] if result == "cancelled" else [result] if limit is None else result
    assert taken + mailbox.drain() == [0, 1, 2, 3]


@pytest.mark.parametrize("turns", TURNS)
async def test_receive_with_items_there_already(autojump_clock, turns):
    mailbox = Mailbox[int](4)
    mailbox.put_nowait(1)
    result = await cancelled_after(turns, mailbox.receive)
    assert mailbox.drain() == ([1] if result == "cancelled" else [])


@pytest.mark.parametrize("turns", TURNS)
async def test_tell_waiting_for_room(autojump_clock, turns):
    journal = []
    opened, wait = gate()
    async with running(scribe("a", journal, mailbox_capacity=1)) as tree:
        ref = tree.named("a")
        ref.tell_nowait(wait)
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait("queued")

        async def open_gate():
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            opened.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_gate)
            result = await cancelled_after(turns, ref.tell, "patient")
    told = [] if result == "cancelled" else ["patient"]
    assert journal == ["start", "queued", *told, "stop"]


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("turns", TURNS)
async def test_ask_queued_or_being_handled(autojump_clock, turns, busy):
    """Its message may or may not be handled, but never twice, and the answer to it disturbs nobody."""
    journal = []
    opened, wait = gate()

    async def slowly(actor):
        for _ in range(4):
            await trio.lowlevel.checkpoint()
        actor.journal.append("asked")
        return "answer"

    async with running(scribe("a", journal)) as tree:
        ref = tree.named("a")
        if busy:
            ref.tell_nowait(wait)
            await trio.testing.wait_all_tasks_blocked()

        async def open_gate():
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            opened.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_gate)
            result = await cancelled_after(turns, ref.ask, slowly, 100)
        assert await ref.ask("next", timeout=1) == ("done", "next")
    assert result in ("cancelled", "answer")
    assert journal.count("asked") == 1 or (result == "cancelled" and "asked" not in journal)


class Leisurely(Scribe):
    async def on_start(self):
        for _ in range(4):
            await trio.lowlevel.checkpoint()
        self.journal.append("start")

    async def on_stop(self):
        for _ in range(4):
            await trio.lowlevel.checkpoint()
        self.journal.append("stop")


@pytest.mark.parametrize("turns", TURNS)
async def test_start_child(autojump_clock, turns):
    """Either the caller has a running child, or there is none."""
    journal = []
    spec = scribe("a", journal, kind=Leisurely)
    async with running() as tree:
        result = await cancelled_after(turns, tree.start_child, spec)
        await trio.testing.wait_all_tasks_blocked()
        if result == "cancelled":
            assert "a" not in tree
            assert "stop" not in journal
        else:
            assert await result.ask("well?", timeout=1) == ("done", "well?")
            assert tree.statistics().children[0].state is State.RUNNING


@pytest.mark.parametrize("turns", TURNS)
async def test_stop_child(autojump_clock, turns):
    """The stop goes on without the caller."""
    journal = []
    spec = scribe("a", journal, kind=Leisurely)
    async with running() as tree:
        ref = await tree.start_child(spec)
        ref.tell_nowait("queued")
        await cancelled_after(turns, tree.stop_child, "a")
        await ref.wait_stopped()
        assert journal == ["start", "queued", "stop"]
        assert "a" not in tree


@pytest.mark.parametrize("turns", range(40))
async def test_run(autojump_clock, turns):
    """A tree cancelled at any point of its start, work or stop leaves nobody waiting and no child alive."""
    journal, outcomes = [], []
    tree = NamedTree("tree", [scribe(name, journal, kind=Leisurely) for name in ("a", "b")])
    refs = [tree.named("a"), tree.named("b")]

    async def ask(ref):
        try:
            outcomes.append(await ref.ask("well?", timeout=1_000))
        except ActorStopped:
            outcomes.append("stopped")

    async def stop_soon():
        for _ in range(12):
            await trio.lowlevel.checkpoint()
        tree.request_stop()

    async with trio.open_nursery() as nursery:
        for ref in refs:
            nursery.start_soon(ask, ref)
        nursery.start_soon(stop_soon)
        await cancelled_after(turns, tree.run)
    assert len(outcomes) == 2
    assert not any(ref.alive for ref in refs)
    assert tree.statistics().state is State.STOPPED
