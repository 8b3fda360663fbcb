"""The bounded queue in front of an actor."""

from collections import deque

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from djactors.kernel import Mailbox, MailboxClosed, MailboxFull


async def test_items_come_out_in_the_order_they_went_in(autojump_clock):
    mailbox = Mailbox[int](3)
    for item in range(3):
        mailbox.put_nowait(item)
    assert [await mailbox.receive() for _ in range(3)] == [0, 1, 2]


async def test_a_reader_waits_for_an_item(autojump_clock, nursery):
    mailbox = Mailbox[str](1)
    got = []

    async def read():
        got.append(await mailbox.receive())

    nursery.start_soon(read)
    await trio.testing.wait_all_tasks_blocked()
    assert got == []
    mailbox.put_nowait("item")
    await trio.testing.wait_all_tasks_blocked()
    assert got == ["item"]


async def test_what_waits_can_be_looked_at_and_stays(autojump_clock):
    mailbox = Mailbox[int](3)
    for item in range(3):
        mailbox.put_nowait(item)
    assert [mailbox.peek(skipped) for skipped in range(5)] == [[0, 1, 2], [1, 2], [2], [], []]
    assert [await mailbox.receive() for _ in range(3)] == [0, 1, 2]


async def test_a_burst_is_read_as_one_batch(autojump_clock, nursery):
    mailbox = Mailbox[int](10)
    got = []

    async def read():
        got.append(await mailbox.receive_batch(4))
        got.append(await mailbox.receive_batch(4))

    nursery.start_soon(read)
    await trio.testing.wait_all_tasks_blocked()
    for item in range(6):
        mailbox.put_nowait(item)
    await trio.testing.wait_all_tasks_blocked()
    assert got == [[0, 1, 2, 3], [4, 5]]


async def test_a_batch_does_not_wait_for_more_than_one_item(autojump_clock):
    mailbox = Mailbox[int](10)
    mailbox.put_nowait(1)
    assert await mailbox.receive_batch(5) == [1]
    assert mailbox.receive_batch_nowait(5) == []


async def test_a_reader_who_wants_more_waits_for_so_many_or_for_all_that_fit(autojump_clock, nursery):
    mailbox = Mailbox[int](4)
    woken = []

    async def read(count):
        await mailbox.wait_for_more(count)
        woken.append(mailbox.drain())

    for wanted, items in ((3, [0, 1, 2]), (99, [0, 1, 2, 3])):
        mailbox.put_nowait(0)
        nursery.start_soon(read, wanted)
        for item in items[1:]:
            await trio.testing.wait_all_tasks_blocked()
            assert woken == []
            mailbox.put_nowait(item)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == [items]
        woken.clear()


@pytest.mark.parametrize("wake", [Mailbox.close, Mailbox.nudge])
async def test_a_reader_who_wants_more_makes_do_when_woken(wake, autojump_clock, nursery):
    mailbox = Mailbox[int](4)
    mailbox.put_nowait(0)
    nursery.start_soon(mailbox.wait_for_more, 3)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await mailbox.wait_for_more(2)
    wake(mailbox)
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks
    assert mailbox.drain() == [0]


async def test_a_reader_who_gave_up_on_more_is_woken_by_one(autojump_clock, nursery):
    mailbox = Mailbox[int](4)
    mailbox.put_nowait(0)
    with trio.move_on_after(1):
        await mailbox.wait_for_more(3)
    assert mailbox.drain() == [0]
    nursery.start_soon(mailbox.receive)
    await trio.testing.wait_all_tasks_blocked()
    mailbox.put_nowait(1)
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_row_25_a_full_mailbox_refuses_and_counts_the_refusal(autojump_clock):
    mailbox = Mailbox[int](1)
    mailbox.put_nowait(1)
    with pytest.raises(MailboxFull):
        mailbox.put_nowait(2)
    assert mailbox.statistics().refused == 1
    assert mailbox.drain() == [1]


