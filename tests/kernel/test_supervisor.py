"""Starting, crashing, restarting, giving up, stopping."""

import contextvars
import random
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from djactors.kernel import (
    Actor,
    ActorCrashed,
    ActorQuarantined,
    ActorSpec,
    ActorStopped,
    Backoff,
    ChildCrashed,
    ChildExists,
    ChildQuarantined,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStopped,
    Exhausted,
    Intensity,
    Kind,
    NoSuchChild,
    Restart,
    RestartIntensityExceeded,
    ServiceSpec,
    State,
    SupervisorEscalated,
    SupervisorNotRunning,
    TooManyChildren,
)
from tests.kernel.support import STEADY, Boom, NamedTree, Scribe, gate, pause_forever, running, scribe

THREE_A_MINUTE = Intensity(max_restarts=3, period=60)


# Crashes


async def test_after_a_crash_a_new_instance_goes_on_under_the_same_ref(autojump_clock):
    instances = []

    class Counted(Scribe):
        def __init__(self):
            super().__init__([])
            instances.append(self)

    events = []
    async with running(ActorSpec("a", Counted, backoff=STEADY), on_event=events.append) as tree:
        ref = tree.named("a")
        ref.tell_nowait("boom")
        ref.tell_nowait("after")
        assert await ref.ask("later", timeout=5) == ("done", "later")
        assert ref is tree.named("a")
        statistics = tree.statistics().children[0]
    assert [instance.journal for instance in instances] == [["start"], ["start", "after", "later", "stop"]]
    assert (statistics.restarts, statistics.crashes, statistics.dropped) == (1, 1, 1)
    assert statistics.last_error == "Boom: boom"
    started, crashed, restarting, restarted, stopped = events
    assert started == restarted == ChildStarted("tree", "a")
    assert isinstance(crashed, ChildCrashed)
    assert crashed.dropped == ("boom",)
    assert isinstance(crashed.error, Boom)
    assert restarting == ChildRestarting("tree", "a", delay=1)
    assert stopped == ChildStopped("tree", "a", dropped=(), timed_out=False)


async def test_who_asked_the_poisonous_question_is_told_of_the_crash(autojump_clock):
    async with running(scribe("a", [])) as tree:
        with pytest.raises(ActorCrashed, match="Boom: boom") as raised:
            await tree.named("a").ask("boom", timeout=10)
        assert isinstance(raised.value.__cause__, Boom)
        assert trio.current_time() == pytest.approx(0, abs=1e-6)


async def test_siblings_do_not_notice_a_crash(autojump_clock):
    journal = []
    async with running(scribe("bad", []), scribe("good", journal)) as tree:
        for _ in range(3):
            tree.named("bad").tell_nowait("boom")
            assert await tree.named("good").ask("work", timeout=0.5) == ("done", "work")
            await trio.sleep(10)
    assert journal == ["start", "work", "work", "work", "stop"]


async def test_a_crash_in_a_nursery_of_the_handler_is_reported_as_itself(autojump_clock):
    async def crash_in_nursery(_):
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            outer.start_soon(trio.sleep_forever)
            inner.start_soon(trio.sleep_forever)
            raise Boom("deep")

    events = []
    async with running(scribe("a", []), on_event=events.append) as tree:
        with pytest.raises(ActorCrashed) as raised:
            await tree.named("a").ask(crash_in_nursery, timeout=1)
    assert isinstance(raised.value.__cause__, Boom)
    assert [type(e.error) for e in events if isinstance(e, ChildCrashed)] == [Boom]


async def test_pauses_grow_with_each_crash_in_a_row_and_start_over_after_a_quiet_period(autojump_clock):
    events = []
    spec = scribe("a", [], intensity=Intensity(max_restarts=100, period=20))
    async with running(spec, on_event=events.append) as tree:
        for quiet in (0, 0, 0, 0, 0, 8 + 20, 0):
            await trio.sleep(quiet)
            with pytest.raises(ActorCrashed):
                await tree.named("a").ask("boom", timeout=100)
    assert [e.delay for e in events if isinstance(e, ChildRestarting)] == [1, 2, 4, 8, 8, 1, 2]


