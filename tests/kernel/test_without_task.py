"""An actor that gives its task back while it rests: it has none then, and gets one for whatever it has to do."""

import contextvars
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.kernel import Actor, ActorSpec, ActorStopped, ChildStopped
from djactors.kernel._supervisor import SPARE_TASKS
from tests.kernel.support import gate, running, scribe


def test_what_a_test_says_nothing_of_is_as_its_name_says(request):
    assert scribe("a", []).keeps_task is request.node.callspec.params["keeps_task"]


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("actors", [1, 2 * SPARE_TASKS])
async def test_it_has_a_task_only_while_it_works(autojump_clock, keeps_task, actors):
    journals = [[] for _ in range(actors)]
    async with running() as tree:
        await wait_all_tasks_blocked()
        before = tasks()
        refs = [tree.spawn_child(scribe(str(number), journal)) for number, journal in enumerate(journals)]
        await wait_all_tasks_blocked()
        # A few tasks stay for whoever is next.
        rests = actors if keeps_task else min(actors, SPARE_TASKS)
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


async def test_its_task_is_lent_to_the_next_one():
    names, used = [], set()

    class Named(Actor[str, Any]):
        async def on_message(self, message: str) -> str:
            names.append(trio.lowlevel.current_task().name)
            used.add(trio.lowlevel.current_task())
            return message

    async with running() as tree:
        for name in ("a", "b", "c"):
            ref = tree.spawn_child(ActorSpec(name, Named, keeps_task=False))
            for _ in range(2):
                await ref.ask("?", timeout=5)
                await wait_all_tasks_blocked()
    assert names == ["a", "a", "b", "b", "c", "c"], "whoever looks at the tasks sees whose each one is"
    assert len(used) == 1


async def test_what_it_has_set_in_its_context_is_for_nobody_else():
    variable = contextvars.ContextVar[str]("variable", default="nothing")
    seen = []

    class Setting(Actor[str, Any]):
        async def on_message(self, message: str) -> str:
            seen.append(variable.get())
            if message:
                variable.set(message)
            return message

    async with running() as tree:
        refs = {name: tree.spawn_child(ActorSpec(name, Setting, keeps_task=False)) for name in ("a", "b", "c")}
        for name, message in (("a", ""), ("b", "b's"), ("c", ""), ("a", "a's"), ("b", ""), ("a", "")):
            await refs[name].ask(message, timeout=5)
            await wait_all_tasks_blocked()
    assert seen == ["nothing"] * 6


async def test_what_it_keeps_in_its_context_is_for_nobody_else_even_where_it_looks_the_same():
    class Incomparable(list[str]):
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    variable = contextvars.ContextVar[list[str]]("variable")
    variable.set(Incomparable(["everybody's"]))
    seen = {}

    class Setting(Actor[str, Any]):
        async def on_message(self, message: str) -> None:
            seen[message] = list(variable.get())
            variable.set(Incomparable(["everybody's"]))
            variable.get().append(message)

    async with running() as tree:
        for name in ("a", "b"):
            await tree.spawn_child(ActorSpec(name, Setting, keeps_task=False)).ask(name, timeout=5)
            await wait_all_tasks_blocked()
    assert seen == {"a": ["everybody's"], "b": ["everybody's"]}


async def test_a_supervisor_that_is_cancelled_ends_the_tasks_that_nobody_has(autojump_clock):
    before = tasks()
    with trio.CancelScope() as scope:
        async with running(scribe("a", [])) as tree:
            await wait_all_tasks_blocked()
            assert tree.named("a").alive
            scope.cancel()
    assert tasks() == before


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


async def test_what_wakes_it_while_another_gets_its_task_is_handled(autojump_clock):
    journal = []

    class Telling(trio.abc.Instrument):
        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            trio.lowlevel.remove_instrument(self)
            tree.named("a").tell_nowait("one")

    # Who has no task for what there is to do never stops either.
    with trio.fail_after(60):
        async with running(scribe("a", journal)) as tree:
            await wait_all_tasks_blocked()
            trio.lowlevel.add_instrument(Telling())
            tree.spawn_child(scribe("b", []))
            await wait_all_tasks_blocked()
    assert journal == ["start", "one", "stop"]