async def test_senders_who_wait_are_served_in_order_and_not_overtaken(autojump_clock, nursery):
    mailbox = Mailbox[str](1)
    mailbox.put_nowait("first")
    for item in ("second", "third"):
        nursery.start_soon(mailbox.put, item)
        await trio.testing.wait_all_tasks_blocked()
    assert mailbox.statistics().waiting_senders == 2
    assert await mailbox.receive() == "first"
    # The room went to who waited for it, at once.
    with pytest.raises(MailboxFull):
        mailbox.put_nowait("pushy")
    assert await mailbox.receive() == "second"
    assert await mailbox.receive() == "third"


async def test_a_cancelled_sender_leaves_nothing_behind(autojump_clock):
    mailbox = Mailbox[str](1)
    mailbox.put_nowait("first")
    with trio.move_on_after(1) as scope:
        await mailbox.put("second")
    assert scope.cancelled_caught
    assert mailbox.drain() == ["first"]
    assert mailbox.statistics().waiting_senders == 0


async def test_a_cancelled_reader_takes_nothing(autojump_clock, nursery):
    mailbox = Mailbox[str](1)
    for read in (mailbox.receive, lambda: mailbox.receive_batch(2)):
        with trio.move_on_after(1) as scope:
            await read()
        assert scope.cancelled_caught
        mailbox.put_nowait("item")
        with trio.CancelScope() as scope:
            scope.cancel()
            await read()
        assert scope.cancelled_caught
        assert mailbox.drain() == ["item"]


async def test_every_read_and_put_lets_others_run(autojump_clock):
    mailbox = Mailbox[int](2)
    with trio.testing.assert_checkpoints():
        await mailbox.put(1)
    await mailbox.put(2)
    with trio.testing.assert_checkpoints():
        await mailbox.receive()
    with trio.testing.assert_checkpoints():
        await mailbox.receive_batch(2)


async def test_what_is_in_a_closed_mailbox_can_still_be_read(autojump_clock):
    mailbox = Mailbox[int](2)
    mailbox.put_nowait(1)
    mailbox.close()
    mailbox.close()
    with pytest.raises(MailboxClosed):
        mailbox.put_nowait(2)
    with pytest.raises(MailboxClosed):
        await mailbox.put(2)
    assert await mailbox.receive() == 1
    with pytest.raises(MailboxClosed):
        await mailbox.receive()
    mailbox.reopen()
    mailbox.put_nowait(3)
    assert await mailbox.receive() == 3


async def test_closing_wakes_everybody_who_waits(autojump_clock, nursery):
    full, empty = Mailbox[int](1), Mailbox[int](1)
    full.put_nowait(1)
    woken = []

    async def expect_closed(wait, *args):
        with pytest.raises(MailboxClosed):
            await wait(*args)
        woken.append(wait)

    nursery.start_soon(expect_closed, full.put, 2)
    nursery.start_soon(expect_closed, full.put, 3)
    nursery.start_soon(expect_closed, empty.receive)
    await trio.testing.wait_all_tasks_blocked()
    full.close()
    empty.close()
    await trio.testing.wait_all_tasks_blocked()
    assert len(woken) == 3
    assert full.drain() == [1]


async def test_only_one_task_may_read(autojump_clock, nursery):
    mailbox = Mailbox[int](1)
    nursery.start_soon(mailbox.receive)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await mailbox.receive()
    mailbox.put_nowait(1)


def test_a_mailbox_without_room_cannot_be_made():
    with pytest.raises(ValueError, match="capacity"):
        Mailbox[int](0)


async def test_statistics_tell_what_has_happened(autojump_clock):
    mailbox = Mailbox[int](3)
    for item in range(3):
        mailbox.put_nowait(item)
    mailbox.receive_batch_nowait(2)
    statistics = mailbox.statistics()
    assert (statistics.depth, statistics.capacity, statistics.high_water) == (1, 3, 3)
    assert (statistics.received, statistics.refused, statistics.waiting_senders) == (3, 0, 0)


