"""From polling to WebSocket: nothing is lost or reordered, whatever happens on the way."""

from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.engine._polling import PROBED_PAUSE
from tests.engine.clients import CALM, SOCKET, Served, TestSocket, receive_answer
from tests.engine.conftest import Serve

# The first name is the session's own, which is its secret.
CONNECTED = ['40{"sid":"sid2"}', '42["auth",{}]']


async def upgrade(served: Served, sid: str) -> TestSocket:
    websocket = await served.probed(sid)
    websocket.send("5")
    await wait_all_tasks_blocked()
    return websocket


async def test_a_client_that_connects_before_the_upgrade_stays_connected(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    sid = await served.open_session()
    await served.post(sid, "40")
    assert (await served.get(sid)).packets == CONNECTED
    websocket = await upgrade(served, sid)
    websocket.send('42["message",1]')
    assert await websocket.receive() == '42["message-back",1]'
    assert served.log.upgrades == 1


async def test_a_client_connects_after_the_upgrade(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    websocket = await upgrade(served, await served.open_session())
    websocket.send("40")
    assert await websocket.receive_many(2) == CONNECTED


async def test_a_reply_that_no_poll_has_fetched_goes_out_by_websocket(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    sid = await served.open_session()
    await served.post(sid, "40")
    websocket = await upgrade(served, sid)
    assert await websocket.receive_many(2) == CONNECTED


async def test_messages_flow_by_polling_while_the_websocket_is_probed(autojump_clock, calm: Served):
    sid = await calm.open_session()
    attached = await calm.websocket(sid)
    await calm.post(sid, "4one")
    assert (await calm.get(sid)).packets == ["4one"]
    attached.send("2probe")
    assert await attached.receive() == "3probe"
    await calm.post(sid, "4two")
    assert (await calm.get(sid)).packets == ["4two"]
    await calm.post(sid, "4three")
    attached.send("5", "4four")
    assert await attached.receive_many(2) == ["4three", "4four"]


async def test_the_websocket_is_silent_until_it_is_probed(autojump_clock, calm: Served):
    sid = await calm.open_session()
    attached = await calm.websocket(sid)
    await calm.post(sid, "4one")
    await trio.sleep(1)
    attached.send("2probe")
    assert await attached.receive() == "3probe"


async def test_a_waiting_poll_is_released_once_the_websocket_is_probed(autojump_clock, calm: Served):
    sid = await calm.open_session()
    poll = calm.start(sid=sid)
    await wait_all_tasks_blocked()
    started = trio.current_time()
    await calm.probed(sid)
    assert (await receive_answer(poll)).packets == ["6"]
    assert trio.current_time() - started <= PROBED_PAUSE


async def test_a_client_that_polls_on_while_it_is_probed_is_kept_from_spinning(autojump_clock, calm: Served):
    sid = await calm.open_session()
    await calm.probed(sid)
    started = trio.current_time()
    for _ in range(10):
        assert (await calm.get(sid)).packets == ["6"]
    assert trio.current_time() - started == pytest.approx(10 * PROBED_PAUSE)


async def test_a_poll_that_waits_when_the_upgrade_completes_gets_a_noop(autojump_clock, calm: Served):
    sid = await calm.open_session()
    poll = calm.start(sid=sid)
    await wait_all_tasks_blocked()
    websocket = await calm.websocket(sid)
    websocket.send("2probe", "5")
    assert (await receive_answer(poll)).packets == ["6"]
    websocket.send("4hello")
    assert await websocket.receive_many(2) == ["3probe", "4hello"]


@pytest.mark.parametrize("probed", [False, True], ids=["before the probe", "after the probe"])
@pytest.mark.parametrize("ending", ["end", "reset", "close", "garbage", "message"])
async def test_a_websocket_that_fails_before_the_upgrade_leaves_polling_whole(
    autojump_clock, calm: Served, ending: str, probed: bool
):
    sid = await calm.open_session()
    websocket = await (calm.probed(sid) if probed else calm.websocket(sid))
    await calm.post(sid, "4one")
    match ending:
        case "close":
            websocket.close()
        case "garbage":
            websocket.peer.send(b"\xff\xff\xff\xff")
        case "message":
            websocket.send("4not yet")
        case _:
            getattr(websocket.peer, ending)()
    await wait_all_tasks_blocked()
    await calm.post(sid, "4two")
    assert (await calm.get(sid)).packets == ["4one", "4two"]
    second = await upgrade(calm, sid)
    second.send("4three")
    assert await second.receive() == "4three"


async def test_an_upgrade_that_takes_too_long_ends_and_polling_goes_on(autojump_clock, serve: Serve):
    served = await serve(replace(CALM, upgrade_timeout=10.0))
    sid = await served.open_session()
    poll = served.start(sid=sid)
    websocket = await served.websocket(sid)
    started = trio.current_time()
    assert await websocket.ending() == 1000
    assert trio.current_time() - started == pytest.approx(10.0)
    await served.post(sid, "4hello")
    assert (await receive_answer(poll)).packets == ["4hello"]


async def test_an_upgrade_that_ended_does_no_harm_to_the_next_one(autojump_clock, serve: Serve):
    served = await serve(replace(CALM, upgrade_timeout=10.0))
    sid = await served.open_session()
    late = await served.websocket(sid)
    await trio.sleep(10.5)
    second = await served.probed(sid)
    late.send("2probe", "5")
    late.peer.end()
    await trio.sleep(5)
    second.send("5", "4hello")
    assert await second.receive() == "4hello"


async def test_a_second_websocket_during_the_upgrade_is_closed_without_harm(autojump_clock, calm: Served):
    sid = await calm.open_session()
    first = await calm.probed(sid)
    second = await calm.websocket(sid)
    assert await second.ending() == 1000
    first.send("5", "4hello")
    assert await first.receive() == "4hello"


async def test_a_session_that_ends_takes_its_unfinished_upgrade_with_it(autojump_clock, calm: Served):
    sid = await calm.open_session()
    websocket = await calm.websocket(sid)
    await calm.post(sid, "1")
    assert await websocket.ending() == 1000
    assert not calm.application.engine.sessions


async def test_a_websocket_that_dies_after_the_upgrade_ends_the_session(autojump_clock, calm: Served):
    sid = await calm.open_session()
    websocket = await upgrade(calm, sid)
    websocket.peer.reset()
    await wait_all_tasks_blocked()
    assert (await calm.get(sid)).error_code == 1
    assert calm.log.closed == [("websocket", "transport close")]


async def test_pings_go_on_in_their_interval_across_the_upgrade(autojump_clock, calm: Served):
    started = trio.current_time()
    sid = await calm.open_session()
    await trio.sleep(10)
    websocket = await upgrade(calm, sid)
    assert await websocket.receive() == "2"
    assert trio.current_time() - started == pytest.approx(25.0)
