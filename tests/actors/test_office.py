"""One colleague's work does not stand before another's: commits, deliveries and turns are bounded by rows (A12)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from djactors.actors import router as router_module
from djactors.actors.announcer import in_order, sort_out
from djactors.actors.command_ref import PublishAll
from djactors.actors.deliveries import Outgoing
from djactors.actors.presence import Presence
from djactors.domain import events
from djactors.domain.commands import Command, Introduce, MarkAllRead, Publish, Published, RaiseAlerts, Recorded, Sliced
from djactors.domain.errors import Code, Refused
from djactors.domain.events import CommentAdded, JobCreated, JobWatched, NotificationRequested
from djactors.domain.marks import Offset
from djactors.domain.permissions import Person
from djactors.kernel import MailboxFull
from djactors.store.errors import StoreUnavailable
from tests.actors.house import House, note, running
from tests.actors.test_lives import Broken
from tests.actors.test_races import Gate

WATCHERS = 1000
LARGEST = 2500
"""Rows of notifications and changes in one commit: a comment to a thousand people, and a little more."""


def watched(tenant_id: int = 1, watchers: int = WATCHERS) -> Publish:
    """A job with many watchers."""
    ids = tuple(range(2000, 2000 + watchers))
    return Publish(JobCreated(tenant_id=tenant_id, title="x", requester_id=1000, watcher_ids=ids))


def comment(text: str = "hello", tenant_id: int = 1, person: Person | None = None) -> Publish:
    event = CommentAdded(tenant_id=tenant_id, job_id=1, actor_id=person.user_id if person else 1000, text=text)
    return Publish(event, person=person)


MOST_WHILE_AWAITED = 270
"""Ordinary events in a commit that somebody else waits for."""


class Commits:
    """What each commit carried out and wrote."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.done: list[list[Command]] = []
        self.rows: list[int] = []
        self._record = house.store.record
        house.store.record = self.record  # type: ignore[method-assign]

    async def record(self, commands: Any, is_awaited: Any) -> Recorded:
        recorded = await self._record(commands, is_awaited)
        self.done.append(list(commands[: len(recorded.outcomes)]))
        changes = [change for changes in recorded.changes.values() for change in changes]
        self.rows.append(len(changes) + sum(change.name == "notification:new" for change in changes))
        return recorded

    def of(self, command: Command) -> int:
        """The number of the commit that carried a command out."""
        return next(index for index, done in enumerate(self.done) if any(each is command for each in done))


async def test_a12_a_batch_of_comments_to_many_is_several_commits_of_bounded_rows_in_order(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        commits = Commits(house)
        batch = [comment(f"{number}") for number in range(12)]
        outcomes = await house.do(*batch)
        assert all(isinstance(outcome, Published) and outcome.notified == WATCHERS for outcome in outcomes)
        assert len(commits.rows) == 12
        assert max(commits.rows) <= LARGEST
        assert [each for done in commits.done for each in done] == batch
        found = await house.log(2000, 0)
        texts = [change.body for change in found if change.name == "notification:new"]
        assert [f'"message":"{number}"'.encode() in body for number, body in enumerate(texts)] == [True] * 12


async def test_a12_another_tenants_post_gets_in_between_the_commits_of_a_batch(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        commits = Commits(house)
        gate = house.store.before_record = Gate()
        batch = [comment(f"{number}") for number in range(30)]
        outcomes = house.send(*batch)
        await wait_all_tasks_blocked()
        others = [note(11, tenant_id=2), MarkAllRead(3, 5), note(11, tenant_id=4)]
        answers = house.send(*others)
        gate.open()
        await wait_all_tasks_blocked()
        assert len(outcomes) == 30
        assert len(answers) == 3
        # The commit that was under way, and the one that was being gathered.
        assert max(commits.of(each) for each in others) <= 2
        assert [len(commits.done[commits.of(each)]) for each in others] == [3] * 3, "no comment is among them"
        assert len(commits.done) == 31


async def test_a12_all_posts_of_another_tenant_get_in_between_two_comments(path: Path, autojump_clock):
    """However many they are, they wait for the comment that is being recorded, and for one more."""
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        commits = Commits(house)
        gate = house.store.before_record = Gate()
        house.send(*[comment(f"{number}") for number in range(30)])
        await wait_all_tasks_blocked()
        others = [note(11, tenant_id=2) for _ in range(50)]
        answers = house.send(*others)
        gate.open()
        await wait_all_tasks_blocked()
        assert [type(answer) for answer in answers] == [Published] * 50
        assert max(commits.of(each) for each in others) <= 2


async def test_a12_two_who_comment_take_turns_with_each_other_and_with_everybody_else(path: Path, autojump_clock):
    mallory = Person(1000, "user")
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched(), comment(person=mallory))
        commits = Commits(house)
        gate = house.store.before_record = Gate()
        theirs, mallorys = [comment() for _ in range(10)], [comment(person=mallory) for _ in range(10)]
        others = [[note(11, tenant_id=2) for _ in range(20)] for _ in range(2)]
        house.send(*theirs, *mallorys)
        await wait_all_tasks_blocked()
        house.send(*others[0])
        gate.open()
        await wait_all_tasks_blocked()
        assert max(commits.of(each) for each in others[0]) <= 3
        by_turn = [commits.of(each) for pair in zip(theirs, mallorys, strict=True) for each in pair]
        assert max(commits.of(mallorys[0]), commits.of(theirs[0])) <= 4
        assert max(abs(commits.of(a) - commits.of(b)) for a, b in zip(theirs, mallorys, strict=True)) <= 3
        assert max(by_turn) == len(commits.done) - 1


async def test_a12_the_senders_of_one_tenant_take_turns_as_well(path: Path, autojump_clock):
    mallory, colleague = Person(1000, "user"), Person(1001, "user")
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched(), Publish(comment().event))
        commits = Commits(house)
        gate = house.store.before_record = Gate()
        house.send(*[comment(person=mallory) for _ in range(20)])
        await wait_all_tasks_blocked()
        theirs = [comment(person=colleague), MarkAllRead(1, 1002), Introduce(1, Person(1003, "user"))]
        house.send(*theirs)
        gate.open()
        await wait_all_tasks_blocked()
        assert max(commits.of(each) for each in theirs) <= 4
        assert len(commits.done) >= 20


