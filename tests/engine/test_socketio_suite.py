"""The 32 cases of the official Socket.IO test suite (revision 5), on our own stack under a virtual clock.

Half of them are the Engine.IO suite's, on the Socket.IO path.
"""

import json

import pytest
import trio

from tests.engine import test_engineio_suite
from tests.engine.clients import Served, TestSocket

TestClose = test_engineio_suite.TestClose
TestHandshake = test_engineio_suite.TestHandshake
TestHeartbeat = test_engineio_suite.TestHeartbeat


@pytest.fixture
async def engine(socket: Served) -> Served:
    """What the imported cases run against."""
    return socket


class TestUpgrade:
    async def test_a_session_goes_from_polling_to_websocket(self, autojump_clock, socket: Served):
        sid = await socket.open_session()
        websocket = await socket.probed(sid)
        websocket.send("5", "40")
        assert str(await websocket.receive()).startswith("40")

    async def test_polling_after_the_upgrade_is_refused(self, autojump_clock, socket: Served):
        sid = await socket.open_session()
        websocket = await socket.probed(sid)
        websocket.send("5")
        assert (await socket.get(sid)).status == 400

    async def test_a_second_websocket_after_the_upgrade_is_closed(self, autojump_clock, socket: Served):
        sid = await socket.open_session()
        websocket = await socket.probed(sid)
        websocket.send("5")
        second = await socket.websocket(sid)
        assert await second.ending() == 1000


class TestConnect:
    @pytest.mark.parametrize(
        ("connect", "accepted", "auth"),
        [
            ("40", "40", '42["auth",{}]'),
            ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
            ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
            ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
        ],
        ids=["main", "main with a payload", "custom", "custom with a payload"],
    )
    async def test_a_known_namespace_lets_a_client_in(
        self, autojump_clock, socket: Served, connect: str, accepted: str, auth: str
    ):
        websocket = await socket.websocket_session()
        websocket.send(connect)
        reply = await websocket.receive()
        assert isinstance(reply, str)
        assert reply.startswith(accepted)
        handshake = json.loads(reply.removeprefix(accepted))
        assert set(handshake) == {"sid"}
        assert isinstance(handshake["sid"], str)
        assert await websocket.receive() == auth

    async def test_an_unknown_namespace_turns_a_client_away(self, autojump_clock, socket: Served):
        websocket = await socket.websocket_session()
        websocket.send("40/random")
        assert await websocket.receive() == '44/random,{"message":"Invalid namespace"}'

    async def test_an_invalid_connect_closes_the_connection(self, autojump_clock, socket: Served):
        websocket = await socket.websocket_session()
        websocket.send("4abc")
        assert await websocket.ending() == 1000

    async def test_a_client_that_never_connects_is_closed(self, autojump_clock, socket: Served):
        started = trio.current_time()
        websocket = await socket.websocket_session()
        for _ in range(3):
            assert await websocket.receive() == "2"
            websocket.send("3")
        await websocket.ending()
        assert trio.current_time() == pytest.approx(started + 1.0)


class TestDisconnect:
    async def test_a_client_leaves_the_main_namespace(self, autojump_clock, socket: Served):
        websocket = await socket.joined()
        websocket.send("41")
        assert await websocket.receive() == "2"

    async def test_a_client_leaves_one_namespace_and_stays_in_another(self, autojump_clock, socket: Served):
        websocket = await socket.joined()
        assert await websocket.receive() == "2"
        websocket.send("40/custom")
        await websocket.receive_many(2)
        websocket.send("41/custom", '42["message","message to main namespace"]')
        assert await websocket.receive() == '42["message-back","message to main namespace"]'


class TestMessage:
    ATTACHMENTS = (b"\1\2\3", b"\4\5\6")
    PLACEHOLDERS = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'

    @staticmethod
    async def send_and_receive(websocket: TestSocket, *messages: str | bytes) -> tuple[str | bytes, ...]:
        websocket.send(*messages)
        return tuple(await websocket.receive_many(len(messages)))

    async def test_text_goes_there_and_back(self, autojump_clock, socket: Served):
        websocket = await socket.joined()
        back = await self.send_and_receive(websocket, '42["message",1,"2",{"3":[true]}]')
        assert back == ('42["message-back",1,"2",{"3":[true]}]',)

    async def test_attachments_go_there_and_back(self, autojump_clock, socket: Served):
        websocket = await socket.joined()
        back = await self.send_and_receive(websocket, f'452-["message",{self.PLACEHOLDERS}]', *self.ATTACHMENTS)
        assert back == (f'452-["message-back",{self.PLACEHOLDERS}]', *self.ATTACHMENTS)

    async def test_text_is_acknowledged(self, autojump_clock, socket: Served):
        websocket = await socket.joined()
        back = await self.send_and_receive(websocket, '42456["message-with-ack",1,"2",{"3":[false]}]')
        assert back == ('43456[1,"2",{"3":[false]}]',)

    async def test_attachments_are_acknowledged(self, autojump_clock, socket: Served):
        websocket = await socket.joined()
        message = f'452-789["message-with-ack",{self.PLACEHOLDERS}]'
        back = await self.send_and_receive(websocket, message, *self.ATTACHMENTS)
        assert back == (f"462-789[{self.PLACEHOLDERS}]", *self.ATTACHMENTS)

    @pytest.mark.parametrize(
        "message",
        ["4abc", "42{}", '42abc["message-with-ack",1,"2",{"3":[false]}]'],
        ids=["unknown type", "payload of another shape", "ack id that is no number"],
    )
    async def test_an_invalid_packet_closes_the_connection(self, autojump_clock, socket: Served, message: str):
        websocket = await socket.joined()
        websocket.send(message)
        assert await websocket.ending() == 1000
