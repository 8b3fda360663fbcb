"""What a node reads of what another node wrote: the same changes, the counts, and whose accounts were changed."""

import pytest

from djactors.domain.commands import Delete, MarkAllRead, Publish, SignOut
from djactors.domain.events import JobCreated, NotificationRequested, UserUpserted
from djactors.domain.marks import Offset
from djactors.inbox import following
from djactors.inbox.following import Followed, Position, Wanted, follow, stand
from tests.inbox.desk import Desk
from tests.offsets import invented

ANN, BOB = 11, 12
TENANT = 1
NOTHING_YET = Position(Offset(0, 0), 0)


def note(user_id: int, tenant_id: int = TENANT) -> Publish:
    return Publish(
        NotificationRequested(
            tenant_id=tenant_id, user_id=user_id, notification_type="note", priority="LOW", title="Grüße", data={"b": 1}
        )
    )


def job() -> Publish:
    return Publish(JobCreated(tenant_id=TENANT, title="Banner", requester_id=BOB, assignee_id=ANN))


def read(desk: Desk, since: Position, *told: Offset) -> Followed:
    return follow(desk.connection, {TENANT: Wanted(since, frozenset(told))})[TENANT]


def test_changes_are_those_that_were_announced_to_the_last_byte(desk: Desk):
    desk.record(note(ANN), job(), note(BOB))
    desk.record(MarkAllRead(TENANT, ANN))
    followed = read(desk, NOTHING_YET)
    assert followed.changes == desk.announced
    assert not followed.lost
    assert followed.upto == stand(desk.connection, TENANT)


def test_only_what_is_behind_the_position_is_read(desk: Desk):
    desk.record(note(ANN))
    before = stand(desk.connection, TENANT)
    desk.record(note(BOB))
    followed = read(desk, before)
    assert followed.changes == desk.announced[1:]
    assert read(desk, followed.upto).changes == []


def test_counts_are_those_of_the_rows_for_whom_something_changed(desk: Desk):
    desk.record(note(ANN), note(BOB), note(BOB))
    before = stand(desk.connection, TENANT)
    desk.record(note(ANN))
    followed = read(desk, before)
    assert (followed.unread, followed.unseen) == ({(TENANT, ANN): 2}, {(TENANT, ANN): 2})


def test_what_is_not_in_the_log_is_lost(desk: Desk):
    desk.record(note(ANN), note(BOB))
    assert read(desk, Position(invented(1), 0)).lost
    assert read(desk, Position(invented(2), 0)).lost
    assert read(desk, Position(invented(9), 0)).lost
    for change in desk.announced:
        assert not read(desk, Position(change.offset, 0)).lost


def test_what_sessions_were_given_is_looked_for_in_the_same_snapshot(desk: Desk):
    desk.record(note(ANN), note(BOB), note(ANN))
    first, second, third = (change.offset for change in desk.announced)
    assert not read(desk, Position(first, 0), first, second, third).lost
    for seq in (1, 2, 3, 4):
        assert read(desk, Position(first, 0), second, invented(seq)).lost


def test_too_many_changes_are_not_read_for_all_together(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(following, "FOLLOWED_AT_ONCE", 2)
    desk.record(note(ANN), note(ANN))
    assert read(desk, NOTHING_YET).changes is not None
    desk.record(note(ANN))
    followed = read(desk, NOTHING_YET)
    assert followed.changes is None
    assert followed.upto.at.seq == 3
    assert not followed.lost
    assert read(desk, Position(invented(2), 0)).lost


def test_too_many_bytes_neither(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(following, "FOLLOWED_BYTES", 10)
    desk.record(note(ANN))
    assert read(desk, NOTHING_YET).changes is None


def test_accounts_that_were_changed_are_named_once(desk: Desk):
    desk.record(note(ANN), note(BOB))
    before = stand(desk.connection, TENANT)
    assert read(desk, before).accounts == []
    desk.record(SignOut(TENANT, ANN))
    desk.record(Publish(UserUpserted(tenant_id=TENANT, user_id=BOB, name="Bob", role="manager")), SignOut(TENANT, BOB))
    followed = read(desk, before)
    assert followed.accounts is not None
    assert set(followed.accounts) == {ANN, BOB}
    assert read(desk, followed.upto).accounts == []
    desk.record(SignOut(2, ANN))
    assert read(desk, followed.upto).accounts == []


def test_too_many_accounts_are_all(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(following, "ACCOUNTS_AT_ONCE", 1)
    desk.record(SignOut(TENANT, ANN), SignOut(TENANT, BOB))
    followed = read(desk, NOTHING_YET)
    assert followed.accounts is None
    assert followed.upto.accounts == stand(desk.connection, TENANT).accounts


def test_polling_finds_those_tenants_that_have_moved(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(following, "TENANTS_OF_A_STATEMENT", 2)
    for tenant_id in (1, 2, 3):
        desk.record(note(ANN, tenant_id))

    def positions() -> dict[int, tuple[int, int]]:
        found = {tenant_id: stand(desk.connection, tenant_id) for tenant_id in (1, 2, 3)}
        return {tenant_id: (position.at.seq, position.accounts) for tenant_id, position in found.items()}

    before = positions()
    assert following.moved(desk.connection, before) == []
    desk.record(note(ANN, 3))
    desk.record(SignOut(1, ANN))
    assert sorted(following.moved(desk.connection, before)) == [1, 3]
    assert following.moved(desk.connection, positions()) == []


def test_a_tenant_that_does_not_exist_stands_at_the_beginning(desk: Desk):
    assert stand(desk.connection, 99) == NOTHING_YET
    assert read(desk, NOTHING_YET) == Followed(NOTHING_YET, [], accounts=[])


def test_a_deleted_notification_is_read_as_it_was_announced(desk: Desk):
    desk.record(note(ANN))
    desk.record(Delete(TENANT, ANN, 1))
    assert read(desk, NOTHING_YET).changes == desk.announced
