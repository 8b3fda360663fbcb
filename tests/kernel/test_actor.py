"""Telling and asking: answers, deadlines, overflow, batches, idleness."""

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from djactors.kernel import (
    Actor,
    ActorCrashed,
    ActorSpec,
    ActorStopped,
    AskTimeout,
    AskUnanswered,
    Envelope,
    MailboxFull,
    Restart,
)
from tests.kernel.support import STEADY, BatchScribe, Boom, NamedTree, Scribe, gate, pause_forever, running, scribe


async def test_an_actor_handles_what_it_is_told_in_order(autojump_clock):
    journal = []
    async with running(scribe("a", journal)) as tree:
        ref = tree.named("a")
        await ref.tell(1)
        ref.tell_nowait(2)
        assert await ref.ask(3, timeout=1) == ("done", 3)
    assert journal == ["start", 1, 2, 3, "stop"]


async def test_an_actor_knows_its_own_ref_before_it_starts(autojump_clock):
    class Selfish(Actor[str, Any]):
        async def on_start(self):
            self.ref.tell_nowait("to myself")

        async def on_message(self, message):
            return self.ref.name, message

    async with running(ActorSpec("self", Selfish)) as tree:
        assert tree.named("self").statistics().received == 1
        assert await tree.named("self").ask("hello", timeout=1) == ("self", "hello")


async def test_an_ask_raises_when_its_deadline_passes_while_it_is_handled(autojump_clock):
    async with running(scribe("a", [])) as tree:
        with pytest.raises(AskTimeout, match="a did not answer within 2 s"):
            await tree.named("a").ask(pause_forever, timeout=2)
        assert trio.current_time() == pytest.approx(2, abs=1e-6)


async def test_the_deadline_of_an_ask_covers_waiting_for_room(autojump_clock):
    opened, wait = gate()
    journal = []
    async with running(scribe("a", journal, mailbox_capacity=1)) as tree:
        ref = tree.named("a")
        await ref.tell(wait)
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait("queued")
        with pytest.raises(AskTimeout):
            await ref.ask("no room", timeout=1)
        opened.set()
    assert "no room" not in journal


async def test_an_answer_after_the_deadline_goes_nowhere(autojump_clock):
    opened, wait = gate()
    async with running(scribe("a", [])) as tree:
        ref = tree.named("a")
        with pytest.raises(AskTimeout):
            await ref.ask(wait, timeout=1)
        opened.set()
        assert await ref.ask("next", timeout=1) == ("done", "next")


async def test_a_full_mailbox_refuses_tell_nowait_and_makes_tell_wait(autojump_clock, nursery):
    opened, wait = gate()
    journal = []
    async with running(scribe("a", journal, mailbox_capacity=1)) as tree:
        ref = tree.named("a")
        await ref.tell(wait)
        await trio.testing.wait_all_tasks_blocked()
        ref.tell_nowait("queued")
        with pytest.raises(MailboxFull):
            ref.tell_nowait("refused")
        with pytest.raises(MailboxFull):
            await ref.ask_nowait("refused", timeout=1)
        nursery.start_soon(ref.tell, "patient")
        await trio.testing.wait_all_tasks_blocked()
        assert ref.statistics().waiting_senders == 1
        assert ref.statistics().refused == 2
        opened.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.ask_nowait("last", timeout=1) == ("done", "last")
    assert journal == ["start", "queued", "patient", "last", "stop"]


async def test_an_actor_under_load_lets_others_run(autojump_clock):
    """Its handler never blocks, so without a bound on its turn it would empty its mailbox in one go."""
    journal = []
    async with running(scribe("a", journal, mailbox_capacity=1_000)) as tree:
        for number in range(1_000):
            tree.named("a").tell_nowait(number)
        for _ in range(4):
            await trio.lowlevel.checkpoint()
        assert 0 < len(journal) < 1_000


async def test_a_dead_actor_refuses_everything(autojump_clock):
    async with running(scribe("a", [])) as tree:
        ref = tree.named("a")
        await tree.stop_child("a")
        assert not ref.alive
        with pytest.raises(ActorStopped, match="a has stopped"):
            await ref.ask("anyone?", timeout=1)
        with pytest.raises(ActorStopped):
            await ref.tell("anyone?")
        with pytest.raises(ActorStopped):
            ref.tell_nowait("anyone?")
        await ref.wait_stopped()


async def test_a_ref_can_be_told_before_the_start(autojump_clock):
    journal = []
    tree = NamedTree("tree", [scribe("a", journal)])
    tree.named("a").tell_nowait("early")
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        tree.request_stop()
    assert journal == ["start", "early", "stop"]


# Requests: asks of senders who have no task to wait in


async def test_a_request_hands_its_answer_or_its_error_to_a_function(autojump_clock):
    answers = []
    async with running(scribe("a", [], restart=Restart.TEMPORARY)) as tree:
        ref = tree.named("a")
        for message in ("fine", "boom", "queued behind"):
            ref.request_nowait(message, answers.append)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ActorStopped):
            ref.request_nowait("late", answers.append)
    (fine, crashed, stopped) = answers
    assert fine == ("done", "fine")
    assert isinstance(crashed, ActorCrashed)
    assert isinstance(stopped, ActorStopped)