def test_jitter_shortens_a_pause_by_at_most_its_part():
    backoff = Backoff(initial=10, factor=1, maximum=10, jitter=0.5)
    pauses = [backoff.delay(n, random.Random(n)) for n in range(50)]
    assert all(5 <= pause <= 10 for pause in pauses)
    assert len(set(pauses)) == 50
    assert Backoff(jitter=0).delay(100_000, random.Random()) == Backoff().maximum


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Backoff(initial=2, maximum=1),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(jitter=2),
        lambda: Intensity(max_restarts=-1),
        lambda: Intensity(period=0),
        lambda: ActorSpec("a", Actor, stop_timeout=0),
        lambda: ActorSpec("a", Actor, mailbox_capacity=0),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError):
        wrong()


# Restart types


@pytest.mark.parametrize(
    ("restart", "crashes", "lives"),
    [
        (Restart.PERMANENT, False, 3),
        (Restart.PERMANENT, True, 3),
        (Restart.TRANSIENT, False, 1),
        (Restart.TRANSIENT, True, 3),
        (Restart.TEMPORARY, False, 1),
        (Restart.TEMPORARY, True, 1),
    ],
)
async def test_the_restart_type_decides_which_ends_lead_to_a_restart(autojump_clock, restart, crashes, lives):
    starts = []

    class Brief:
        async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
            task_status.started()
            starts.append(trio.current_time())
            if len(starts) == 3:
                await trio.sleep_forever()
            if crashes:
                raise Boom

    async with running(ServiceSpec("brief", Brief, restart=restart, backoff=STEADY)) as tree:
        await trio.sleep(100)
        state = tree.statistics().children[0].state
    assert len(starts) == lives
    assert state is (State.RUNNING if lives == 3 else State.STOPPED)


async def test_a_temporary_actor_that_crashed_stays_dead(autojump_clock):
    async with running(scribe("a", [], restart=Restart.TEMPORARY)) as tree:
        ref = tree.named("a")
        ref.tell_nowait("boom")
        with pytest.raises(ActorStopped):
            await ref.ask("queued behind", timeout=10)
        await ref.wait_stopped()


# Exhaustion


async def crash(tree: NamedTree, name: str) -> None:
    with pytest.raises(ActorCrashed):
        await tree.named(name).ask("boom", timeout=100)


async def crash_repeatedly(tree: NamedTree, name: str, times: int) -> None:
    for _ in range(times):
        await crash(tree, name)


async def test_too_many_restarts_escalate_after_an_ordered_stop(autojump_clock, nursery):
    journals: dict[str, list[Any]] = {"first": [], "bad": [], "last": []}
    stopped, events = [], []

    class Named(Scribe):
        async def on_stop(self):
            stopped.append(self.ref.name)

    specs = [
        ActorSpec(name, lambda name=name: Named(journals[name]), intensity=THREE_A_MINUTE, backoff=STEADY)
        for name in journals
    ]
    tree = NamedTree("tree", specs, on_event=events.append)
    nursery.start_soon(crash_repeatedly, tree, "bad", 4)
    with pytest.raises(RestartIntensityExceeded, match="tree/bad needed more than 3 restarts in 60 s") as raised:
        await tree.run()
    error = raised.value
    assert isinstance(error.__cause__, Boom)
    assert stopped == ["last", "first"]
    assert journals["bad"] == ["start"] * 4
    assert not any(tree.named(name).alive for name in journals)
    assert SupervisorEscalated("tree", "bad") in events


async def test_crashes_far_apart_do_not_exhaust(autojump_clock):
    async with running(scribe("a", [], intensity=THREE_A_MINUTE)) as tree:
        for _ in range(20):
            await crash(tree, "a")
            await trio.sleep(21)
        assert tree.statistics().children[0].restarts == 20


