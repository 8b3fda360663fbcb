"""Who is let in: the bound on sessions, the rate of newcomers, and how a server lets go of everybody."""

from dataclasses import replace
from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.engine._admission import AT_ONCE, PACE, Admission
from djactors.engine._server import DRAIN_RATE
from djactors.net import FEW_NEWCOMERS
from tests.engine.clients import CALM, Served, receive_answer
from tests.engine.conftest import Serve

PEER = "192.0.2.1"


def ask(admission: Admission, sessions: int, now: float, peer: str = PEER, *, known: bool = False) -> str | None:
    """What one newcomer is told: None for who is let in."""
    refusal = admission.refusal(sessions, now, peer, known=known)
    return None if refusal is None else refusal.reason


def moment(admission: Admission, now: float) -> float:
    """When the next newcomer's turn is."""
    turn = admission.turn(now)
    return now if turn is None else turn.moment


class TestAdmission:
    def test_a_burst_is_admitted_and_then_the_rate(self):
        admission = Admission(max_sessions=1000, rate=10.0, burst=5)
        assert [ask(admission, 0, 100.0) for _ in range(7)] == [None] * 5 + ["share"] * 2
        assert [ask(admission, 0, 100.25) for _ in range(4)] == [None] * 2 + ["share"] * 2

    def test_a_quiet_time_does_not_save_up_more_than_the_burst(self):
        admission = Admission(max_sessions=1000, rate=10.0, burst=5)
        assert [ask(admission, 0, 9999.0) for _ in range(6)].count(None) == 5

    def test_those_who_are_refused_for_another_reason_cost_no_token(self):
        admission = Admission(max_sessions=3, rate=10.0, burst=1)
        assert [ask(admission, 3, 1.0) for _ in range(5)] == ["sessions"] * 5
        assert ask(admission, 2, 1.0) is None

    def test_many_at_once_take_turns_a_few_together_and_a_few_need_not(self):
        admission = Admission(max_sessions=1000, rate=10.0, burst=1000)
        turns = [moment(admission, 50.0) for _ in range(AT_ONCE * 4)]
        assert turns == pytest.approx([50 + number // AT_ONCE * AT_ONCE / PACE for number in range(AT_ONCE * 4)])
        assert admission.turn(60.0) is None

    def test_no_more_than_the_pace_get_their_turn_whenever_they_come(self):
        admission = Admission(max_sessions=1000, rate=10.0, burst=1000)
        moments = sorted(moment(admission, 50.0 + number / (PACE * 3)) for number in range(900))
        assert all(
            later - earlier >= AT_ONCE / PACE - 1e-6
            for earlier, later in zip(moments, moments[2 * AT_ONCE :], strict=False)
        )
        assert moments[-1] - moments[0] == pytest.approx(900 / PACE, abs=AT_ONCE / PACE)

    def test_a_higher_rate_is_not_held_up_by_the_pace(self):
        rate = 4 * PACE
        admission = Admission(max_sessions=10_000, rate=rate, burst=1000)
        moments = [moment(admission, 50.0) for _ in range(900)]
        assert moments[-1] - moments[0] == pytest.approx(900 / rate, abs=AT_ONCE / rate)


async def test_row_27_a_crowd_is_let_in_a_few_at_a_time_and_the_cap_holds(autojump_clock, serve: Serve):
    served = await serve(replace(CALM, max_sessions=100))
    answers: list[int] = []

    async def come() -> None:
        answers.append((await served.get()).status)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(150):
            nursery.start_soon(come)
    assert sorted(answers) == [200] * 100 + [503] * 50
    assert trio.current_time() - began == pytest.approx((149 // AT_ONCE) * AT_ONCE / PACE)


async def test_slices_that_are_due_together_are_let_in_over_several_turns_of_the_loop(autojump_clock, calm: Served):
    for _ in range(4 * AT_ONCE):
        calm.start()
    await wait_all_tasks_blocked()
    sessions = calm.application.engine.sessions
    calm.application.engine.crowd.make_way()
    counts = [len(sessions)]

    class Turns(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            counts.append(len(sessions))

    trio.lowlevel.add_instrument(Turns())
    # The loop is held up until the turns of all have come.
    autojump_clock.jump(1.0)
    await wait_all_tasks_blocked()
    assert counts[-1] == 4 * AT_ONCE
    assert max(after - before for before, after in pairwise(counts)) <= FEW_NEWCOMERS


async def test_newcomers_who_are_gone_before_their_turn_keep_no_session(autojump_clock, calm: Served):
    peers = [calm.start() for _ in range(2 * AT_ONCE)]
    await wait_all_tasks_blocked()
    assert len(calm.application.engine.sessions) == AT_ONCE
    for peer in peers:
        peer.reset()
    await trio.sleep(1)
    assert len(calm.application.engine.sessions) == AT_ONCE


async def test_more_newcomers_than_the_rate_are_told_to_come_again(autojump_clock, serve: Serve):
    served = await serve(replace(CALM, admit_rate=1.0, admit_burst=2))
    answers = [await served.get() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 503]
    assert int(answers[-1].headers["retry-after"]) > 0
    refused, _ = await served.try_websocket()
    assert refused.status == 503
    assert served.log.refusals == ["rate", "rate"]
    await trio.sleep(1)
    assert (await served.get()).status == 200


async def test_those_who_are_in_do_not_feel_the_rate(autojump_clock, serve: Serve):
    served = await serve(replace(CALM, admit_rate=1.0, admit_burst=1))
    sid = await served.open_session()
    for _ in range(5):
        await served.post(sid, "4hello")
        assert (await served.get(sid)).packets == ["4hello"]
    websocket = await served.probed(sid)
    websocket.send("5", "4hello")
    assert await websocket.receive() == "4hello"


async def test_sessions_are_bounded_and_an_end_makes_room(autojump_clock, serve: Serve):
    served = await serve(replace(CALM, max_sessions=2))
    websocket = await served.websocket_session()
    await served.open_session()
    assert (await served.get()).status == 503
    websocket.close()
    await wait_all_tasks_blocked()
    assert (await served.get()).status == 200


async def test_one_address_cannot_take_every_session(autojump_clock, serve: Serve):
    served = await serve(replace(CALM, max_sessions_per_address=2, admit_rate=1.0, admit_burst=3))
    connection = served.start()
    await receive_answer(connection)
    await receive_answer(served.start(peer=connection))
    over = await receive_answer(served.start(peer=connection))
    assert over.status == 429
    assert int(over.headers["retry-after"]) > 0
    assert (await served.try_websocket())[0].status == 429
    assert served.log.refusals == ["address", "address"]
    answer = await served.get(address="192.0.2.99")
    assert answer.status == 200, "another address still has room, and its turn"


async def test_an_address_has_room_again_when_its_sessions_end(autojump_clock, serve: Serve):
    served = await serve(replace(CALM, max_sessions_per_address=1))
    for _ in range(3):
        sid = await served.open_session()
        assert (await served.get()).status == 429
        await served.post(sid, "1")
        websocket = await served.websocket_session()
        assert (await served.get()).status == 429
        websocket.close()
        await wait_all_tasks_blocked()


async def test_a_server_that_drains_admits_nobody_and_serves_the_others(autojump_clock, calm: Served):
    sid = await calm.open_session()
    calm.application.engine.stop_admitting()
    assert (await calm.get()).status == 503
    await calm.post(sid, "4hello")
    assert (await calm.get(sid)).packets == ["4hello"]


async def test_a_drain_closes_every_transport_so_that_clients_reconnect(autojump_clock, calm: Served):
    websocket = await calm.websocket_session()
    sid = await calm.open_session()
    poll = calm.start(sid=sid)
    await wait_all_tasks_blocked()
    await calm.application.engine.close_all(10)
    assert await websocket.ending() == 1000
    assert (await receive_answer(poll)).packets == ["1"]
    assert calm.log.closed == [("websocket", "drained"), ("polling", "drained")]


async def test_a_drain_of_few_sessions_does_not_take_its_time(autojump_clock, calm: Served):
    for _ in range(10):
        await calm.open_session()
    started = trio.current_time()
    await calm.application.engine.close_all(10)
    assert trio.current_time() - started < 0.5
    assert not calm.application.engine.sessions


@pytest.mark.parametrize("seconds", [0.0, 0.5, 60.0])
async def test_a_drain_keeps_to_its_pace_and_to_its_time(autojump_clock, serve: Serve, seconds: float):
    served = await serve(replace(CALM, admit_burst=5000))
    number = 600
    for _ in range(number):
        await served.open_session()
    started = trio.current_time()
    await served.application.engine.close_all(seconds)
    took = trio.current_time() - started
    assert took == pytest.approx(min(seconds, number / DRAIN_RATE), abs=0.1)
    assert len(served.log.closed) == number
