"""The 25 cases of the official Engine.IO test suite (revision 4), on our own stack under a virtual clock."""

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.engine.clients import Served, receive_answer

HANDSHAKE_KEYS = {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}

BAD_VERSIONS = ["", "abc"]
BAD_TRANSPORTS = ["", "abc"]


def check_handshake(packet: str | bytes, upgrades: list[str]) -> None:
    assert isinstance(packet, str)
    assert packet[0] == "0"
    handshake = json.loads(packet[1:])
    assert set(handshake) == HANDSHAKE_KEYS
    assert isinstance(handshake.pop("sid"), str)
    assert handshake == {"upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000}


class TestHandshake:
    class TestPolling:
        async def test_a_session_opens(self, autojump_clock, engine: Served):
            answer = await engine.get()
            assert answer.status == 200
            check_handshake(answer.body, ["websocket"])

        async def test_another_protocol_version_is_refused(self, autojump_clock, engine: Served):
            for version in BAD_VERSIONS:
                assert (await engine.get(EIO=version)).status == 400

        async def test_another_transport_is_refused(self, autojump_clock, engine: Served):
            for transport in BAD_TRANSPORTS:
                assert (await engine.get(transport=transport)).status == 400

        async def test_another_method_is_refused(self, autojump_clock, engine: Served):
            for method in ("POST", "PUT"):
                assert (await engine.request(method)).status == 400

    class TestWebSocket:
        async def test_a_session_opens(self, autojump_clock, engine: Served):
            websocket = await engine.websocket()
            check_handshake(await websocket.receive(), [])

        async def test_another_protocol_version_is_refused(self, autojump_clock, engine: Served):
            for version in BAD_VERSIONS:
                answer, _ = await engine.try_websocket(EIO=version)
                assert answer.status == 400

        async def test_another_transport_is_refused(self, autojump_clock, engine: Served):
            for transport in BAD_TRANSPORTS:
                answer, _ = await engine.try_websocket(transport=transport)
                assert answer.status == 400


class TestMessage:
    class TestPolling:
        @staticmethod
        async def echo(engine: Served, body: str) -> None:
            sid = await engine.open_session()
            pushed = await engine.post(sid, body)
            assert (pushed.status, pushed.body) == (200, "ok")
            polled = await engine.get(sid)
            assert (polled.status, polled.body) == (200, body)

        async def test_one_text_packet_goes_there_and_back(self, autojump_clock, engine: Served):
            await self.echo(engine, "4hello")

        async def test_several_text_packets_go_there_and_back(self, autojump_clock, engine: Served):
            await self.echo(engine, "4test1\x1e4test2\x1e4test3")

        async def test_text_and_binary_packets_go_there_and_back(self, autojump_clock, engine: Served):
            await self.echo(engine, "4hello\x1ebAQIDBA==")

        async def test_an_invalid_packet_closes_the_session(self, autojump_clock, engine: Served):
            sid = await engine.open_session()
            assert (await engine.post(sid, "abc")).status == 400
            assert (await engine.get(sid)).status == 400

        async def test_two_polls_at_once_close_the_session(self, autojump_clock, engine: Served):
            sid = await engine.open_session()
            first = engine.start(sid=sid)
            await wait_all_tasks_blocked()
            second = await engine.get(sid)
            answer = await receive_answer(first)
            assert (answer.status, answer.body) == (200, "1")
            assert second.status == 400
            assert (await engine.get(sid)).status == 400

        @pytest.mark.parametrize("ending", ["end", "reset"])
        async def test_an_aborted_poll_closes_the_session(self, autojump_clock, engine: Served, ending: str):
            sid = await engine.open_session()
            poll = engine.start(sid=sid)
            await wait_all_tasks_blocked()
            getattr(poll, ending)()
            assert (await engine.get(sid)).status == 400

    class TestWebSocket:
        async def test_a_text_packet_goes_there_and_back(self, autojump_clock, engine: Served):
            websocket = await engine.websocket_session()
            websocket.send("4hello")
            assert await websocket.receive() == "4hello"

        async def test_a_binary_packet_goes_there_and_back(self, autojump_clock, engine: Served):
            websocket = await engine.websocket_session()
            websocket.send(b"\1\2\3\4")
            assert await websocket.receive() == b"\1\2\3\4"

        async def test_an_invalid_packet_closes_the_session(self, autojump_clock, engine: Served):
            websocket = await engine.websocket_session()
            websocket.send("abc")
            assert await websocket.ending() == 1000


class TestHeartbeat:
    class TestPolling:
        async def test_each_ping_is_answered_by_a_pong(self, autojump_clock, engine: Served):
            sid = await engine.open_session()
            for _ in range(3):
                assert (await engine.get(sid)).body == "2"
                assert (await engine.post(sid, "3")).status == 200

        async def test_a_missing_pong_closes_the_session(self, autojump_clock, engine: Served):
            sid = await engine.open_session()
            await trio.sleep(0.5)
            assert (await engine.get(sid)).status == 400

    class TestWebSocket:
        async def test_each_ping_is_answered_by_a_pong(self, autojump_clock, engine: Served):
            websocket = await engine.websocket_session()
            for _ in range(3):
                assert await websocket.receive() == "2"
                websocket.send("3")

        async def test_a_missing_pong_closes_the_session(self, autojump_clock, engine: Served):
            started = trio.current_time()
            websocket = await engine.websocket_session()
            await websocket.ending()
            assert trio.current_time() == pytest.approx(started + 0.5)


class TestClose:
    async def test_a_close_packet_by_polling_ends_the_session(self, autojump_clock, engine: Served):
        sid = await engine.open_session()
        poll = engine.start(sid=sid)
        await engine.post(sid, "1")
        answer = await receive_answer(poll)
        assert (answer.status, answer.body) == (200, "6")
        assert (await engine.get(sid)).status == 400

    async def test_a_close_packet_by_websocket_ends_the_session(self, autojump_clock, engine: Served):
        websocket = await engine.websocket_session()
        websocket.send("1")
        assert await websocket.ending() == 1000


class TestUpgrade:
    async def test_a_session_goes_from_polling_to_websocket(self, autojump_clock, engine: Served):
        sid = await engine.open_session()
        websocket = await engine.probed(sid)
        polled = await engine.get(sid)
        assert (polled.status, polled.body) == (200, "6")
        websocket.send("5", "4hello")
        assert await websocket.receive() == "4hello"

    async def test_polling_after_the_upgrade_is_refused_without_harm(self, autojump_clock, engine: Served):
        sid = await engine.open_session()
        websocket = await engine.probed(sid)
        websocket.send("5")
        assert (await engine.get(sid)).status == 400
        websocket.send("4hello")
        assert await websocket.receive() == "4hello"

    async def test_a_second_websocket_after_the_upgrade_is_closed_without_harm(self, autojump_clock, engine: Served):
        sid = await engine.open_session()
        websocket = await engine.probed(sid)
        websocket.send("5")
        second = await engine.websocket(sid)
        assert await second.ending() == 1000
        websocket.send("4hello")
        assert await websocket.receive() == "4hello"