def quarantined(journal: list[Any]) -> ActorSpec[Any, Any]:
    return scribe("bad", journal, intensity=THREE_A_MINUTE, when_exhausted=Exhausted.QUARANTINE, quarantine_seconds=300)


async def test_an_exhausted_child_is_set_aside_alone_and_revived_later(autojump_clock):
    journal, events = [], []
    async with running(quarantined(journal), scribe("good", []), on_event=events.append) as tree:
        ref = tree.named("bad")
        for _ in range(4):
            await crash(tree, "bad")
        assert tree.statistics().children[0].state is State.QUARANTINED
        assert not ref.alive
        with pytest.raises(ActorQuarantined):
            await ref.ask("anyone?", timeout=1)
        with pytest.raises(ActorQuarantined):
            ref.tell_nowait("anyone?")
        with pytest.raises(ActorQuarantined):
            await ref.tell("anyone?")
        assert await tree.named("good").ask("fine", timeout=1) == ("done", "fine")
        await trio.sleep(301)
        assert ref.alive
        assert await ref.ask("welcome back", timeout=1) == ("done", "welcome back")
        assert tree.statistics().children[0].state is State.RUNNING
    assert [e.seconds for e in events if isinstance(e, ChildQuarantined)] == [300]


async def test_quarantine_fails_what_was_queued_and_those_who_waited_for_room(autojump_clock, nursery):
    refused, events = [], []
    opened, wait = gate()

    async def wait_then_boom(actor):
        await wait(actor)
        raise Boom

    spec = scribe("bad", [], intensity=Intensity(0, 60), when_exhausted=Exhausted.QUARANTINE, mailbox_capacity=2)
    async with running(spec, on_event=events.append) as tree:
        ref = tree.named("bad")
        ref.tell_nowait(wait_then_boom)
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait("queued")

        async def send(how, *args):
            with pytest.raises(ActorQuarantined):
                await how(*args)
            refused.append(args[0])

        nursery.start_soon(send, ref.ask, "queued ask", 100)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(send, ref.tell, "waiting tell")
        nursery.start_soon(send, ref.ask, "waiting ask", 100)
        await trio.testing.wait_all_tasks_blocked()
        opened.set()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(refused) == ["queued ask", "waiting ask", "waiting tell"]
        assert tree.statistics().children[0].dropped == 3
    assert [e.dropped for e in events if isinstance(e, ChildQuarantined)] == [("queued", "queued ask")]


async def test_after_quarantine_one_crash_leads_back_but_a_quiet_period_clears_the_record(autojump_clock):
    async with running(quarantined([])) as tree:
        ref = tree.named("bad")
        for _ in range(4):
            await crash(tree, "bad")
        await trio.sleep(301)
        await crash(tree, "bad")
        assert not ref.alive
        await trio.sleep(301 + 61)
        for _ in range(3):
            await crash(tree, "bad")
            assert ref.alive


# Starting


async def test_children_start_one_after_the_other_and_stop_in_reverse(autojump_clock):
    order = []

    class Slow(Actor[str, Any]):
        async def on_start(self):
            order.append(("starting", self.ref.name))
            await trio.sleep(1)
            order.append(("started", self.ref.name))

        async def on_stop(self):
            order.append(("stopping", self.ref.name))
            await trio.sleep(1)
            order.append(("stopped", self.ref.name))

    class Listener:
        async def run(self, *, task_status):
            order.append(("starting", "listener"))
            await trio.sleep(1)
            task_status.started()
            order.append(("started", "listener"))
            try:
                await trio.sleep_forever()
            finally:
                order.append(("stopped", "listener"))

    async with running(ActorSpec("a", Slow), ServiceSpec("listener", Listener), ActorSpec("b", Slow)):
        assert trio.current_time() == pytest.approx(3, abs=1e-6)
        up = order.copy()
        order.clear()
    assert up == [(what, who) for who in ("a", "listener", "b") for what in ("starting", "started")]
    assert order == [
        ("stopping", "b"),
        ("stopped", "b"),
        ("stopped", "listener"),
        ("stopping", "a"),
        ("stopped", "a"),
    ]


