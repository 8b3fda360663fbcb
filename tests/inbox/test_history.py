"""The inbox as it was: what the log says happened, and what the rows say was there, are the same at every number."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest

from djactors.domain.commands import Delete, ExpireSlice, MarkAllRead, MarkRead, Publish, PurgeSlice, SendSummaries
from djactors.domain.events import CommentAdded, JobCreated, NotificationRequested
from djactors.domain.limits import Limits
from djactors.inbox.history import OutOfReachError, inbox_at
from djactors.inbox.recorder import Recorder
from tests.inbox.desk import Desk

PEOPLE = {1: (11, 12, 13), 2: (21, 22)}


def note(user_id: int, tenant_id: int = 1) -> Publish:
    return Publish(
        NotificationRequested(
            tenant_id=tenant_id, user_id=user_id, notification_type="note", priority="LOW", title=f"for {user_id}"
        )
    )


def replayed(desk: Desk, tenant_id: int, user_id: int) -> list[tuple[int, dict[int, bool]]]:
    """For each sequence number the inbox that a client has which applied the log: id -> read."""
    inbox: dict[int, bool] = {}
    states = [(0, dict(inbox))]
    for change in desk.since(tenant_id, user_id, 0, 100_000):
        body = json.loads(change.body)
        match change.name:
            case "notification:new":
                assert body["id"] not in inbox
                inbox[body["id"]] = False
            case "notification:read":
                for id_ in list(inbox) if body.get("all") else body["notificationIds"]:
                    inbox[id_] = True
            case "notification:deleted":
                for id_ in body["notificationIds"]:
                    del inbox[id_]
            case _:
                pass
        states.append((change.offset.seq, dict(inbox)))
    return states


@pytest.mark.parametrize("seed", range(5))
def test_the_inbox_and_the_count_are_those_of_the_log_at_every_number(desk: Desk, seed: int):
    """Reads, deletions, expiry, the daily limit's summaries and collapsed bursts among them."""
    desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=12, collapse_bursts=True))
    dice = random.Random(seed)
    for tenant_id, people in PEOPLE.items():
        for n in (1, 2):
            desk.record(
                Publish(JobCreated(tenant_id=tenant_id, title=f"job {n}", requester_id=people[0], watcher_ids=people))
            )
    counts: dict[tuple[int, int], dict[int, int]] = {}
    for _ in range(250):
        tenant_id = dice.choice((1, 2))
        user_id = dice.choice(PEOPLE[tenant_id])
        own = [row[0] for row in desk.rows("SELECT id FROM notifications WHERE user_id = ?", user_id)]
        id_ = dice.choice(own or [1])
        command = dice.choice(
            [
                note(user_id, tenant_id),
                note(user_id, tenant_id),
                Publish(CommentAdded(tenant_id=tenant_id, actor_id=user_id, job_id=dice.choice((1, 2)), text="Hm")),
                MarkRead(tenant_id, user_id, id_),
                Delete(tenant_id, user_id, id_),
                MarkAllRead(tenant_id, user_id),
                ExpireSlice(dice.choice((3, 50))),
                SendSummaries(10),
            ]
        )
        recorded = desk.record(command)
        for (tenant, user), count in recorded.unread.items():
            seq = desk.one("SELECT max(seq) FROM changes WHERE tenant_id = ?", tenant)
            counts.setdefault((tenant, user), {})[seq] = count
        desk.now += timedelta(hours=dice.choice((0, 1, 30)))

    reasons = {row[0] for row in desk.rows("SELECT DISTINCT removed_reason FROM notifications")}
    assert reasons == {None, "deleted", "expired", "replaced"}
    for tenant_id, people in PEOPLE.items():
        for user_id in people:
            for seq, inbox in replayed(desk, tenant_id, user_id):
                past = inbox_at(desk.connection, tenant_id, user_id, seq)
                assert {item.id: item.read_at is not None for item in past.items} == inbox
                assert past.unread == counts.get((tenant_id, user_id), {}).get(seq, past.unread)
                assert [item.id for item in past.items] == sorted(inbox, reverse=True)


def test_now_is_the_newest_moment(desk: Desk):
    desk.record(note(11), note(11))
    desk.record(MarkRead(1, 11, 1))
    past = inbox_at(desk.connection, 1, 11, None)
    assert (past.seq, past.newest, past.unread, [item.id for item in past.items]) == (3, 3, 1, [2, 1])


def test_somebody_elses_inbox_is_not_looked_into(desk: Desk):
    desk.record(note(11), note(12), note(21, 2))
    desk.record(Delete(1, 12, 2))
    assert [item.title for item in inbox_at(desk.connection, 1, 11, 1).items] == ["for 11"]
    assert [item.title for item in inbox_at(desk.connection, 1, 12, 2).items] == ["for 12"]


@pytest.mark.parametrize(
    ("tenant_id", "user_id", "seq", "words"),
    [
        (3, 11, None, "--tenant: there is no tenant 3"),
        (1, 21, None, "--user: tenant 1 has no user 21"),
        (1, 99, 0, "--user: tenant 1 has no user 99"),
        (1, 11, 3, "--at: 3 has not happened yet: the newest is 2"),
    ],
)
def test_what_there_is_not_is_said(desk: Desk, tenant_id: int, user_id: int, seq: int | None, words: str):
    desk.record(note(11), note(11), note(21, 2))
    with pytest.raises(OutOfReachError, match=words):
        inbox_at(desk.connection, tenant_id, user_id, seq)


def test_what_is_older_than_the_log_is_an_error_and_never_a_guess(desk: Desk):
    desk.record(note(11), note(11))
    desk.record(Delete(1, 11, 1))
    desk.now += timedelta(days=8)
    desk.record(note(11))
    desk.record(PurgeSlice("changes", timedelta(days=7), 100))
    desk.record(PurgeSlice("notifications", timedelta(days=7), 100))
    with pytest.raises(OutOfReachError, match="--at: 2 is older than the log reaches: the oldest is 3"):
        inbox_at(desk.connection, 1, 11, 2)
    assert [item.id for item in inbox_at(desk.connection, 1, 11, 3).items] == [2]
    assert [item.id for item in inbox_at(desk.connection, 1, 11, 4).items] == [3, 2]
