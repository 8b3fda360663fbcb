"""When a session says that there is room for more: by polling, through the upgrade, by WebSocket; never at its end."""

import trio
from trio.testing import wait_all_tasks_blocked

from djactors.protocol import MAX_POLL_PACKETS, EncodedPacket
from tests.engine.clients import Served
from tests.engine.test_session import HELLO, only_session
from tests.engine.test_upgrade import upgrade

LARGE = EncodedPacket(b"4" + b"x" * 100_000)
"""More than the window of a peer that does not read."""


class Room:
    """What a session is asked to call; counts how often it does."""

    def __init__(self) -> None:
        self.called = 0

    def __call__(self) -> None:
        self.called += 1


class TestPolling:
    async def test_with_nothing_to_send_there_is_room_at_once(self, autojump_clock, calm: Served):
        await calm.open_session()
        room = Room()
        only_session(calm).when_drained(room)
        assert room.called == 1

    async def test_there_is_room_when_a_poll_has_taken_the_last_packet(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session, room = only_session(calm), Room()
        session.send([HELLO] * (2 * MAX_POLL_PACKETS + 1))
        session.when_drained(room)
        taken = []
        for _ in range(3):
            assert room.called == 0
            taken.append(len((await calm.get(sid)).packets))
        assert taken == [MAX_POLL_PACKETS, MAX_POLL_PACKETS, 1]
        assert room.called == 1

    async def test_it_is_told_once(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session, room = only_session(calm), Room()
        session.send([HELLO])
        session.when_drained(room)
        await calm.get(sid)
        session.send([HELLO])
        await calm.get(sid)
        assert room.called == 1

    async def test_a_waiting_poll_makes_room(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session, room = only_session(calm), Room()
        calm.start(sid=sid)
        await wait_all_tasks_blocked()
        session.send([HELLO])
        session.when_drained(room)
        await wait_all_tasks_blocked()
        assert room.called == 1

    async def test_whoever_sends_on_when_there_is_room_is_taken_up_by_the_next_poll(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session = only_session(calm)
        left = list(range(50))

        def send_on() -> None:
            if left:
                session.send([EncodedPacket(b"4%d" % left.pop(0))])
                session.when_drained(send_on)

        send_on()
        answers = [(await calm.get(sid)).packets for _ in range(50)]
        assert answers == [[f"4{number}"] for number in range(50)]


class TestUpgrade:
    async def test_the_question_survives_the_switch(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session, room = only_session(calm), Room()
        session.send([HELLO])
        session.when_drained(room)
        assert room.called == 0
        websocket = await upgrade(calm, sid)
        assert await websocket.receive() == "4hello"
        await wait_all_tasks_blocked()
        assert room.called == 1

    async def test_it_is_answered_when_the_websocket_has_taken_what_no_poll_did(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session, room = only_session(calm), Room()
        websocket = await calm.websocket(sid, window=1000)
        websocket.send("2probe")
        assert await websocket.receive() == "3probe"
        session.send([LARGE])
        session.when_drained(room)
        websocket.send("5")
        await wait_all_tasks_blocked()
        assert room.called == 0
        assert await websocket.receive() == LARGE.text.decode()
        await wait_all_tasks_blocked()
        assert room.called == 1

    async def test_an_upgrade_that_fails_leaves_it_to_the_polls(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session, room = only_session(calm), Room()
        websocket = await calm.probed(sid)
        session.send([HELLO])
        session.when_drained(room)
        websocket.close()
        await wait_all_tasks_blocked()
        assert room.called == 0
        assert (await calm.get(sid)).packets == ["4hello"]
        assert room.called == 1


class TestWebSocket:
    async def test_what_the_peer_has_room_for_is_on_its_way(self, autojump_clock, calm: Served):
        await calm.websocket_session()
        session, room = only_session(calm), Room()
        session.send([HELLO])
        session.when_drained(room)
        assert room.called == 1

    async def test_there_is_room_only_when_the_peer_has_read(self, autojump_clock, calm: Served):
        websocket = await calm.websocket_session(window=1000)
        session, room = only_session(calm), Room()
        session.send([LARGE])
        session.when_drained(room)
        await trio.sleep(5)
        assert room.called == 0
        assert await websocket.receive() == LARGE.text.decode()
        await wait_all_tasks_blocked()
        assert room.called == 1


class TestEnd:
    """A session that has ended has no room: whoever asked is not called, not even by its last words."""

    async def test_a_goodbye_that_a_poll_takes_says_nothing(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session, room = only_session(calm), Room()
        session.send([HELLO])
        session.when_drained(room)
        session.close("drained")
        assert (await calm.get(sid)).packets == ["4hello", "1"]
        assert room.called == 0

    async def test_a_goodbye_without_words_says_nothing(self, autojump_clock, calm: Served):
        await calm.open_session()
        session, room = only_session(calm), Room()
        session.send([HELLO])
        session.when_drained(room)
        session.close("drained", say_goodbye=False)
        await trio.sleep(10)
        assert room.called == 0

    async def test_a_websocket_that_is_read_to_its_close_frame_says_nothing(self, autojump_clock, calm: Served):
        websocket = await calm.websocket_session(window=1000)
        session, room = only_session(calm), Room()
        session.send([LARGE])
        session.when_drained(room)
        session.close("drained")
        assert await websocket.ending() == 1000
        await trio.sleep(10)
        assert room.called == 0

    async def test_a_websocket_whose_peer_is_gone_says_nothing(self, autojump_clock, calm: Served):
        websocket = await calm.websocket_session(window=1000)
        session, room = only_session(calm), Room()
        session.send([LARGE])
        session.when_drained(room)
        websocket.peer.reset()
        await trio.sleep(60)
        assert session.closed
        assert room.called == 0

    async def test_a_peer_that_never_reads_is_let_go_and_says_nothing(self, autojump_clock, calm: Served):
        await calm.websocket_session(window=1000)
        session, room = only_session(calm), Room()
        session.send([LARGE])
        session.when_drained(room)
        await trio.sleep(120)
        assert session.closed
        assert room.called == 0

    async def test_nobody_is_called_who_asks_after_the_end(self, autojump_clock, calm: Served):
        for session in [await self._polling(calm), await self._websocket(calm)]:
            session.close("drained")
            room = Room()
            session.when_drained(room)
            await trio.sleep(10)
            assert room.called == 0

    async def _polling(self, calm: Served):
        return calm.application.handlers[await calm.open_session()].session

    async def _websocket(self, calm: Served):
        await calm.websocket_session()
        return list(calm.application.handlers.values())[-1].session