class FailsToStart(Actor[str, Any]):
    async def on_start(self):
        raise Boom("not today")


async def test_a_permanent_child_that_fails_its_first_start_undoes_the_start(autojump_clock):
    journal, never = [], []
    tree = NamedTree("tree", [scribe("a", journal), ActorSpec("bad", FailsToStart), scribe("c", never)])
    tree.named("c").tell_nowait("early")
    async with trio.open_nursery() as nursery:
        with pytest.raises(ChildStartFailed, match="tree/bad did not start: Boom: not today") as raised:
            await nursery.start(tree.run)
    assert isinstance(raised.value.__cause__, Boom)
    assert journal == ["start", "stop"]
    assert never == []
    with pytest.raises(ActorStopped):
        tree.named("c").tell_nowait("late")


async def test_a_transient_child_that_fails_its_first_start_is_tried_again_meanwhile(autojump_clock):
    starts = []

    class Second(Actor[str, Any]):
        async def on_start(self):
            starts.append(trio.current_time())
            if len(starts) == 1:
                raise Boom

        async def on_message(self, message):
            return "at last"

    async with running(ActorSpec("a", Second, restart=Restart.TRANSIENT, backoff=STEADY)) as tree:
        assert tree.statistics().children[0].state is State.BACKING_OFF
        assert await tree.named("a").ask("?", timeout=2) == "at last"


async def test_a_start_that_takes_too_long_is_a_failed_start(autojump_clock):
    class Stuck(Actor[str, Any]):
        async def on_start(self):
            await trio.sleep_forever()

    class StuckService:
        async def run(self, *, task_status):
            await trio.sleep_forever()

    for spec in (ActorSpec("stuck", Stuck, start_timeout=3), ServiceSpec("stuck", StuckService, start_timeout=3)):
        async with running() as tree:
            with pytest.raises(ChildStartFailed) as raised:
                await tree.start_child(spec)
            assert isinstance(raised.value.__cause__, trio.TooSlowError)
            assert "stuck" not in tree


@pytest.mark.parametrize("ends", ["cancelled", "with an error of its own", "late, and well"])
async def test_after_a_start_that_took_too_long_there_is_another_one(autojump_clock, ends):
    starts, events = [], []

    class SlowAtFirst(Actor[str, Any]):
        async def on_start(self):
            starts.append(trio.current_time())
            if len(starts) > 1:
                return
            if ends == "late, and well":
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)
                return
            try:
                await trio.sleep_forever()
            finally:
                if ends == "with an error of its own":
                    raise Boom("on the way out")

        async def on_message(self, message):
            # A later wait is no concern of the start's deadline.
            await trio.sleep(60)
            return message

    spec = ActorSpec("a", SlowAtFirst, restart=Restart.TRANSIENT, start_timeout=3, backoff=STEADY)
    async with running(spec, on_event=events.append) as tree:
        assert await tree.named("a").ask("hello", timeout=1000) == "hello"
        assert tree.statistics().children[0].tally.restarts == 1
    [crash] = [event.error for event in events if isinstance(event, ChildCrashed)]
    if ends == "with an error of its own":
        assert str(crash) == "on the way out"
    else:
        assert isinstance(crash, trio.TooSlowError)
        assert "a had not started after 3 s" in str(crash)
    assert len(starts) == 2
    assert len([event for event in events if isinstance(event, ChildStarted)]) == 1


@pytest.mark.parametrize("is_cut_off", [False, True])
async def test_a_service_that_says_so_too_late_has_started_if_it_goes_on_to_its_end(autojump_clock, is_cut_off):
    class Late:
        async def run(self, *, task_status):
            with trio.CancelScope(shield=True):
                await trio.sleep(60)
            task_status.started()
            if is_cut_off:
                await trio.sleep(60)

    events = []
    async with running(on_event=events.append) as tree:
        await tree.start_child(ServiceSpec("late", Late, start_timeout=3, restart=Restart.TEMPORARY))
        await wait_all_tasks_blocked()
        assert "late" not in tree
    assert [type(event) for event in events] == (
        [ChildStarted, ChildCrashed, ChildStopped] if is_cut_off else [ChildStarted, ChildStopped]
    )


