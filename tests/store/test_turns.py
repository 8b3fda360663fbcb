"""A queue that is served in turns, and the reads of a database that wait in one."""

import threading
from sqlite3 import Connection

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.errors import StoreBusy, StoreCrowded
from djactors.store.sqlite.connections import READ_BATCH
from djactors.store.threads import TURN_LIMIT, InlineRunner
from djactors.store.turns import Turn, Turns
from tests.store.writes import stored


def taken(turns: Turns[str]) -> list[str]:
    return [turns.take() for _ in range(len(turns))]


def test_groups_are_served_in_turn_and_the_members_of_a_group_as_well():
    turns: Turns[str] = Turns()
    for group, member, count in ((1, 1, 4), (1, 2, 2), (2, 1, 3)):
        for number in range(count):
            turns.add((group, member), f"{group}.{member}.{number}")
    assert taken(turns) == [
        "1.1.0",
        "2.1.0",
        "1.2.0",
        "2.1.1",
        "1.1.1",
        "2.1.2",
        "1.2.1",
        "1.1.2",
        "1.1.3",
    ]


def test_what_was_taken_and_given_back_comes_first_again():
    turns: Turns[str] = Turns()
    turns.add((1, 1), "a")
    turns.add((1, 1), "b")
    turns.add((2, 1), "c")
    first, second = turns.take(), turns.take()
    turns.give_back((2, 1), second)
    turns.give_back((1, 1), first)
    assert taken(turns) == ["a", "c", "b"]


def test_whoever_comes_anew_goes_before_the_one_that_was_served_last():
    turns: Turns[str] = Turns()
    for number in range(3):
        turns.add((1, 1), f"a{number}")
    assert turns.take() == "a0"
    turns.add((1, 2), "colleague")
    turns.add((2, 1), "other")
    assert taken(turns) == ["other", "colleague", "a1", "a2"]


def test_a12_turns_that_are_passed_over_keep_their_place():
    turns: Turns[str] = Turns()
    for turn, item in [((1, 1), "a"), ((1, 1), "b"), ((1, 2), "c"), ((2, 1), "d"), ((2, 1), "e")]:
        turns.add(turn, item)
    assert [turns.take({(1, 1)}) for _ in range(3)] == ["c", "d", "e"]
    with pytest.raises(LookupError):
        turns.take({(1, 1)})
    assert [turns.take(), turns.take()] == ["a", "b"]


def test_what_does_not_wait_is_neither_taken_nor_removed():
    turns: Turns[str] = Turns()
    with pytest.raises(LookupError):
        turns.take()
    with pytest.raises(ValueError, match="nothing waits"):
        turns.remove((1, 1), "a")


@given(steps=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.booleans()), max_size=60))
def test_each_turn_is_in_order_and_the_counts_are_right(steps: list[tuple[int, int, bool]]):
    turns: Turns[tuple[Turn, int]] = Turns()
    model: dict[Turn, list[int]] = {}
    for number, (group, member, takes) in enumerate(steps):
        if takes and turns:
            turn, item = turns.take()
            assert model[turn].pop(0) == item
        else:
            turns.add((group, member), ((group, member), number))
            model.setdefault((group, member), []).append(number)
        assert len(turns) == sum(map(len, model.values())) == len(list(turns))
        for turn, items in model.items():
            assert turns.waiting(turn) == len(items)
            assert turns.waiting_in(turn[0]) == sum(len(items) for (of, _), items in model.items() if of == turn[0])


async def test_a14_another_tenants_read_waits_for_no_more_than_the_threads_have_in_hand(place: Place):
    """120 connections of one person read; the read of another tenant is among the next that run."""
    async with await Database.open(place, readers=1) as database:
        order: list[str] = []
        gate = threading.Event()

        def reading(name: str) -> object:
            def work(_: Connection) -> None:
                gate.wait()
                order.append(name)

            return work

        refused = 0

        async def read(name: str, turn: Turn) -> None:
            nonlocal refused
            try:
                await database.read(reading(name), turn)  # type: ignore[arg-type]
            except StoreCrowded:
                refused += 1

        async with trio.open_nursery() as nursery:
            for _ in range(120):
                nursery.start_soon(read, "crowd", (1, 11))
            await wait_all_tasks_blocked()
            nursery.start_soon(read, "colleague", (1, 12))
            nursery.start_soon(read, "other", (2, 11))
            await wait_all_tasks_blocked()
            gate.set()
        under_way = READ_BATCH
        assert refused == 120 - under_way - TURN_LIMIT
        assert order.index("other") <= under_way + 1
        assert order.index("colleague") <= under_way + 3


async def test_a14_too_many_reads_of_one_person_are_refused_and_those_of_others_taken(
    place: Place, autojump_clock: object
):
    async with await Database.open(place, threads=InlineRunner) as database:
        outcomes: dict[Turn, list[str]] = {}

        async def read(turn: Turn) -> None:
            try:
                await database.read(stored, turn)
            except StoreCrowded:
                outcomes.setdefault(turn, []).append("crowded")
            else:
                outcomes.setdefault(turn, []).append("read")

        async with trio.open_nursery() as nursery:
            for _ in range(TURN_LIMIT + 20):
                nursery.start_soon(read, (1, 11))
            nursery.start_soon(read, (2, 11))
        assert outcomes[1, 11].count("crowded") == 20
        assert outcomes[2, 11] == ["read"]


async def test_a14_the_people_of_one_tenant_leave_a_quarter_of_the_queue_to_the_others(
    place: Place, autojump_clock: object
):
    async with await Database.open(place, threads=InlineRunner, read_queue=20) as database:
        outcomes: dict[int, list[str]] = {1: [], 2: []}

        async def read(tenant_id: int, user_id: int) -> None:
            try:
                await database.read(stored, (tenant_id, user_id))
            except StoreBusy as error:
                outcomes[tenant_id].append(type(error).__name__)
            else:
                outcomes[tenant_id].append("read")

        async with trio.open_nursery() as nursery:
            for user_id in range(1, 31):
                nursery.start_soon(read, 1, user_id)
            for user_id in range(1, 6):
                nursery.start_soon(read, 2, user_id)
        assert outcomes[1].count("read") == 15
        assert set(outcomes[1]) <= {"read", "StoreCrowded", "StoreBusy"}
        assert outcomes[2] == ["read"] * 5