STEPS = st.lists(
    st.one_of(
        st.just(("put_nowait",)),
        st.just(("put",)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.just(("close",)),
        st.just(("reopen",)),
    ),
    max_size=40,
)


@given(capacity=st.integers(1, 4), steps=STEPS)
def test_a_mailbox_behaves_like_two_plain_queues(capacity, steps):
    """The model: one queue of items, one of senders who wait, and a flag."""

    async def play():
        mailbox = Mailbox[int](capacity)
        items, waiting = deque[int](), dict[int, trio.CancelScope]()
        outcomes: dict[int, str] = {}
        closed = False

        async def put(item):
            with trio.CancelScope() as waiting[item]:
                try:
                    await mailbox.put(item)
                    outcomes[item] = "in"
                except MailboxClosed:
                    outcomes[item] = "closed"
            outcomes.setdefault(item, "cancelled")

        async with trio.open_nursery() as nursery:
            expected: dict[int, str] = {}
            for item, (step, *args) in enumerate(steps):
                if step == "put_nowait":
                    try:
                        mailbox.put_nowait(item)
                        assert not closed
                        assert len(items) < capacity
                        items.append(item)
                    except MailboxFull:
                        assert len(items) == capacity
                    except MailboxClosed:
                        assert closed
                elif step == "put":
                    nursery.start_soon(put, item)
                    await trio.testing.wait_all_tasks_blocked()
                    if closed:
                        expected[item] = "closed"
                    elif len(items) < capacity:
                        expected[item] = "in"
                        items.append(item)
                    else:
                        expected[item] = "waits"
                elif step == "cancel":
                    who = [sender for sender, state in expected.items() if state == "waits"]
                    if who:
                        sender = who[args[0] % len(who)]
                        waiting[sender].cancel()
                        expected[sender] = "cancelled"
                elif step == "take":
                    assert mailbox.receive_batch_nowait(args[0]) == [
                        items.popleft() for _ in range(min(args[0], len(items)))
                    ]
                    for sender in [sender for sender, state in expected.items() if state == "waits"]:
                        if len(items) < capacity:
                            items.append(sender)
                            expected[sender] = "in"
                elif step == "close":
                    mailbox.close()
                    closed = True
                    expected.update({k: "closed" for k, state in expected.items() if state == "waits"})
                else:
                    mailbox.reopen()
                    closed = False
                await trio.testing.wait_all_tasks_blocked()
                assert len(mailbox) == len(items)
                assert outcomes == {k: state for k, state in expected.items() if state != "waits"}
            assert mailbox.statistics().waiting_senders == list(expected.values()).count("waits")
            nursery.cancel_scope.cancel()
        assert mailbox.drain() == list(items)

    trio.run(play)


@pytest.mark.parametrize("sign", ["an item", "a nudge", "the end"])
def test_who_has_left_word_is_called_once(sign: str) -> None:
    mailbox: Mailbox[int] = Mailbox(3)
    called: list[str] = []
    mailbox.leave_word(lambda: called.append(sign))
    assert mailbox.awaited
    for _ in range(2):
        match sign:
            case "an item":
                mailbox.put_nowait(1)
            case "a nudge":
                mailbox.nudge()
            case _:
                mailbox.close()
    assert called == [sign]
    assert not mailbox.awaited


def test_who_leaves_word_too_late_is_called_at_once_and_who_takes_it_back_is_not() -> None:
    mailbox: Mailbox[int] = Mailbox(3)
    called: list[str] = []
    mailbox.leave_word(lambda: called.append("taken back"))
    mailbox.take_word_back()
    mailbox.put_nowait(1)
    mailbox.leave_word(lambda: called.append("at once"))
    assert called == ["at once"]
    assert mailbox.receive_batch_nowait(3) == [1]