async def test_who_is_stopped_in_the_middle_of_a_start_has_until_the_start_is_too_long(autojump_clock):
    class Stuck(Actor[str, Any]):
        async def on_start(self):
            await trio.sleep_forever()

    events = []
    async with running(on_event=events.append) as tree:
        tree.spawn_child(ActorSpec("stuck", Stuck, start_timeout=3, stop_timeout=100))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await tree.stop_child("stuck")
        assert 3 <= trio.current_time() - began < 4
    assert events[-1] == ChildStopped("tree", "stuck", (), timed_out=False)


async def test_many_actors_may_have_one_spec_with_names_and_arguments_of_their_own(autojump_clock):
    class Named(Actor[str, Any]):
        def __init__(self, number):
            self.number = number

        async def on_message(self, message):
            if message == "boom":
                raise Boom
            return self.number

    spec = ActorSpec("all", Named, backoff=STEADY)
    async with running() as tree:
        refs = [tree.spawn_child(spec, name=f"n{number}", arguments=(number,)) for number in range(3)]
        with pytest.raises(ChildExists, match="tree/n1 exists"):
            tree.spawn_child(spec, name="n1", arguments=(7,))
        refs[1].tell_nowait("boom")
        assert [await ref.ask("?", timeout=5) for ref in refs] == [0, 1, 2]
        assert [ref.name for ref in refs] == ["n0", "n1", "n2"]
        with pytest.raises(NoSuchChild):
            tree.ref(spec)
        await tree.stop_child("n1")
        assert "n1" not in tree


async def test_a_factory_that_raises_is_a_crash(autojump_clock):
    def factory():
        raise Boom("no parts")

    async with running() as tree:
        with pytest.raises(ChildStartFailed, match="no parts"):
            await tree.start_child(ActorSpec("a", factory))


async def test_a_supervisor_runs_once(autojump_clock):
    async with running() as tree:
        with pytest.raises(RuntimeError, match="has been run already"):
            await tree.run()


# Stopping


async def test_a_stopping_actor_handles_what_is_queued_and_takes_nothing_new(autojump_clock, nursery):
    journal = []
    opened, wait = gate()
    async with running(scribe("a", journal)) as tree:
        ref = tree.named("a")
        for message in (wait, 1, 2):
            ref.tell_nowait(message)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(tree.stop_child, "a")
        await trio.testing.wait_all_tasks_blocked()
        assert tree.statistics().children[0].state is State.STOPPING
        with pytest.raises(ActorStopped):
            ref.tell_nowait(3)
        opened.set()
        await ref.wait_stopped()
    assert journal == ["start", 1, 2, "stop"]


async def test_a_stop_that_takes_too_long_is_cut_off_and_fails_who_waited(autojump_clock, nursery):
    events, outcomes = [], []
    async with running(scribe("a", [], stop_timeout=5), on_event=events.append) as tree:
        ref = tree.named("a")

        async def ask(message):
            with pytest.raises(ActorStopped):
                await ref.ask(message, timeout=100)
            outcomes.append(message)

        for message in (pause_forever, "queued"):
            nursery.start_soon(ask, message)
            await trio.testing.wait_all_tasks_blocked()
        await tree.stop_child("a")
        assert trio.current_time() == pytest.approx(5, abs=1e-6)
        await trio.testing.wait_all_tasks_blocked()
        assert set(outcomes) == {pause_forever, "queued"}
        assert tree.statistics().children[0].dropped == 2
    assert ChildStopped("tree", "a", dropped=(pause_forever, "queued"), timed_out=True) in events


async def test_an_actor_can_be_stopped_while_it_waits_for_its_restart(autojump_clock):
    async with running(scribe("a", [], backoff=Backoff(initial=100, maximum=100, jitter=0))) as tree:
        ref = tree.named("a")
        ref.tell_nowait("boom")
        await trio.testing.wait_all_tasks_blocked()
        assert tree.statistics().children[0].state is State.BACKING_OFF
        await tree.stop_child("a")
        assert trio.current_time() == pytest.approx(0, abs=1e-6)


