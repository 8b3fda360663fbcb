"""A person is erased: what the rows have afterwards, on both engines."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import timedelta
from typing import Any

import pytest

from djactors.domain.commands import Erased, EraseSlice, Introduce, MuteJob, Publish, Published, PurgeSlice, Swept
from djactors.domain.erasure import ERASED, Rewording, stand_in
from djactors.domain.errors import Code
from djactors.domain.events import (
    CommentAdded,
    JobAssigned,
    JobCreated,
    JobRejected,
    JobSubmitted,
    NotificationRequested,
    UserUpserted,
)
from djactors.domain.limits import Limits
from djactors.domain.permissions import Person
from djactors.inbox import erasure, history, log, people, person
from djactors.inbox.log import Astray
from djactors.inbox.recorder import Recorder
from tests.engines import TABLES
from tests.history.chain import judge_marks
from tests.inbox.desk import Desk
from tests.offsets import offset_in

T, ANN, BO, CY = 1, 7, 8, 9
NAME = "Ann Éxample"
LIMITS = [1, 3, 1000]


def publish(desk: Desk, event: Any, key: str | None = None, by: int | None = None) -> dict[str, Any]:
    person_ = None if by is None else Person(by, "manager")
    outcome = desk.do(Publish(event, key, person_, with_job=isinstance(event, JobCreated)))
    assert isinstance(outcome, Published)
    answer: dict[str, Any] = json.loads(outcome.answer)
    return answer


@pytest.fixture
def lived(desk: Desk) -> Desk:
    """A tenant in which Ann has left traces everywhere, and another one with a person of her name and number."""
    desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=20), node="desk")
    for tenant in (T, 2):
        for user_id, name in ((ANN, NAME), (BO, "Bo Other"), (CY, "Cy Third")):
            publish(desk, UserUpserted(tenant_id=tenant, user_id=user_id, name=name, role="manager"))
    publish(desk, UserUpserted(tenant_id=T, user_id=ANN, name="Annette Earlier", role="manager"))
    publish(desk, CommentAdded(tenant_id=T, job_id=5, actor_id=BO, text="first"))
    publish(desk, CommentAdded(tenant_id=T, job_id=5, actor_id=ANN, text="said under the earlier name"))
    publish(desk, UserUpserted(tenant_id=T, user_id=ANN, name=NAME, role="manager"))
    made = JobCreated(
        tenant_id=T,
        job_id=6,
        dj_id="DJ-6",
        title="Roof of ANN éxample",
        requester_id=ANN,
        assignee_id=BO,
        approver_id=ANN,
    )
    publish(desk, made, "made-by-ann", ANN)
    publish(
        desk, CommentAdded(tenant_id=T, job_id=6, actor_id=BO, text="@ann éxample, please", mentions=(ANN,)), "bo-1"
    )
    publish(desk, CommentAdded(tenant_id=T, job_id=6, actor_id=ANN, text="secret words", mentions=(BO, CY)))
    publish(desk, JobSubmitted(tenant_id=T, job_id=6, actor_id=BO))
    publish(desk, JobRejected(tenant_id=T, job_id=6, actor_id=ANN, reason="secret reason"))
    publish(desk, JobAssigned(tenant_id=T, job_id=6, assignee_id=ANN, actor_id=BO))
    publish(desk, JobAssigned(tenant_id=T, job_id=6, assignee_id=BO, actor_id=CY), "cy-1")
    desk.do(MuteJob(T, ANN, 6))
    for tenant in (T, 2):
        asked = NotificationRequested(
            tenant_id=tenant,
            user_id=BO,
            notification_type="note",
            priority="LOW",
            title=f"{NAME} asks",
            message=f"Annual? No: {NAME}!",
            data={"who": [NAME, 1.5], "same": None},
        )
        publish(desk, asked)
    # Beyond the limit of a day, so that something of hers is held back.
    for _ in range(30):
        publish(
            desk,
            NotificationRequested(tenant_id=T, user_id=ANN, notification_type="note", priority="LOW", title="to Ann"),
        )
    assert desk.one("SELECT count(*) FROM user_days WHERE user_id = ?", ANN) == 1
    return desk


def erase(desk: Desk, limit: int = 1000, names: tuple[str, ...] = (), user_id: int = ANN) -> dict[str, int]:
    rows: dict[str, int] = {}
    after: Swept | None = Swept()
    for _ in range(2000):
        outcome = desk.do(EraseSlice(T, user_id, names, limit, after))
        assert isinstance(outcome, Erased)
        for table, number in outcome.rows.items():
            rows[table] = rows.get(table, 0) + number
        after = outcome.after
        if after is None:
            return rows
    raise AssertionError("never ends")


def everything(desk: Desk, tenant: int) -> str:
    found = []
    for table, columns in TABLES.items():
        if table == "tenants":
            continue
        if "tenant_id" in columns:
            found += desk.rows(f"SELECT {', '.join(columns)} FROM {table} WHERE tenant_id = ?", tenant)
    return repr(found)


@pytest.mark.parametrize("limit", LIMITS)
def test_nothing_of_the_person_is_left(lived: Desk, limit: int) -> None:
    other = everything(lived, 2)
    rows = erase(lived, limit, ("annette earlier",))
    left = everything(lived, T).casefold()
    for words in (NAME, "Annette", "secret", "earlier name", "made-by-ann", "to Ann", "ann example"):
        assert words.casefold() not in left
    assert everything(lived, 2) == other
    assert rows.keys() == {
        *("changes", "comment_mentions", "domain_events", "job_comments", "job_mutes", "job_watchers", "jobs"),
        *("notifications", "people_names", "suppressions", "user_days", "users"),
    }
    assert lived.rows("SELECT title FROM jobs WHERE tenant_id = ? AND id = 6", T) == [("Roof of Erased user 7",)]
    assert [text for (text,) in lived.rows("SELECT text FROM job_comments ORDER BY id")] == [
        *("first", ERASED, "@Erased user 7, please", ERASED)
    ]
    told = lived.rows("SELECT type, title, message, data FROM notifications WHERE tenant_id = ? AND user_id = ?", T, BO)
    found = {(kind, title): (message, json.loads(data)) for kind, title, message, data in told}
    assert found["comment_added", "Erased user 7 commented on Job 5"][0] == ERASED
    assert found["mentioned", "Erased user 7 mentioned you in DJ-6"][0] == ERASED
    message, data = found["approval_rejected", "DJ-6 rejected"]
    assert (message, data["reason"]) == (ERASED, ERASED)
    note = found["note", "Erased user 7 asks"]
    assert note == ("Annual? No: Erased user 7!", {"who": ["Erased user 7", 1.5], "same": None})
    assert "DJ-6 assigned to you" in {title for _, title in found}


def test_the_log_ends_and_goes_on(lived: Desk) -> None:
    before = offset_in(lived.connection, lived.one("SELECT max(seq) FROM changes WHERE tenant_id = ?", T), T)
    other = offset_in(lived.connection, lived.one("SELECT max(seq) FROM changes WHERE tenant_id = 2"), 2)
    recorded = lived.record(EraseSlice(T, ANN))
    assert recorded.ended_in == {T}
    assert [change.user_id for change in recorded.changes[T]] == [ANN]
    end = log.reach(lived.connection, T)
    assert end.last == end.oldest
    assert end.last.seq == before.seq + 1
    for offset in (before, offset_in(lived.connection, 0, T)):
        assert log.replay(lived.connection, T, BO, offset, limit=10) is Astray.SINCE
    assert log.replay(lived.connection, 2, BO, other, limit=10) is not Astray.SINCE
    publish(lived, JobAssigned(tenant_id=T, job_id=6, assignee_id=CY, actor_id=BO), "bo-2")
    assert [name for _, name, _ in _told(lived, CY, end.last)][-1] == "job:updated"
    assert list(judge_marks(lived.connection)) == []
    now = history.inbox_at(lived.connection, T, BO, None)
    assert {item.title for item in now.items} >= {"Erased user 7 asks"}
    assert history.inbox_at(lived.connection, T, BO, end.last.seq).items == now.items
    with pytest.raises(history.OutOfReachError, match="older than the log"):
        history.inbox_at(lived.connection, T, BO, before.seq)
    # Rows that left the inbox can still be purged, and ids are not given twice.
    lived.do(PurgeSlice("notifications", timedelta(0), 100))


def _told(desk: Desk, user_id: int, since: Any) -> list[tuple[int | None, str, Any]]:
    found = log.replay(desk.connection, T, user_id, since, limit=100)
    assert not isinstance(found, Astray)
    return [(change.user_id, change.name, json.loads(change.body)) for change in found.changes]


def test_the_person_can_do_nothing_from_the_first_slice_on(lived: Desk) -> None:
    outcome = lived.do(EraseSlice(T, ANN, limit=1))
    assert isinstance(outcome, Erased)
    assert outcome.after is not None
    assert lived.rows("SELECT name, deactivated_at FROM users WHERE tenant_id = ? AND id = ?", T, ANN)[0][0] == NAME
    (account,) = lived.record(EraseSlice(T, ANN, limit=1)).accounts.values() or [None]
    assert account is None or not account.active
    refused = lived.refusal(JobAssigned(tenant_id=T, job_id=6, assignee_id=ANN, actor_id=BO))
    assert refused.code is Code.CONFLICT


def test_what_comes_in_while_it_goes_on_is_erased_as_well(lived: Desk) -> None:
    after: Swept | None = Swept()
    count = 0
    while after is not None:
        outcome = lived.do(EraseSlice(T, ANN, limit=40, after=after))
        assert isinstance(outcome, Erased)
        after = outcome.after
        count += 1
        if after is not None:
            # A backend may tell late of what she did.
            publish(lived, CommentAdded(tenant_id=T, job_id=6, actor_id=ANN, text=f"late secret {count}"), f"k{count}")
    assert count > 3
    assert "secret" not in everything(lived, T)
    assert NAME not in everything(lived, T)
    assert list(judge_marks(lived.connection)) == []


def test_again_is_harmless_and_an_interrupted_one_goes_on(lived: Desk) -> None:
    for _ in range(20):
        lived.do(EraseSlice(T, ANN, limit=5))
    erase(lived)
    assert NAME not in everything(lived, T)
    dumped = lived.rows("SELECT name, role, unread_count FROM users WHERE tenant_id = ? AND id = ?", T, ANN)
    assert dumped == [(stand_in(ANN), "user", 0)]
    assert erase(lived).keys() <= {"people_names", "suppressions"}
    assert lived.rows("SELECT name, role, unread_count FROM users WHERE tenant_id = ? AND id = ?", T, ANN) == dumped


def test_ids_are_never_given_twice(lived: Desk) -> None:
    highest = lived.one("SELECT max(id) FROM notifications")
    assert lived.one("SELECT user_id FROM notifications WHERE id = ?", highest) == ANN
    erase(lived)
    answer = publish(
        lived,
        NotificationRequested(tenant_id=T, user_id=BO, notification_type="note", priority="LOW", title="new"),
    )
    assert answer["notifications"][0]["id"] > highest


def test_she_is_found_by_the_stand_in_only(lived: Desk) -> None:
    erase(lived)
    assert _found(lived, "ann") == []
    assert _found(lived, "erased") == [(ANN, "Erased user 7", False)]


def _found(desk: Desk, query: str) -> list[tuple[int, str, bool]]:
    page = people.page(desk.connection, tenant_id=T, query=query, before=None, limit=10, now=desk.now.timestamp())
    return [(item.id, item.name, item.active) for item in page.items]


def test_a_namesake_keeps_the_name_in_the_texts_of_others(lived: Desk) -> None:
    publish(lived, UserUpserted(tenant_id=T, user_id=10, name=NAME.upper(), role="user"))
    outcome = lived.do(EraseSlice(T, ANN))
    assert isinstance(outcome, Erased)
    assert outcome.namesake
    left = everything(lived, T)
    assert "@ann éxample, please" in left
    assert "secret" not in left
    told = [title for (title,) in lived.rows("SELECT title FROM notifications WHERE tenant_id = ?", T)]
    assert f"{NAME} asks" in told
    assert "Erased user 7 mentioned you in DJ-6" in told


def test_nobody_is_not_found(desk: Desk) -> None:
    desk.do(Introduce(T, Person(BO, "user")))
    assert desk.refusal(EraseSlice(T, ANN)).code is Code.NOT_FOUND
    assert desk.refusal(EraseSlice(3, BO)).code is Code.NOT_FOUND
    assert desk.refusal(EraseSlice(T, BO, ("",))).code is Code.INVALID


def test_every_column_that_may_name_somebody_is_thought_of() -> None:
    """A new table or column has to be put into the docstring of `erasure`, and into what a person is given out."""
    said = erasure.__doc__ or ""
    selects = " ".join(section.select for section in person.SECTIONS)
    given = {table for table in TABLES if re.search(rf"(FROM|JOIN) {table}\b", selects)}
    for table, columns in TABLES.items():
        assert table in said, table
        if {"user_id", "author_id", "actor_id", "notification_id"} & set(columns):
            assert table in given, table


@pytest.mark.parametrize(
    ("names", "text", "reworded"),
    [
        ((NAME,), "ask ANN  ÉXAMPLE!", "ask X!"),
        (("Ann",), "Annual Ann ann-ex @ann", "Annual X ann-ex @X"),
        (("สมชาย ใจดี",), "คุณสมชาย ใจดีครับ", "คุณXครับ"),
        (("李明",), "请李明说", "请X说"),
        (("A",), "A @a", "A @a"),
        (("Will",), "Will it? I will. @will, ask Will", "X it? I will. @X, ask X"),
        ((unicodedata.normalize("NFD", NAME),), NAME, "X"),
        ((NAME,), unicodedata.normalize("NFD", NAME), "X"),
        ((r"A\1 B",), r"A\1 B", "X"),
        (("A.B. (x)",), "is A.B. (x) here", "is X here"),
        (("Ann", "Ann Lee"), "Ann Lee and Ann", "X and X"),
        ((), "Ann", "Ann"),
        ((" ",), "Ann  ", "Ann  "),
    ],
)
def test_names_in_texts(names: tuple[str, ...], text: str, reworded: str) -> None:
    assert Rewording(names, "X").text(text) == reworded
    assert json.loads(Rewording(names, "X").json(json.dumps({text: [text, 1]}))) == {reworded: [reworded, 1]}
