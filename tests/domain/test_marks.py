"""Offsets read and written, and marks that hang on everything that a client sees."""

from __future__ import annotations

import hashlib
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.domain.marks import BEGINNING, Offset, mark_of, offset_of

MARKS = st.integers(-(2**63), 2**63 - 1)
SEQS = st.integers(1, 2**53 - 1)
CHANGE = (5, 6, "notification:new", 7, b'{"id":1}')


def test_a_mark_is_what_its_description_says():
    numbers = b"".join(number.to_bytes(8, "big", signed=True) for number in (5, 6, 7))
    digest = hashlib.blake2b(numbers + b'notification:new\0{"id":1}', digest_size=8).digest()
    assert mark_of(*CHANGE) == int.from_bytes(digest, "big", signed=True)
    # Written down: with another value every offset that was ever given out would be another database's.
    assert str(Offset(mark_of(*CHANGE), 6)) == "qfYeECLl68M.6"
    assert mark_of(-5, 2**53 - 1, "x", None, b"") == mark_of(-5, 2**53 - 1, "x", None, b"")


@pytest.mark.parametrize(
    "other",
    [
        (6, 6, "notification:new", 7, b'{"id":1}'),
        (-5, 6, "notification:new", 7, b'{"id":1}'),
        (5, 7, "notification:new", 7, b'{"id":1}'),
        (5, 6, "notification:read", 7, b'{"id":1}'),
        (5, 6, "notification:new", 8, b'{"id":1}'),
        (5, 6, "notification:new", None, b'{"id":1}'),
        (5, 6, "notification:new", 7, b'{"id":2}'),
        (5, 6, "notification:new", 7, b'{"id":1} '),
        # The same bytes, cut elsewhere.
        (5, 6, "notification:new\0{", 7, b'"id":1}'),
        (5, 6, "", 7, b'notification:new\0{"id":1}'),
    ],
)
def test_whatever_is_another_makes_another_mark(other: tuple[int, int, str, int | None, bytes]):
    assert mark_of(*other) != mark_of(*CHANGE)


def test_a_mark_hangs_on_all_that_came_before():
    pasts = list(product([b"1", b"2"], repeat=4))
    marks = set()
    for past in pasts:
        mark = 0
        for seq, body in enumerate(past, 1):
            mark = mark_of(mark, seq, "job:updated", None, body)
        marks.add(mark)
    assert len(marks) == len(pasts)


@given(MARKS, SEQS)
def test_an_offset_is_read_back_and_is_short_and_plain(mark: int, seq: int):
    text = str(Offset(mark, seq))
    assert offset_of(text) == Offset(mark, seq)
    assert len(text) <= 28
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@given(MARKS, SEQS, MARKS, SEQS)
def test_two_offsets_have_two_texts(mark: int, seq: int, other_mark: int, other_seq: int):
    one, other = Offset(mark, seq), Offset(other_mark, other_seq)
    assert (str(one) == str(other)) == (one == other)


def test_the_beginning_has_no_mark():
    assert str(BEGINNING) == ".0"
    assert offset_of(".0") == BEGINNING


GOOD = str(Offset(4711, 57))
MARK = GOOD.partition(".")[0]


@pytest.mark.parametrize(
    "text",
    ["", ".", "0", ".1", ".00", f"{MARK}", f"{MARK}.", f"{MARK}.0", f"{MARK}.057", f"{MARK}.-5", f"{MARK}.+5",
     f"{MARK}.5.7", f"{MARK}.{'1' * 17}", f"{MARK}.٣", f"{MARK}.²", f" {GOOD}", f"{GOOD} ", f"{GOOD}\n", f"{GOOD}\0",
     f"A{GOOD}", GOOD[1:], f"{MARK}=.57", f"{MARK[:-1]}.57", f"{MARK[:-1]}+.57", f"{MARK[:-1]}/.57",
     GOOD.replace(".", ","), "epoch.5", "x" * 1_000_000, "." * 1_000_000, None, 0, 57, 5.7, True, b"", GOOD.encode(),
     [GOOD], {GOOD: 1}],
    ids=lambda text: repr(text)[:40],
)  # fmt: skip
def test_nothing_else_is_an_offset(text: object):
    assert offset_of(text) is None


@pytest.mark.parametrize("last", "BCDFGHJKLNOPRSTVWXZabdefhijlmnpqrtuvxyz1235679_-")
def test_a_mark_has_one_text_only(last: str):
    """Eleven characters hold two bits more than a mark has."""
    assert offset_of(f"{MARK[:-1]}{last}.57") is None


@given(st.text("AQgw_-.0159=+/ \n", max_size=32) | st.text(max_size=32))
def test_whatever_is_read_as_an_offset_is_written_as_it_was(text: str):
    offset = offset_of(text)
    assert offset is None or str(offset) == text