async def test_a12_a_small_batch_is_still_one_commit(path: Path, autojump_clock):
    async with running(path) as house:
        people = range(1, 501)
        await house.do(*[note(user_id) for user_id in people])
        commits = Commits(house)
        await house.do(*[note(user_id) for user_id in [*people, *people]])
        assert [len(done) for done in commits.done] == [1000]


async def test_a3_a_batch_ends_its_commit_when_somebody_else_comes_and_others_go_next(path: Path, autojump_clock):
    async with running(path) as house:
        people = range(1, 501)
        await house.do(*[note(user_id) for user_id in [*people, 501]])
        commits = Commits(house)
        gate = house.store.before_record = Gate()
        batch = [note(user_id) for user_id in [*people, *people]]
        outcomes = house.send(*batch)
        await wait_all_tasks_blocked()
        others = [note(501, tenant_id=2), MarkAllRead(1, 501)]
        answers = house.send(*others)
        gate.open()
        await wait_all_tasks_blocked()
        assert len(outcomes) == 1000
        assert len(answers) == 2
        assert len(commits.done[0]) <= MOST_WHILE_AWAITED
        assert [commits.of(each) for each in others] == [1, 1]
        assert [each for done in commits.done for each in done if each not in others] == batch


async def test_a3_the_same_sender_does_not_end_its_own_commit(path: Path, autojump_clock):
    async with running(path) as house:
        people = range(1, 501)
        await house.do(*[note(user_id) for user_id in people])
        commits = Commits(house)
        gate = house.store.before_record = Gate()
        house.send(*[note(user_id) for user_id in [*people, *people]])
        await wait_all_tasks_blocked()
        house.send(*[note(user_id) for user_id in people])
        gate.open()
        await wait_all_tasks_blocked()
        assert [len(done) for done in commits.done] == [1000, 500]


async def test_a3_who_comes_behind_a_batch_is_not_behind_all_of_it(path: Path, autojump_clock):
    """They came while another commit was under way, so nothing of the batch has begun yet."""
    async with running(path) as house:
        people = range(1, 501)
        await house.do(*[note(user_id) for user_id in people])
        commits = Commits(house)
        gate = house.store.before_record = Gate()
        house.send(note(1))
        await wait_all_tasks_blocked()
        house.send(*[note(user_id) for user_id in people])
        others = [note(501, tenant_id=2) for _ in range(10)]
        house.send(*others)
        gate.open()
        await wait_all_tasks_blocked()
        assert {commits.of(each) for each in others} == {1}
        assert max(len(done) for done in commits.done) <= MOST_WHILE_AWAITED


async def test_a3_a_commit_is_bounded_by_bytes_as_well(path: Path, autojump_clock):
    async with running(path) as house:
        commits = Commits(house)
        batch = [
            Publish(
                NotificationRequested(
                    tenant_id=1,
                    user_id=user_id,
                    notification_type="note",
                    priority="LOW",
                    title="Hello",
                    message="x" * 4000,
                )
            )
            for user_id in range(1, 801)
        ]
        assert {type(outcome) for outcome in await house.do(*batch)} == {Published}
        assert [each for done in commits.done for each in done] == batch
        assert max(len(done) for done in commits.done) <= 400


async def test_a12_whoever_comes_between_two_comments_goes_before_the_second(path: Path, autojump_clock):
    """They do not wait for the commit that they have just missed, and then for a comment as well."""
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        commits = Commits(house)
        gate = house.store.before_record = Gate()
        comments = [comment() for _ in range(10)]
        house.send(*comments)
        await wait_all_tasks_blocked()
        others = [note(11, tenant_id=2), note(12, tenant_id=2)]
        house.send(others[0])
        record = house.store.record

        async def with_another(commands: Any, is_awaited: Any) -> Recorded:
            if commands[0] is others[0]:
                house.send(others[1])
            return await record(commands, is_awaited)

        house.store.record = with_another  # type: ignore[method-assign]
        gate.open()
        await wait_all_tasks_blocked()
        first, second = map(commits.of, others)
        assert first <= 2
        assert second == first + 1
        assert [each for done in commits.done for each in done if each not in others] == comments


