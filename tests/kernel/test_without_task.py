"""An actor that gives its task back while it rests: it has none then, and gets one for whatever it has to do."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.kernel import ActorStopped, ChildStopped
from tests.kernel.support import gate, running, scribe


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("actors", [1, 20])
async def test_it_has_a_task_only_while_it_works(autojump_clock, keeps_task, actors):
    journals = [[] for _ in range(actors)]
    async with running() as tree:
        await wait_all_tasks_blocked()
        before = tasks()
        refs = [tree.spawn_child(scribe(str(number), journal)) for number, journal in enumerate(journals)]
        await wait_all_tasks_blocked()
        rests = actors if keeps_task else 0
        assert tasks() == before + rests
        opened, wait = gate()
        for ref in refs:
            ref.tell_nowait("one")
            ref.tell_nowait(wait)
        await wait_all_tasks_blocked()
        assert tasks() == before + actors
        opened.set()
        await wait_all_tasks_blocked()
        assert tasks() == before + rests
    assert all(journal == ["start", "one", "stop"] for journal in journals)


async def test_who_is_stopped_at_rest_stops_in_good_order(autojump_clock):
    journal, events = [], []
    async with running(on_event=events.append) as tree:
        ref = tree.spawn_child(scribe("a", journal))
        await wait_all_tasks_blocked()
        await tree.stop_child("a")
        assert journal == ["start", "stop"]
        with pytest.raises(ActorStopped):
            ref.tell_nowait("late")
    assert events[-1] == ChildStopped("tree", "a", (), timed_out=False)


async def test_who_rests_is_ended_with_a_supervisor_that_is_cancelled(autojump_clock):
    journal, events = [], []
    with trio.CancelScope() as scope:
        async with running(scribe("a", journal), on_event=events.append) as tree:
            ref = tree.named("a")
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert journal == ["start"], "nobody has the time for a good order"
    assert events[-1] == ChildStopped("tree", "a", (), timed_out=False)
    assert not ref.alive


async def test_what_it_is_told_while_everything_is_cancelled_is_dropped(autojump_clock):
    journal, events = [], []
    with trio.CancelScope() as scope:
        async with running(scribe("a", journal), on_event=events.append) as tree:
            await wait_all_tasks_blocked()
            scope.cancel()
            tree.named("a").tell_nowait("one")
            await trio.lowlevel.checkpoint()
    assert journal == ["start"]
    assert events[-1] == ChildStopped("tree", "a", ("one",), timed_out=False)
