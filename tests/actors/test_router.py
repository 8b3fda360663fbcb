"""The router: a batch is a commit, an answer comes after it, and one sender's trouble is not another's."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.command_ref import PublishAll
from djactors.domain.commands import Command, Counted, MarkAllRead, MarkRead, Publish, Published
from djactors.domain.errors import Refused
from djactors.domain.events import JobApproved, JobCreated
from djactors.domain.permissions import Person
from djactors.inbox import reading
from djactors.kernel import MailboxFull
from djactors.store.errors import StoreUnavailable
from tests.actors.house import note, running
from tests.actors.test_lives import Broken
from tests.actors.test_races import Gate

NOBODYS = Publish(JobApproved(tenant_id=1, job_id=5), person=Person(3, "user", "Jo"))
POISON = Publish(JobCreated(tenant_id=1, title="x", requester_id=1, project_id=2**70), decoded=True)


async def test_what_comes_at_once_is_one_commit_and_what_comes_meanwhile_the_next(path: Path, autojump_clock):
    async with running(path) as house:
        gate = house.store.before_record = Gate()
        first = house.send(note(11))
        await wait_all_tasks_blocked()
        second = house.send(note(11), note(11), MarkAllRead(1, 11))
        third = house.send(note(12))
        await wait_all_tasks_blocked()
        assert (first, second, third) == ([], [], [])
        gate.open()
        await wait_all_tasks_blocked()
        assert house.store.batches == [1, 4]
        assert [type(outcome) for outcome in first + second + third] == [
            Published,
            Published,
            Published,
            Counted,
            Published,
        ]


async def test_a_batch_is_no_larger_than_the_setting(path: Path, autojump_clock):
    async with running(path, commit_batch=3) as house:
        await house.do(*[note(11) for _ in range(8)])
        assert house.store.batches == [3, 3, 2]


async def test_while_commands_come_together_a_commit_waits_a_moment_for_more(path: Path, autojump_clock):
    async with running(path, commit_delay=0.5) as house:
        await house.do(note(11), note(12))
        outcomes = house.send(note(11))
        await trio.sleep(0.25)
        assert outcomes == []
        await house.do(note(12))
        assert house.store.batches == [2, 2]
        outcomes = house.send(note(11))
        await trio.sleep(0.499)
        assert outcomes == []
        await trio.sleep(0.002)
        assert len(outcomes) == 1
        await house.do(note(11))
        assert house.store.batches == [2, 2, 1, 1]


async def test_nobody_is_told_or_answered_before_the_commit(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        gate = house.store.before_record = Gate()
        outcomes = house.send(note(11))
        await wait_all_tasks_blocked()
        assert outcomes == []
        assert socket.new == []
        gate.open()
        await wait_all_tasks_blocked()
        assert socket.new == [1]
        assert len(outcomes) == 1


async def test_a_commit_that_the_store_could_not_make_fails_the_whole_batch_and_nothing_else(
    path: Path, autojump_clock
):
    async with running(path) as house:
        socket = await house.connected(11)
        house.store.before_record = Broken(1)
        failed = await house.do(note(11), MarkRead(1, 11, 1), note(11))
        assert [type(outcome) for outcome in failed] == [StoreUnavailable] * 3
        assert len({id(error) for error in failed}) == 3, "each waiter gets an exception of its own"
        assert {str(error) for error in failed} == {"the disk is full"}
        assert socket.new == []
        (outcome,) = await house.do(note(11))
        assert isinstance(outcome, Published)
        assert socket.new == [1]
        assert house.metric("djactors_actor_restarts_total", actor="user") == 0


async def test_a_refused_or_poisonous_command_fails_alone(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        outcomes = await house.do(note(11), MarkRead(1, 11, 99), POISON, note(11))
        assert [type(outcome) for outcome in outcomes] == [Published, Refused, OverflowError, Published]
        assert socket.new == [1, 2]
        assert socket.counts == [0, 2]
        assert house.metric("djactors_domain_events_total", type="job.created", outcome="failed") == 1
        assert house.metric("djactors_inbox_commands_total", name="MarkRead", outcome="refused") == 1
        assert house.metric("djactors_domain_events_total", type="notification.requested", outcome="recorded") == 2


async def test_what_is_published_together_is_one_commit_with_an_outcome_for_each(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        events = (note(11), POISON, NOBODYS, note(12))
        outcomes = await house.router.ask(PublishAll(events), timeout=60)
        assert [type(outcome) for outcome in outcomes] == [Published, OverflowError, Refused, Published]
        assert house.store.batches[-1] == 4
        await wait_all_tasks_blocked()
        assert socket.new == [1]
        assert house.metric("djactors_commit_commands_sum") == sum(house.store.batches)
        assert house.metric("djactors_domain_events_total", type="notification.requested", outcome="recorded") == 2
        assert house.metric("djactors_domain_events_total", type="job.created", outcome="failed") == 1


async def test_what_is_published_together_is_never_split(path: Path, autojump_clock):
    async with running(path, commit_batch=4) as house:
        results: list[object] = []
        for messages in (note(11), PublishAll((note(11),) * 3), PublishAll((note(11),) * 2), note(11)):
            house.router.request_nowait(messages, results.append)
        await wait_all_tasks_blocked()
        assert house.store.batches == [4, 3]
        assert [len(result) if isinstance(result, list) else type(result) for result in results] == [
            Published,
            3,
            2,
            Published,
        ]


async def test_what_is_published_together_fails_together_where_the_store_cannot_commit(path: Path, autojump_clock):
    async with running(path) as house:
        house.store.before_record = Broken(1)
        with pytest.raises(StoreUnavailable):
            await house.router.ask(PublishAll((note(11), note(12))), timeout=60)
        assert (await house.store.store.snapshot(1, 11)).unread == 0
        assert house.metric("djactors_domain_events_total", type="notification.requested", outcome="unavailable") == 2


async def test_a_retry_is_answered_and_nobody_is_told_again(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        keyed = Publish(note(11).event, "k")
        (first,) = await house.do(keyed)
        (again,) = await house.do(keyed)
        assert (first.answer, again.repeated) == (again.answer, True)
        assert len(socket.writes) == 2


async def test_row_25_a_full_router_refuses_at_once_and_forgets_nothing_that_it_took(path: Path, autojump_clock):
    async with running(path, router_mailbox=3) as house:
        gate = house.store.before_record = Gate()
        outcomes = house.send(note(11))
        await wait_all_tasks_blocked()
        outcomes = house.send(note(11), note(11), note(11))
        with pytest.raises(MailboxFull):
            house.send(note(11))
        gate.open()
        await wait_all_tasks_blocked()
        assert len(outcomes) == 3
        assert (await house.store.store.snapshot(1, 11)).unread == 4


async def test_a_sender_who_gives_up_does_not_hurt_the_others(path: Path, autojump_clock):
    async with running(path) as house:
        gate = house.store.before_record = Gate()
        with trio.move_on_after(1) as scope:
            await house.router.ask(note(11), timeout=60)
        assert scope.cancelled_caught
        outcomes = house.send(note(11))
        gate.open()
        await wait_all_tasks_blocked()
        assert len(outcomes) == 1
        assert (await house.store.store.snapshot(1, 11)).unread == 2


async def test_answers_come_after_the_users_actors_were_told(path: Path, autojump_clock):
    """Whoever publishes and then connects sees their own write."""
    async with running(path) as house:
        seen: list[int] = []

        def answered(outcome: object) -> None:
            assert isinstance(outcome, Published)
            seen.append(house.connect(11).writes.__len__())

        house.router.request_nowait(note(11), answered)
        await wait_all_tasks_blocked()
        assert seen == [0]
        socket = await house.connected(11)
        assert socket.counts == [1]


async def test_a_store_that_raises_what_it_never_should_costs_one_batch(path: Path, autojump_clock):
    async with running(path) as house:
        calls = 0

        async def absurd(commands: Sequence[Command], is_awaited: Callable[[], bool]) -> object:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("absurd")
            return await house.store.store.record(commands, is_awaited)

        house.store.record = absurd  # type: ignore[method-assign,assignment]
        (failed,) = await house.do(note(11))
        assert isinstance(failed, Exception)
        await trio.sleep(5)
        (outcome,) = await house.do(note(11))
        assert isinstance(outcome, Published)


async def test_a_long_reading_is_done_in_several_commits_and_answered_at_the_end(
    path: Path, autojump_clock, monkeypatch
):
    monkeypatch.setattr(reading, "READ_SLICE", 2)
    async with running(path) as house:
        await house.do(*[note(11)] * 5)
        socket = await house.connected(11)
        before = len(house.store.batches)
        reader, backend = house.send(MarkAllRead(1, 11), MarkAllRead(1, 11)), house.send(note(12), note(12))
        await wait_all_tasks_blocked()
        assert reader == [Counted(0, 0)] * 2
        assert [type(outcome) for outcome in backend] == [Published] * 2
        assert len(house.store.batches) - before >= 3
        assert socket.counts == [5, 3, 1, 0]