async def test_a_service_is_asked_to_stop_if_it_can_be_and_cancelled_if_not(autojump_clock):
    ends = []

    class Plain:
        async def run(self, *, task_status):
            task_status.started()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                ends.append(("plain", "cancelled"))
                raise

    class Polite:
        def __init__(self):
            self.asked = trio.Event()

        async def run(self, *, task_status):
            task_status.started()
            await self.asked.wait()
            await trio.sleep(1)
            ends.append(("polite", "done"))

        def request_stop(self):
            self.asked.set()

    async with running(ServiceSpec("plain", Plain), ServiceSpec("polite", Polite)):
        pass
    assert ends == [("polite", "done"), ("plain", "cancelled")]


async def test_a_service_that_cannot_even_be_asked_to_stop_is_cancelled(autojump_clock):
    class Stubborn:
        async def run(self, *, task_status):
            task_status.started()
            await trio.sleep_forever()

        def request_stop(self):
            raise Boom

    events = []
    async with running(ServiceSpec("stubborn", Stubborn), on_event=events.append) as tree:
        await tree.stop_child("stubborn")
        assert trio.current_time() == pytest.approx(0, abs=1e-6)
    assert any(isinstance(event, ChildCrashed) for event in events)


async def test_children_do_not_inherit_the_context_of_whoever_spawned_them(autojump_clock):
    """Or the log lines of an actor would name the request that happened to start it."""
    request = contextvars.ContextVar("request", default="none")

    async def look(_):
        return request.get()

    async with running() as tree:
        request.set("42")
        assert await tree.spawn_child(scribe("a", [])).ask(look, timeout=1) == "none"


async def test_cancelling_the_supervisor_ends_everything_at_once_and_leaves_nobody_waiting(autojump_clock):
    outcomes, journal = [], []
    async with trio.open_nursery() as outside:
        async with trio.open_nursery() as nursery:
            inner = NamedTree("inner", [scribe("deep", journal)])
            tree = NamedTree("tree", [ServiceSpec("inner", lambda: inner), scribe("a", journal)])
            await nursery.start(tree.run)
            refs = [tree.named("a"), inner.named("deep"), tree.spawn_child(scribe("dynamic", journal))]

            async def ask(ref):
                with pytest.raises(ActorStopped):
                    await ref.ask(pause_forever, timeout=100)
                outcomes.append(ref.name)

            for ref in refs:
                outside.start_soon(ask, ref)
                outside.start_soon(ask, ref)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert trio.current_time() == pytest.approx(0, abs=1e-6)
    assert sorted(outcomes) == ["a", "a", "deep", "deep", "dynamic", "dynamic"]
    assert "stop" not in journal
    assert tree.statistics().state is State.STOPPED


async def test_a_crash_during_cancellation_is_reported_and_does_not_replace_the_cancellation(autojump_clock):
    async def crash_when_cancelled(_):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise Boom

    events = []
    tree = NamedTree("tree", [scribe("a", [])], on_event=events.append)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run)
            tree.named("a").tell_nowait(crash_when_cancelled)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert [type(e.error) for e in events if isinstance(e, ChildCrashed)] == [Boom]


async def test_what_is_not_an_exception_is_not_a_crash(autojump_clock):
    class Exit(BaseException):
        pass

    async def leave(_):
        raise Exit

    events = []
    tree = NamedTree("tree", [scribe("a", [])], on_event=events.append)
    tree.named("a").tell_nowait(leave)
    with pytest.raises(BaseExceptionGroup) as raised:
        await tree.run()
    assert raised.value.subgroup(Exit) is not None
    assert not any(isinstance(event, ChildCrashed) for event in events)


# Dynamic children


