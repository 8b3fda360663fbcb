"""What was recorded of a server's threads is cut into events, and each stretch is put to its part of one."""

import pytest

from bench.budget import LOOP, OTHERS, WRITER, by_part, events, lock_waits, parts_of
from bench.recording import OWN, Stretch, parse

RECORDED = """\
   7 100.000000000:  raw_syscalls:sys_enter: NR 232 (3, 55ed684ddb00, 66, 1388, 0, 0)
   7 100.000001000: PERF_RECORD_SWITCH OUT
   8 100.000001500: PERF_RECORD_SWITCH IN
   7 100.000900000: PERF_RECORD_SWITCH IN
   7 100.000902000:  raw_syscalls:sys_exit: NR 232 = 1
   7 100.000910000: raw_syscalls:sys_enter: NR 9999 (c, 6, 0, 0, 0, 0)
   7 100.000911000: PERF_RECORD_SWITCH OUT preempt
   7 100.000950000: PERF_RECORD_SWITCH IN
   7 100.000951500: raw_syscalls:sys_exit: NR 9999 = -11
"""


def test_a_stretch_is_busy_while_its_thread_has_a_core() -> None:
    wait, own, unknown = parse(RECORDED)
    assert (wait.name, wait.thread, wait.lost, wait.result) == ("epoll_wait", 7, 1, 1)
    assert wait.arguments[3] == 0x1388
    assert wait.busy == pytest.approx(1.0 + 2.0)
    assert wait.ended - wait.began == pytest.approx(902.0)
    assert (own.name, own.lost) == (OWN, 0)
    assert own.busy == pytest.approx(8.0)
    assert (unknown.name, unknown.lost, unknown.result) == ("call 9999", 1, -11)
    assert unknown.busy == pytest.approx(1.0 + 1.5)


LOOP_THREAD, WRITER_THREAD, WATCHDOG = 1, 2, 3
WAKE, WAIT = 0x81, 0x89
QUEUE, LOCK = 0xA, 0xB


class Tape:
    """Makes a recording in which each stretch takes one µs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.recorded: list[Stretch] = []

    def add(self, thread: int, name: str, *arguments: int, result: int = 0) -> None:
        self.now += 1.0
        stretch = Stretch(thread, name, self.now - 1.0, arguments, self.now, 1.0, 0, result)
        self.recorded.append(stretch)

    def event(self) -> None:
        """What djactors does for one, without the own code on the writer."""
        for name, arguments, result in (
            ("epoll_wait", (3, 0, 66, 1000), 1), (OWN, (), 0), ("recvfrom", (), 522), (OWN, (), 0),
            ("epoll_wait", (3, 0, 66, 0), 0), (OWN, (), 0), ("futex", (QUEUE, WAKE), 1), (OWN, (), 0),
        ):  # fmt: skip
            self.add(LOOP_THREAD, name, *arguments, result=result)
        self.add(WATCHDOG, OWN)
        for name, arguments in (
            ("futex", (QUEUE, WAIT)), ("fcntl", ()), ("pwrite64", ()), ("pwrite64", ()), ("fdatasync", ()),
            ("newfstatat", ()), ("write", ()), (OWN, ()),
        ):  # fmt: skip
            self.add(WRITER_THREAD, name, *arguments)
        for name, arguments in (
            ("epoll_wait", (3, 0, 66, 1000)), (OWN, ()), ("futex", (LOCK, WAIT)), ("sendto", ()), (OWN, ()),
            ("epoll_wait", (3, 0, 66, 0)), ("sendto", ()), ("epoll_ctl", ()),
        ):  # fmt: skip
            self.add(LOOP_THREAD, name, *arguments)


@pytest.fixture
def tape() -> Tape:
    tape = Tape()
    for _ in range(4):
        tape.event()
    return tape


def test_an_event_ends_where_the_next_post_wakes_the_loop(tape: Tape) -> None:
    found = events(tape.recorded, LOOP_THREAD)
    # What comes behind the last post is no whole event.
    assert len(found) == 3
    for event in found:
        assert event.loop[0].name == "epoll_wait"
        assert event.loop[2].name == "recvfrom"
        assert [len(event.loop), len(event.writer), len(event.others)] == [16, 8, 1]


def test_each_stretch_belongs_to_a_part(tape: Tape) -> None:
    event = events(tape.recorded, LOOP_THREAD)[0]
    of = [part for part, _ in parts_of(event)]
    counts = {part: of.count(part) for part in (*LOOP, *WRITER, OTHERS)}
    assert list(counts.values()) == [3, 5, 1, 3, 3, 1, 1, 1, 2, 1, 2, 1, 1]


def test_the_figure_of_a_part_is_the_median_event(tape: Tape) -> None:
    found = events(tape.recorded, LOOP_THREAD)
    found[0].loop[3].busy = 1000.0
    its = by_part(found)[LOOP[1]]
    assert (its.own, its.called, its.calls, its.lost) == (3.0, 2.0, 2.0, 0.0)
    assert its.busy == 5.0


def test_only_the_waits_beside_the_queue_are_for_a_lock(tape: Tape) -> None:
    assert lock_waits(events(tape.recorded, LOOP_THREAD)) == 1.0
