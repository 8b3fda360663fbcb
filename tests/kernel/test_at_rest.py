"""Tells that an actor takes in the middle of their sender, because it rests: order, crashes, stops, idleness."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.kernel import ActorStopped, ChildCrashed, MailboxFull, Restart
from tests.kernel.support import Boom, Scribe, gate, running, scribe


class Quick(Scribe):
    """Takes texts at rest, marked with "!"; crashes on "boom" there, too; leaves what begins with "later" alone."""

    def on_tell_at_rest(self, message):
        if not isinstance(message, str) or message.startswith("later"):
            return False
        if message == "boom":
            raise Boom(message)
        if message == "to myself":
            self.ref.tell_nowait("from myself")
        if message == "to myself, then boom":
            self.ref.tell_nowait("from myself")
            raise Boom(message)
        self.journal.append(f"{message}!")
        return True


class QuickAndIdle(Quick):
    idle_after = 10

    def on_idle(self):
        self.journal.append("idle?")
        return True


async def test_a_resting_actor_takes_a_tell_before_the_sender_goes_on(autojump_clock):
    journal = []
    async with running(scribe("a", journal, kind=Quick)) as tree:
        await wait_all_tasks_blocked()
        tree.named("a").tell_nowait("one")
        assert journal == ["start", "one!"]
        assert tree.named("a").statistics().received == 1


async def test_what_it_does_not_take_keeps_its_place_before_what_comes_after(autojump_clock):
    journal = []
    async with running(scribe("a", journal, kind=Quick)) as tree:
        await wait_all_tasks_blocked()
        for message in ("one", "later two", "three", "later four"):
            tree.named("a").tell_nowait(message)
        await wait_all_tasks_blocked()
        tree.named("a").tell_nowait("five")
    assert journal == ["start", "one!", "later two", "three", "later four", "five!", "stop"]


async def test_a_busy_actor_is_told_through_its_mailbox_and_its_bound(autojump_clock):
    journal = []
    opened, wait = gate()
    async with running(scribe("a", journal, kind=Quick, mailbox_capacity=1)) as tree:
        ref = tree.named("a")
        await ref.tell(wait)
        await wait_all_tasks_blocked()
        ref.tell_nowait("one")
        with pytest.raises(MailboxFull):
            ref.tell_nowait("two")
        opened.set()
    assert journal == ["start", "one", "stop"]


async def test_what_an_actor_tells_itself_on_the_way_waits_for_its_turn(autojump_clock):
    journal = []
    async with running(scribe("a", journal, kind=Quick)) as tree:
        await wait_all_tasks_blocked()
        tree.named("a").tell_nowait("to myself")
        assert journal == ["start", "to myself!"]
        await wait_all_tasks_blocked()
        tree.named("a").tell_nowait("again")
    assert journal == ["start", "to myself!", "from myself", "again!", "stop"]


async def test_what_an_actor_tells_another_on_the_way_goes_through_the_mailbox(autojump_clock):
    journal = []

    class Forwarding(Quick):
        def on_tell_at_rest(self, message):
            tree.named("b").tell_nowait(f"{message} from a")
            return super().on_tell_at_rest(message)

    async with running(scribe("a", journal, kind=Forwarding), scribe("b", journal, kind=Quick)) as tree:
        await wait_all_tasks_blocked()
        tree.named("a").tell_nowait("one")
        tree.named("b").tell_nowait("two")
        assert journal == ["start", "start", "one!"]
        await wait_all_tasks_blocked()
        tree.named("b").tell_nowait("three")
        assert journal[3:] == ["one from a", "two", "three!"]


async def test_a_message_goes_down_a_chain_of_any_length(autojump_clock):
    length, came, events = 2000, [], []

    class Link(Scribe):
        def on_tell_at_rest(self, message):
            came.append(message)
            if message + 1 < length:
                tree.named(f"{message + 1}").tell_nowait(message + 1)
            return True

        async def on_message(self, message):
            self.on_tell_at_rest(message)

    links = [scribe(f"{number}", [], kind=Link) for number in range(length)]
    async with running(*links, on_event=events.append) as tree:
        await wait_all_tasks_blocked()
        tree.named("0").tell_nowait(0)
        await wait_all_tasks_blocked()
    assert came == list(range(length))
    assert [event for event in events if isinstance(event, ChildCrashed)] == []


@pytest.mark.parametrize("message", ["boom", "to myself, then boom"])
async def test_a_crash_at_rest_is_the_actors_and_not_the_senders(message, autojump_clock):
    journal, events = [], []
    async with running(scribe("a", journal, kind=Quick), on_event=events.append) as tree:
        await wait_all_tasks_blocked()
        ref = tree.named("a")
        ref.tell_nowait(message)
        ref.tell_nowait("next")
        await trio.sleep(5)
        ref.tell_nowait("well again")
        assert ref.statistics().received == 3 + ("to myself" in message)
    (crash,) = [event for event in events if isinstance(event, ChildCrashed)]
    assert isinstance(crash.error, Boom)
    assert crash.dropped == (message,)
    assert [entry for entry in journal if entry != "from myself"] == ["start", "start", "next", "well again!", "stop"]


async def test_after_a_crash_for_good_it_takes_nothing_more(autojump_clock):
    journal = []
    async with running(scribe("a", journal, kind=Quick, restart=Restart.TEMPORARY)) as tree:
        await wait_all_tasks_blocked()
        ref = tree.named("a")
        ref.tell_nowait("boom")
        await ref.wait_stopped()
        with pytest.raises(ActorStopped):
            ref.tell_nowait("one")
    assert journal == ["start"]


async def test_a_crash_while_it_is_asked_to_stop_is_reported_and_ends_it(autojump_clock):
    journal, events = [], []

    class StoppedAtWork(Quick):
        def on_tell_at_rest(self, message):
            tree.request_stop()
            raise Boom(message)

    async with running(scribe("a", journal, kind=StoppedAtWork), on_event=events.append) as tree:
        await wait_all_tasks_blocked()
        tree.named("a").tell_nowait("one")
    assert [event.dropped for event in events if isinstance(event, ChildCrashed)] == [("one",)]


async def test_an_actor_that_is_asked_to_stop_takes_nothing_more(autojump_clock):
    journal = []
    async with running(scribe("a", journal, kind=Quick)) as tree:
        await wait_all_tasks_blocked()
        ref = tree.named("a")
        tree.request_stop()
        await wait_all_tasks_blocked()
        with pytest.raises(ActorStopped):
            ref.tell_nowait("one")
    assert journal == ["start", "stop"]


async def test_messages_that_are_taken_at_rest_put_off_the_end_of_an_idle_actor(autojump_clock):
    journal = []
    async with running() as tree:
        ref = tree.spawn_child(scribe("a", journal, kind=QuickAndIdle))
        for _ in range(5):
            await trio.sleep(7)
            ref.tell_nowait("work")
        assert "idle?" not in journal
        await ref.wait_stopped()
    assert journal == ["start", *["work!"] * 5, "idle?", "stop"]