async def test_a_spawned_child_can_be_told_at_once(autojump_clock):
    journal = []
    async with running() as tree:
        ref = tree.spawn_child(scribe("a", journal))
        ref.tell_nowait("early")
        assert tree.statistics().children[0].state is State.STARTING
        assert await ref.ask("later", timeout=1) == ("done", "later")
    assert journal == ["start", "early", "later", "stop"]


async def test_dynamic_children_are_forgotten_when_they_end(autojump_clock):
    async with running(max_children=3) as tree:
        for number in range(50):
            await tree.start_child(scribe(f"stopped {number}", []))
            crashing = tree.spawn_child(scribe(f"crashed {number}", [], restart=Restart.TEMPORARY))
            crashing.tell_nowait("boom")
            await tree.stop_child(f"stopped {number}")
            await crashing.wait_stopped()
        statistics = tree.statistics()
        assert statistics.children == ()
        assert statistics.crashes == 50


async def test_dynamic_children_are_bounded_and_their_names_unique(autojump_clock):
    async with running(scribe("static", []), max_children=2) as tree:
        tree.spawn_child(scribe("a", []))
        with pytest.raises(ChildExists):
            tree.spawn_child(scribe("a", []))
        tree.spawn_child(scribe("b", []))
        with pytest.raises(TooManyChildren):
            await tree.start_child(scribe("c", []))
        await tree.stop_child("a")
        tree.spawn_child(scribe("c", []))
    with pytest.raises(SupervisorNotRunning):
        tree.spawn_child(scribe("late", []))


async def test_unknown_children_are_named_in_the_error(autojump_clock):
    async with running() as tree:
        with pytest.raises(NoSuchChild, match="tree has no child nobody"):
            await tree.stop_child("nobody")
        with pytest.raises(NoSuchChild, match="tree has no child nobody"):
            tree.ref(scribe("nobody", []))


async def test_a_ref_is_that_of_the_spec_it_was_asked_with(autojump_clock):
    spec = scribe("a", [])
    async with running(spec) as tree:
        assert tree.ref(spec).name == "a"
        with pytest.raises(NoSuchChild, match="tree/a was made from another spec of that name"):
            tree.ref(scribe("a", []))
        spawned = tree.spawn_child(scribe("b", []))
        assert await spawned.ask("well?", timeout=1) == ("done", "well?")


async def test_a_failed_start_child_leaves_nothing_behind(autojump_clock):
    async with running() as tree:
        with pytest.raises(ChildStartFailed):
            await tree.start_child(ActorSpec("bad", FailsToStart))
        assert "bad" not in tree


async def test_dynamic_children_stop_together_before_the_others(autojump_clock):
    order = []

    class Slow(Actor[str, Any]):
        async def on_stop(self):
            await trio.sleep(4)
            order.append((self.ref.name, round(trio.current_time())))

    async with running(ActorSpec("static", Slow)) as tree:
        for number in range(3):
            tree.spawn_child(ActorSpec(str(number), Slow))
        await trio.testing.wait_all_tasks_blocked()
    assert order[-1] == ("static", 8)
    assert sorted(order[:-1]) == [("0", 4), ("1", 4), ("2", 4)]


async def test_a_message_accepted_before_a_stop_is_handled_even_if_the_actor_had_not_started(autojump_clock):
    journal = []
    async with running() as tree:
        tree.spawn_child(scribe("a", journal)).tell_nowait("accepted")
        await tree.stop_child("a")
    assert journal == ["start", "accepted", "stop"]


# Trees


async def test_a_nested_supervisor_that_escalates_is_restarted_by_the_one_above(autojump_clock):
    made = []

    def inner():
        made.append(NamedTree("inner", [scribe("bad", [], intensity=Intensity(1, 60))]))
        return made[-1]

    events = []
    spec = ServiceSpec("inner", inner, backoff=STEADY, stop_timeout=20)
    async with running(spec, scribe("sibling", []), on_event=events.append) as tree:
        for _ in range(2):
            await crash(made[0], "bad")
        await trio.sleep(5)
        assert len(made) == 2
        assert await made[1].named("bad").ask("well?", timeout=1) == ("done", "well?")
        assert not made[0].named("bad").alive
        assert await tree.named("sibling").ask("well?", timeout=1) == ("done", "well?")
        statistics = tree.statistics()
    assert [type(e.error) for e in events if isinstance(e, ChildCrashed)] == [RestartIntensityExceeded]
    # Two crashes of the innermost actor and one of its supervisor: none is lost with the old instance.
    assert statistics.total().crashes == 3


