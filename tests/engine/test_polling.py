"""Long-polling as clients and browsers see it."""

import gzip
from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.engine import OriginPolicy
from djactors.engine._session import FAREWELL_SECONDS
from djactors.protocol import EncodedPacket
from tests.engine.clients import CALM, Served, receive_answer
from tests.engine.conftest import Serve

OWN = ("Origin", "https://server.test:3000")


async def test_a_poll_waits_for_a_message(autojump_clock, calm: Served):
    sid = await calm.open_session()
    poll = calm.start(sid=sid)
    await trio.sleep(3)
    await calm.post(sid, "4hello")
    assert (await receive_answer(poll)).packets == ["4hello"]


async def test_requests_and_polls_reuse_a_connection(autojump_clock, calm: Served):
    peer = calm.start()
    sid = (await receive_answer(peer)).body.split('"')[3]
    for text in ("4one", "4two"):
        calm.start("POST", sid=sid, body=text, peer=peer)
        assert (await receive_answer(peer)).body == "ok"
        calm.start(sid=sid, peer=peer)
        assert (await receive_answer(peer)).packets == [text]


async def test_an_answer_holds_at_most_sixteen_packets_and_none_is_lost(autojump_clock, calm: Served):
    sid = await calm.open_session()
    sent = [f"4{number}" for number in range(40)]
    await calm.post(sid, "\x1e".join(sent))
    answers = [(await calm.get(sid)).packets for _ in range(3)]
    assert [len(packets) for packets in answers] == [16, 16, 8]
    assert [packet for packets in answers for packet in packets] == sent


async def test_answers_are_typed_and_never_cached(autojump_clock, calm: Served):
    opened = await calm.get()
    assert opened.headers["content-type"] == "text/plain; charset=UTF-8"
    assert opened.headers["cache-control"] == "no-store"
    pushed = await calm.post(await calm.open_session(), "4hello")
    assert pushed.headers["content-type"] == "text/html"


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("GET", {"transport": "abc"}, 0),
        ("GET", {"sid": "unknown"}, 1),
        ("POST", {"sid": "unknown"}, 1),
        ("POST", {}, 2),
        ("PUT", {}, 2),
        ("GET", {"transport": "websocket"}, 3),
        ("GET", {"EIO": "3"}, 5),
    ],
)
async def test_refusals_have_the_codes_of_the_reference_server(
    autojump_clock, calm: Served, method: str, query: dict, code: int
):
    answer = await calm.request(method, **query)
    assert (answer.status, answer.error_code) == (400, code)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_on_a_session_are_refused_without_harm(autojump_clock, calm: Served, method: str):
    sid = await calm.open_session()
    assert (await calm.request(method, sid=sid)).error_code == 3
    await calm.post(sid, "4hello")
    assert (await calm.get(sid)).packets == ["4hello"]


async def test_two_posts_at_once_are_both_taken_whole(autojump_clock, calm: Served):
    sid = await calm.open_session()
    posts = [calm.start("POST", sid=sid, body="\x1e".join([f"4{name}"] * 3)) for name in "ab"]
    assert [(await receive_answer(post)).body for post in posts] == ["ok", "ok"]
    packets = (await calm.get(sid)).packets
    assert sum(first != second for first, second in pairwise(packets)) == 1


async def test_a_body_over_the_bound_is_refused_without_harm(autojump_clock, calm: Served):
    sid = await calm.open_session()
    answer = await calm.post(sid, b"4" * (CALM.max_payload + 1))
    assert answer.status == 413
    await calm.post(sid, b"4" * CALM.max_payload)
    assert len((await calm.get(sid)).body) == CALM.max_payload


async def test_bytes_as_revision_3_sent_them_close_the_session(autojump_clock, calm: Served):
    sid = await calm.open_session()
    answer = await calm.post(sid, b"4abc", headers=[("Content-Type", "application/octet-stream")])
    assert answer.status == 400
    assert (await calm.get(sid)).error_code == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"\x1e", b"4ok\x1e", b"\xff", b"b====", b"7", b"2", b"2probe", b"5", b"0{}", b"4\x1e" * 5000],
    ids=repr,
)
async def test_a_body_that_breaks_the_protocol_closes_the_session_alone(autojump_clock, calm: Served, body: bytes):
    other = await calm.open_session()
    sid = await calm.open_session()
    poll = calm.start(sid=sid)
    await wait_all_tasks_blocked()
    assert (await calm.post(sid, body)).status == 400
    assert (await receive_answer(poll)).packets[-1] == "1"
    assert (await calm.get(sid)).error_code == 1
    await calm.post(other, "4hello")
    assert (await calm.get(other)).packets == ["4hello"]


async def test_a_client_that_leaves_before_its_answer_is_written_loses_the_session(autojump_clock, calm: Served):
    sid = await calm.open_session()
    await calm.post(sid, "4" + "x" * 100_000)
    poll = calm.start(sid=sid, window=1000)
    await wait_all_tasks_blocked()
    poll.reset()
    await wait_all_tasks_blocked()
    assert (await calm.get(sid)).error_code == 1