async def test_a_reply_function_that_raises_keeps_nobody_else_waiting(autojump_clock, caplog):
    def broken(answer):
        raise Boom

    answers = {}
    async with running(scribe("a", [], stop_timeout=1)) as tree:
        ref = tree.named("a")
        async with trio.open_nursery() as asking:
            for message in (pause_forever, "queued"):
                ref.request_nowait(message, broken)
                asking.start_soon(asked, ref, message, answers)
                await trio.testing.wait_all_tasks_blocked()
            await tree.stop_child("a")
    assert [type(answer) for answer in answers.values()] == [ActorStopped] * 2
    assert "the function for an answer of a raised" in caplog.text


# Batches


def batching(journal: list[Any], **options: Any) -> ActorSpec[Any, Any]:
    return ActorSpec("b", lambda: BatchScribe(journal), **{"backoff": STEADY, **options})


async def test_what_waits_comes_as_batches_up_to_the_limit(autojump_clock):
    journal = []
    async with running(batching(journal)) as tree:
        for number in range(13):
            tree.named("b").tell_nowait(number)
        assert await tree.named("b").ask("last", timeout=1) == ("done", "last")
    assert journal == [list(range(10)), [10, 11, 12, "last"]]


async def asked(ref: Any, message: object, answers: dict[object, object]) -> None:
    try:
        answers[message] = await ref.ask(message, timeout=30)
    except Exception as error:
        answers[message] = error


async def test_poison_in_a_batch_costs_the_unanswered_part_of_that_batch_only(autojump_clock):
    journal, answers = [], {}
    opened = trio.Event()

    class Slow(BatchScribe):
        async def on_start(self):
            await opened.wait()

    async with running() as tree:
        ref = tree.spawn_child(
            ActorSpec("b", lambda: Slow(journal), restart=Restart.TRANSIENT, backoff=STEADY, mailbox_capacity=20)
        )
        async with trio.open_nursery() as asking:
            for message in ["before", "boom", *range(8), "next batch"]:
                asking.start_soon(asked, ref, message, answers)
                await trio.testing.wait_all_tasks_blocked()
            opened.set()
        statistics = tree.statistics().children[0]
    assert answers.pop("before") == ("done", "before")
    assert answers.pop("next batch") == ("done", "next batch")
    assert all(isinstance(answer, ActorCrashed) for answer in answers.values())
    assert isinstance(answers["boom"].__cause__, Boom)
    assert (statistics.crashes, statistics.dropped) == (1, 9)


async def test_one_envelope_can_be_failed_without_a_crash(autojump_clock):
    journal, answers = [], {}
    async with running(batching(journal)) as tree:
        async with trio.open_nursery() as asking:
            for message in ["refused", "fine", "ignored"]:
                asking.start_soon(asked, tree.named("b"), message, answers)
        assert tree.statistics().children[0].crashes == 0
    assert isinstance(answers["refused"], LookupError)
    assert answers["fine"] == ("done", "fine")
    assert isinstance(answers["ignored"], AskUnanswered)


async def test_only_the_first_answer_counts(autojump_clock):
    class Twice(Actor[str, Any]):
        async def on_batch(self, batch: Sequence[Envelope[str, Any]]) -> None:
            for envelope in batch:
                envelope.answer("first")
                envelope.answer("second")
                envelope.fail(ValueError("third"))

    async with running(ActorSpec("twice", Twice)) as tree:
        assert await tree.named("twice").ask("?", timeout=1) == "first"


# Idleness


class Sleepy(Scribe):
    idle_after = 10
    willing = True

    def on_idle(self):
        self.journal.append("idle?")
        return self.willing


async def test_an_idle_actor_stops_and_frees_its_name(autojump_clock):
    journal = []
    async with running() as tree:
        ref = tree.spawn_child(ActorSpec("sleepy", lambda: Sleepy(journal), restart=Restart.TRANSIENT))
        await ref.tell("work")
        await trio.sleep(9)
        assert ref.alive
        await ref.tell("more work")
        await trio.sleep(9)
        assert ref.alive
        await ref.wait_stopped()
        assert trio.current_time() == pytest.approx(19, abs=1e-6)
        assert "sleepy" not in tree
        assert tree.statistics().children == ()
    assert journal == ["start", "work", "more work", "idle?", "stop"]


async def test_an_actor_that_will_not_stop_for_idleness_is_asked_again(autojump_clock):
    class Restless(Sleepy):
        willing = False

    journal = []
    async with running(ActorSpec("restless", lambda: Restless(journal))) as tree:
        await trio.sleep(35)
        assert await tree.named("restless").ask("still there", timeout=1) == ("done", "still there")
    assert journal == ["start", "idle?", "idle?", "idle?", "still there", "stop"]


@pytest.mark.parametrize("attempt", range(10))
async def test_a_message_told_at_the_moment_of_idleness_is_either_handled_or_refused(autojump_clock, attempt):
    """The teller wakes in the same instant as the idle actor, in an order that Trio leaves to chance."""
    journal, refused = [], []
    async with running() as tree:
        ref = tree.spawn_child(ActorSpec("sleepy", lambda: Sleepy(journal), restart=Restart.TRANSIENT))

        async def tell(number):
            await trio.sleep_until(10)
            try:
                ref.tell_nowait(number)
            except ActorStopped:
                refused.append(number)
                # The name is free in the same instant that the ref is closed.
                assert "sleepy" not in tree

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(tell, number)
    handled = [entry for entry in journal if isinstance(entry, int)]
    assert sorted(handled + refused) == list(range(5))
    assert tree.statistics().total().dropped == 0