async def test_escalation_goes_up_through_every_level(autojump_clock, nursery):
    never = Intensity(0, 60)
    inner = NamedTree("inner", [scribe("bad", [], intensity=never)])
    middle = NamedTree("middle", [ServiceSpec("inner", lambda: inner, intensity=never)])
    tree = NamedTree("tree", [ServiceSpec("middle", lambda: middle, intensity=never)])

    async def crash_once_up():
        await trio.sleep(1)
        inner.named("bad").tell_nowait("boom")

    nursery.start_soon(crash_once_up)
    with pytest.raises(RestartIntensityExceeded, match="tree/middle") as raised:
        await tree.run()
    chain, error = [], raised.value
    while error is not None:
        chain.append(type(error))
        error = error.__cause__
    assert chain == [RestartIntensityExceeded] * 3 + [Boom]


async def test_an_observer_that_raises_does_not_disturb_supervision(autojump_clock, caplog):
    def observer(event):
        raise RuntimeError("observer is broken")

    async with running(scribe("a", []), on_event=observer) as tree:
        tree.named("a").tell_nowait("boom")
        assert await tree.named("a").ask("fine", timeout=5) == ("done", "fine")
    assert "the observer of tree raised over ChildCrashed" in caplog.text


async def test_without_an_observer_trouble_is_logged_without_contents(autojump_clock, caplog):
    tree = NamedTree("tree", [scribe("a", [])])
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)

        async def secret_crash(_):
            raise Boom

        tree.named("a").tell_nowait(secret_crash)
        await trio.testing.wait_all_tasks_blocked()
        tree.request_stop()
    assert "tree/a crashed, messages dropped: 1" in caplog.text


async def test_statistics_show_the_whole_tree(autojump_clock):
    inner = NamedTree("inner", [scribe("deep", [], mailbox_capacity=7)])

    class Plain:
        async def run(self, *, task_status):
            task_status.started()
            await trio.sleep_forever()

    async with running(ServiceSpec("inner", lambda: inner), ServiceSpec("plain", Plain)) as tree:
        await inner.named("deep").tell("something")
        tree.spawn_child(scribe("dynamic", []))
        await trio.testing.wait_all_tasks_blocked()
        root = tree.statistics()
    assert [(node.name, node.kind, node.state) for node in root.walk()] == [
        ("tree", Kind.SUPERVISOR, State.RUNNING),
        ("inner", Kind.SUPERVISOR, State.RUNNING),
        ("deep", Kind.ACTOR, State.RUNNING),
        ("plain", Kind.SERVICE, State.RUNNING),
        ("dynamic", Kind.ACTOR, State.RUNNING),
    ]
    deep = root.children[0].children[0]
    assert (deep.mailbox.capacity, deep.mailbox.received, deep.mailbox.depth) == (7, 1, 0)
    assert root.children[1].mailbox is None
    assert tree.statistics().state is State.STOPPED


async def test_statistics_can_stop_short_of_thousands_of_children(autojump_clock):
    inner = NamedTree("inner", [scribe("deep", [])])
    async with running(ServiceSpec("inner", lambda: inner)) as tree:
        assert [node.name for node in tree.statistics(levels=0).walk()] == ["tree"]
        assert [node.name for node in tree.statistics(levels=1).walk()] == ["tree", "inner"]
        assert [node.name for node in tree.statistics(levels=2).walk()] == ["tree", "inner", "deep"]
        assert tree.child_statistics("inner") == tree.statistics().children[0]
        with pytest.raises(NoSuchChild):
            tree.child_statistics("deep")
