"""Batches that wait a moment to become larger: only while messages come together, never for long."""

from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from djactors.kernel import ActorRef
from tests.kernel.support import BatchScribe, gate, running, scribe

PATIENCE = 60


class Patient(BatchScribe):
    """Journals batches and when they began."""

    linger = 1.0

    async def on_batch(self, batch):
        for envelope in batch:
            if callable(envelope.message):
                await envelope.message(self)
        self.journal.append((trio.current_time(), [str(envelope.message) for envelope in batch]))
        for envelope in batch:
            envelope.answer(None)


class PatientAtRest(Patient):
    """Takes tells at rest."""

    def on_tell_at_rest(self, message):
        self.journal.append((trio.current_time(), message))
        return True


async def producer(ref: ActorRef, name: str, pause: float, count: int) -> None:
    """Asks again and again, each time so long after the answer."""
    for _ in range(count):
        await ref.ask(name, timeout=PATIENCE)
        await trio.sleep(pause)


def sizes(journal):
    return [len(entry[1]) for entry in journal if isinstance(entry, tuple)]


async def test_a_single_sender_is_never_waited_for(autojump_clock):
    journal = []
    async with running(scribe("a", journal, kind=Patient)) as tree:
        began = trio.current_time()
        for _ in range(5):
            await tree.named("a").ask("one", timeout=PATIENCE)
        assert trio.current_time() == began


async def test_senders_in_two_halves_become_one_batch(autojump_clock):
    """Two begin while the actor is busy with the other two; from then on all four are taken together."""
    journal = []
    opened, wait = gate()
    async with running(scribe("a", journal, kind=Patient)) as tree, trio.open_nursery() as nursery:
        ref = tree.named("a")
        ref.tell_nowait(wait)
        await wait_all_tasks_blocked()
        for name in "wx":
            nursery.start_soon(producer, ref, name, 0.5, 5)
        await wait_all_tasks_blocked()
        opened.set()
        for name in "yz":
            nursery.start_soon(producer, ref, name, 0.5, 5)
    assert max(sizes(journal)) == 4
    assert sizes(journal)[3:] == [4] * len(sizes(journal)[3:])


async def test_it_waits_no_longer_than_it_may_and_then_not_again_for_those_who_left(autojump_clock):
    journal = []
    async with running(scribe("a", journal, kind=Patient)) as tree:
        ref = tree.named("a")
        for message in ("one", "two", "three"):
            ref.tell_nowait(message)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await ref.ask("four", timeout=PATIENCE)
        assert trio.current_time() == began + 1
        await ref.ask("five", timeout=PATIENCE)
        assert trio.current_time() == began + 1
    assert sizes(journal) == [3, 1, 1]


async def test_as_many_as_fit_are_enough(autojump_clock):
    journal = []
    async with running(scribe("a", journal, kind=Patient, mailbox_capacity=2)) as tree:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for name in "wxyz":
                nursery.start_soon(producer, tree.named("a"), name, 0, 1)
        assert trio.current_time() == began


async def test_a_stop_is_not_kept_waiting(autojump_clock):
    journal = []
    began = trio.current_time()
    async with running(scribe("a", journal, kind=Patient)) as tree:
        ref = tree.named("a")
        for message in ("one", "two", "three"):
            ref.tell_nowait(message)
        await wait_all_tasks_blocked()
        ref.tell_nowait("four")
        await wait_all_tasks_blocked()
        assert sizes(journal) == [3]
    assert sizes(journal) == [3, 1]
    assert trio.current_time() == began


async def test_a_tell_does_not_overtake_what_waits_for_more(autojump_clock):
    journal = []
    opened, wait = gate()
    async with running(scribe("a", journal, kind=PatientAtRest)) as tree:
        ref = tree.named("a")
        async with trio.open_nursery() as nursery:
            for message in (wait, "two", "three"):
                nursery.start_soon(partial(ref.ask, message, timeout=PATIENCE))
            await wait_all_tasks_blocked()
            opened.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(ref.ask, "four", timeout=PATIENCE))
            await wait_all_tasks_blocked()
            ref.tell_nowait("five")
    assert [entry[1] for entry in journal if isinstance(entry, tuple)][-1] == ["four", "five"]