async def test_a12_what_was_published_together_is_answered_together_whatever_commits_it_took(
    path: Path, autojump_clock
):
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        commits = Commits(house)
        outcomes = await house.router.ask(PublishAll((note(11), *[comment() for _ in range(5)], note(12))), timeout=60)
        assert [type(outcome) for outcome in outcomes] == [Published] * 7
        assert len(commits.done) >= 3


async def test_a12_a_store_that_fails_in_the_middle_fails_what_was_not_committed_only(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        together: list[Any] = []
        gate = house.store.before_record = Gate()
        house.router.request_nowait(PublishAll(tuple(comment() for _ in range(5))), together.append)  # type: ignore[call-overload]
        await wait_all_tasks_blocked()
        house.store.before_record = Broken(1)
        gate.open()
        await wait_all_tasks_blocked()
        [outcomes] = together
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds == [Published] + [StoreUnavailable] * 4
        assert len({id(outcome) for outcome in outcomes}) == 5
        [later] = await house.do(note(11))
        assert isinstance(later, Published)


async def test_a12_a_command_that_fails_in_a_bounded_commit_fails_alone(path: Path, autojump_clock):
    poison = Publish(JobCreated(tenant_id=1, title="x", requester_id=1, project_id=2**70), decoded=True)
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        commits = Commits(house)
        outcomes = await house.do(comment(), poison, comment(), comment(), comment())
        assert [type(outcome) for outcome in outcomes] == [Published, OverflowError, *[Published] * 3]
        assert max(commits.rows) <= LARGEST


async def test_a12_what_is_put_off_is_bounded_and_leaves_room_for_others(
    path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(router_module, "PUT_OFF", 20)
    monkeypatch.setattr(router_module, "PUT_OFF_OF_A_TENANT", 10)
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        gate = house.store.before_record = Gate()
        outcomes = house.send(*[comment() for _ in range(8)])
        await wait_all_tasks_blocked()
        more = house.send(*[comment() for _ in range(10)])
        answers = house.send(*[note(11, tenant_id=2) for _ in range(5)])
        gate.open()
        await wait_all_tasks_blocked()
        assert [type(each) for each in outcomes] == [Published] * 8
        assert {type(each) for each in more} == {Published, MailboxFull}
        assert [type(each) for each in answers] == [Published] * 5


async def test_a12_the_clock_is_never_refused_for_what_others_have_put_off(
    path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(router_module, "PUT_OFF", 1)
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        outcomes = await house.do(*[comment() for _ in range(4)], RaiseAlerts(10))
        assert isinstance(outcomes[-1], Sliced)


async def test_a12_a_router_that_stops_finishes_what_it_has_put_off(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        outcomes = house.send(*[comment() for _ in range(6)])
    assert [type(outcome) for outcome in outcomes] == [Published] * 6


async def test_a12_what_was_put_off_when_the_router_crashes_is_told_so(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        await house.do(watched())
        record, calls = house.store.record, 0

        async def absurd(commands: Any, is_awaited: Any) -> Recorded:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise RuntimeError("absurd")
            return await record(commands, is_awaited)

        house.store.record = absurd  # type: ignore[method-assign]
        outcomes = house.send(*[comment() for _ in range(6)])
        await wait_all_tasks_blocked()
        assert len(outcomes) == 6
        assert [isinstance(outcome, Published) for outcome in outcomes] == [True] + [False] * 5


async def test_a12_the_watchers_of_a_job_are_bounded(path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "MAX_JOB_WATCHERS", 3)
    async with running(path) as house:
        await house.do(watched(watchers=2))
        watch = [Publish(JobWatched(tenant_id=1, job_id=1, user_id=user_id)) for user_id in (11, 12, 11)]
        outcomes = await house.do(*watch)
        assert [type(outcome) for outcome in outcomes] == [Published, Refused, Published]
        assert outcomes[1].code is Code.CONFLICT


# Sorting out


def changes(owners: Iterable[int | None]) -> list[Outgoing]:
    return [Outgoing("x", b"{}", Offset(0, number), owner) for number, owner in enumerate(owners, 1)]


async def test_a12_sorting_out_is_a_step_for_each_change() -> None:
    """Many changes for everyone among many people's own: not the product of both, in one turn."""
    people = range(1, 501)
    present = dict.fromkeys(people, Presence(1, Person(1, "user")))
    told = changes([*people, *[None] * 500])
    own, shared = sort_out(told, present)
    assert sum(map(len, own.values())) + len(shared) == len(told)


async def test_a12_each_user_sees_the_order_of_the_log() -> None:
    present = dict.fromkeys((1, 2), Presence(1, Person(1, "user")))
    own, shared = sort_out(changes([None, 1, 3, None, 2, 1, None]), present)
    seen = {user_id: [change.at.seq for change in in_order(mine, shared)] for user_id, mine in own.items()}
    assert seen == {1: [1, 2, 4, 6, 7], 2: [1, 4, 5, 7]}