class TestGoodbye:
    async def test_a_waiting_poll_gets_what_was_sent_and_the_close(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        poll = calm.start(sid=sid)
        await wait_all_tasks_blocked()
        session = calm.application.handlers[sid].session
        session.send([EncodedPacket(b"4last")])
        session.close("drained")
        assert (await receive_answer(poll)).packets == ["4last", "1"]
        assert (await calm.get(sid)).error_code == 1

    async def test_the_next_poll_gets_it_if_none_waits(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session = calm.application.handlers[sid].session
        session.send([EncodedPacket(b"4%d" % number) for number in range(20)])
        session.close("drained")
        assert len((await calm.get(sid)).packets) == 16
        assert (await calm.get(sid)).packets == ["416", "417", "418", "419", "1"]
        assert (await calm.get(sid)).error_code == 1

    async def test_it_is_not_kept_for_long(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        calm.application.handlers[sid].session.close("drained")
        await trio.sleep(FAREWELL_SECONDS)
        assert (await calm.get(sid)).error_code == 1

    async def test_there_is_none_if_it_is_not_wanted(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session = calm.application.handlers[sid].session
        session.send([EncodedPacket(b"4last")])
        session.close("drained", say_goodbye=False)
        assert (await calm.get(sid)).error_code == 1

    async def test_nothing_can_be_sent_behind_it(self, autojump_clock, calm: Served):
        sid = await calm.open_session()
        session = calm.application.handlers[sid].session
        session.close("drained")
        session.send([EncodedPacket(b"4late")])
        assert (await calm.get(sid)).packets == ["1"]


class TestCompression:
    """F7."""

    GZIP = (("Accept-Encoding", "gzip, deflate, br"),)

    async def polled(self, served: Served, *texts: str) -> tuple[dict[str, str], int]:
        """Return the headers of the poll that brings these messages, and its length."""
        sid = await served.open_session()
        served.application.handlers[sid].session.send([EncodedPacket(f"4{text}".encode()) for text in texts])
        peer = served.start(sid=sid, headers=self.GZIP)
        head = (await peer.receive_until(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.split(": ", 1) for line in head.removesuffix("\r\n\r\n").split("\r\n")[1:])
        body = await peer.receive(int(headers["content-length"]))
        text = gzip.decompress(body) if "content-encoding" in headers else body
        assert text.decode().split("\x1e") == [f"4{text}" for text in texts]
        return headers, len(body)

    async def test_f7_a_long_poll_is_compressed_for_a_client_that_takes_it(self, autojump_clock, calm: Served):
        events = [
            f'2["notification:new",{{"id":{number},"title":"You are the assignee of a job now"}}]'
            for number in range(16)
        ]
        headers, size = await self.polled(calm, *events)
        assert headers["content-encoding"] == "gzip"
        assert headers["vary"] == "Origin, Accept-Encoding"
        assert size < len("".join(events)) / 3

    async def test_f7_a_short_poll_is_not(self, autojump_clock, calm: Served):
        headers, _ = await self.polled(calm, "2[1]")
        assert "content-encoding" not in headers

    @pytest.mark.parametrize(
        "connected", ['0{"sid":"a","pid":"a.b.c"}', '0/custom,{"sid":"a","pid":"a.b.c"}'], ids=["main", "custom"]
    )
    @pytest.mark.parametrize("place", [0, 1, 5])
    async def test_f7_the_answer_to_a_connect_is_never_compressed_with_what_others_wrote(
        self, autojump_clock, calm: Served, connected: str, place: int
    ):
        texts = ['2["text","' + "somebody else's " * 20 + '"]'] * 5
        texts.insert(place, connected)
        headers, _ = await self.polled(calm, *texts)
        assert "content-encoding" not in headers

    async def test_f7_the_handshake_is_not_compressed(self, autojump_clock, calm: Served):
        headers = [("Accept-Encoding", "gzip, identity;q=0")]
        answer = await calm.get(headers=headers)
        assert answer.body.startswith("0{")
        assert "content-encoding" not in answer.headers


class TestCors:
    async def test_a_page_of_an_allowed_origin_may_read_every_answer(self, autojump_clock, serve: Serve):
        served = await serve(origins=OriginPolicy(["https://app.test"]))
        origin = [("Origin", "https://app.test")]
        opened = await served.get(headers=origin)
        sid = opened.body.split('"')[3]
        answers = [
            opened,
            await served.post(sid, "4hello", headers=origin),
            await served.get(sid, headers=origin),
            await served.get("unknown", headers=origin),
            await served.request("OPTIONS", headers=origin),
        ]
        assert [answer.status for answer in answers] == [200, 200, 200, 400, 204]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == "https://app.test"
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "Origin" in answer.headers["vary"].split(", ")

    async def test_a_preflight_is_told_what_may_be_sent(self, autojump_clock, calm: Served):
        answer = await calm.request("OPTIONS", headers=[OWN, ("Access-Control-Request-Method", "POST")])
        assert answer.status == 204
        assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "content-type"
        assert int(answer.headers["access-control-max-age"]) > 0

    @pytest.mark.parametrize("origin", ["null", "https://foreign.test"])
    async def test_row_19_a_foreign_page_is_refused_on_every_request(self, autojump_clock, calm: Served, origin: str):
        sid = await calm.open_session()
        headers = [("Origin", origin)]
        answers = [
            await calm.get(headers=headers),
            await calm.get(sid, headers=headers),
            await calm.post(sid, "4hello", headers=headers),
            await calm.request("OPTIONS", headers=headers),
            (await calm.try_websocket(headers=headers))[0],
            (await calm.try_websocket(sid=sid, headers=headers))[0],
        ]
        for answer in answers:
            assert (answer.status, answer.error_code) == (403, 4)
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["vary"] == "Origin"
        assert calm.log.refusals == ["origin"] * len(answers)
        await calm.post(sid, "4hello")
        assert (await calm.get(sid)).packets == ["4hello"]
