"""Which commits of a node are told at once, and which are read from the log instead."""

from __future__ import annotations

import pytest

from djactors.actors.tails import MAX_GIVEN, Tail
from djactors.domain.commands import Change
from djactors.domain.marks import BEGINNING, Offset, mark_of
from djactors.inbox.following import Position

ANN = 11


def chain(numbers: range, *, text: str = "", after: Offset = BEGINNING) -> list[Change]:
    """Changes that build on each other."""
    changes = []
    mark = after.mark
    for seq in numbers:
        body = b'{"seq":%d,"text":"%s"}' % (seq, text.encode())
        mark = mark_of(mark, seq, "job:updated", ANN, body)
        changes.append(Change(1, Offset(mark, seq), ANN, "job:updated", body))
    return changes


LOG = chain(range(1, 11))


@pytest.fixture
def tail() -> Tail:
    """The users were told of the first five changes."""
    tail = Tail()
    tail.begin(Position(LOG[4].offset, 0))
    return tail


def test_what_comes_next_is_told(tail: Tail):
    assert tail.take(LOG[5:7]) == LOG[5:7]
    assert tail.take(LOG[7:]) == LOG[7:]
    assert tail.at == LOG[-1].offset


def test_what_was_read_already_is_not_told_again(tail: Tail):
    assert tail.take(LOG[3:5]) == ()
    assert tail.at == LOG[4].offset


@pytest.mark.parametrize("changes", [LOG[6:8], LOG[4:7]], ids=["a gap", "a part of it was told"])
def test_what_is_not_next_is_read(tail: Tail, changes: list[Change]):
    assert tail.take(changes) is None
    assert tail.at == LOG[4].offset


def test_what_builds_on_another_past_is_read(tail: Tail):
    other = chain(range(1, 6), text="other")
    assert tail.take(chain(range(6, 8), after=other[-1].offset)) is None


def test_nothing_is_told_while_others_tell_or_nobody_knows_where_it_stands(tail: Tail):
    tail.busy = True
    assert tail.take(LOG[5:6]) is None
    assert Tail().take(LOG[:1]) is None


def test_what_a_session_was_given_must_come_by_before_anything_later_is_told(tail: Tail):
    lost = Offset(4711, 7)
    tail.give(lost)
    assert tail.take(LOG[5:6]) is None
    assert tail.take(LOG[5:8]) is None
    wanted = tail.wanted()
    assert wanted is not None
    assert wanted.told == {lost}


def test_what_a_session_was_given_comes_by_with_a_commit(tail: Tail):
    tail.give(LOG[6].offset)
    assert tail.take(LOG[5:8]) == LOG[5:8]
    assert tail.take(LOG[8:]) == LOG[8:]


def test_what_was_given_during_a_read_is_looked_for_in_the_next(tail: Tail):
    tail.give(LOG[5].offset)
    wanted = tail.wanted()
    assert wanted is not None
    tail.give(LOG[7].offset)
    tail.went(wanted, Position(LOG[6].offset, 0))
    again = tail.wanted()
    assert again is not None
    assert (again.since.at, again.told) == (LOG[6].offset, {LOG[7].offset})


def test_where_it_stands_needs_no_proof(tail: Tail):
    assert not tail.give(LOG[4].offset)
    assert tail.take(LOG[5:6]) == LOG[5:6]


def test_what_is_kept_is_bounded(tail: Tail):
    assert [tail.give(Offset(seq, seq)) for seq in range(100, 101 + MAX_GIVEN)] == [False] * MAX_GIVEN + [True]


def test_the_first_position_counts():
    tail = Tail()
    assert not tail.begin(Position(LOG[1].offset, 0))
    assert not tail.begin(Position(LOG[3].offset, 0))
    assert tail.at == LOG[1].offset


def test_what_was_written_before_there_was_a_position_is_looked_for():
    tail = Tail()
    tail.missed = True
    assert tail.begin(Position(LOG[1].offset, 0))
