"""The HTTP loop over a stream in memory, under a virtual clock."""

import json
import re
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.kernel import Alarms
from djactors.net import HeadMemory, HttpConnection, HttpDates, Limits, Request, Response
from tests.fakes.memory_stream import MemoryPeer, MemoryStream
from tests.net.applications import GOOD, KEY, UPGRADE, Echo


class Served:
    """One connection with its application and the client's end."""

    def __init__(self, nursery: trio.Nursery, *, limits: Limits | None = None, window: int = 64 * 1024) -> None:
        self.application = Echo()
        self.stream = MemoryStream(nursery, window=window)
        alarms = Alarms()
        nursery.start_soon(alarms.run)
        self.connection = HttpConnection(
            self.stream, self.application, limits or Limits(), peer="192.0.2.1", alarms=alarms, heads=HeadMemory()
        )
        self.ended = trio.Event()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        await self.connection.run()
        await self.connection.carry()
        await self.stream.aclose()
        self.ended.set()

    @property
    def peer(self) -> MemoryPeer:
        return self.stream.peer

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.peer.receive_until(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self.peer.receive(int(headers.get("content-length", 0)))
        return int(status_line.split()[1]), headers, body

    async def refusal(self) -> tuple[int, str]:
        """Read a refusal, which must be the last thing on the connection."""
        status, headers, body = await self.response()
        assert headers["connection"] == "close"
        error = json.loads(body)["error"]
        assert error["message"]
        self.peer.end()
        await self.ended.wait()
        assert await self.peer.receive_all() == b""
        return status, error["code"]


@pytest.fixture
def served(nursery) -> Served:
    return Served(nursery)


def post(body: bytes, extra: bytes = b"") -> bytes:
    return b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), extra, body)


async def test_a_connection_is_kept_for_the_next_request(served, autojump_clock):
    for number in range(3):
        served.peer.send(post(b"body%d" % number))
        status, headers, body = await served.response()
        assert status == 200
        assert "connection" not in headers
        assert json.loads(body)["body"] == f"body{number}"
    served.peer.end()
    await served.ended.wait()


async def test_a_repeated_head_is_served_with_each_request_s_own_body(served, autojump_clock):
    for body in (b"one", b"two"):
        served.peer.send(post(body))
        _, _, answer = await served.response()
        assert json.loads(answer)["body"] == body.decode()
    first, second = served.application.requests
    assert first is not second
    served.peer.send(post(b"three"))
    _, _, answer = await served.response()
    assert json.loads(answer)["body"] == "three"


async def test_a_request_may_arrive_byte_by_byte(served, autojump_clock):
    for byte in post(b"hello"):
        served.peer.send(bytes([byte]))
        await wait_all_tasks_blocked()
    assert json.loads((await served.response())[2])["body"] == "hello"


async def test_pipelined_requests_are_answered_in_order(served, autojump_clock):
    served.peer.send(b"".join(post(b"%d" % number) for number in range(50)))
    for number in range(50):
        assert json.loads((await served.response())[2])["body"] == str(number)


async def test_empty_lines_before_a_request_are_tolerated(served, autojump_clock):
    served.peer.send(b"\r\n\r\n")
    await wait_all_tasks_blocked()
    served.peer.send(b"\r\n" + GOOD)
    assert (await served.response())[0] == 200


async def test_a14_who_is_turned_away_again_and_again_is_looked_at_less_and_less(served, autojump_clock):
    async def refuse(request: Request) -> Response:
        return Response(429, b"{}")

    served.application.routes["/busy"] = refuse
    served.peer.send(GOOD.replace(b"/good", b"/busy") * 9 + GOOD * 2 + GOOD.replace(b"/good", b"/busy") + GOOD)
    times = []
    for _ in range(13):
        status, _, _ = await served.response()
        times.append((status, trio.current_time()))
    pauses = [round(later - sooner, 6) for (_, sooner), (_, later) in pairwise(times)]
    assert [status for status, _ in times] == [429] * 9 + [200, 200, 429, 200]
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 0.64, 0.64, 0, 0, 0.01]


async def test_a_chunked_body_and_the_request_behind_it_are_read(served, autojump_clock):
    served.peer.send(
        b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n" + GOOD
    )
    assert json.loads((await served.response())[2])["body"] == "hello!"
    assert json.loads((await served.response())[2])["path"] == "/good"


async def test_head_is_answered_without_a_body_but_with_its_length(served, autojump_clock):
    served.peer.send(b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n")
    head = await served.peer.receive_until(b"\r\n\r\n")
    assert b"content-length: " in head
    served.peer.send(GOOD)
    assert (await served.response())[0] == 200


async def test_http_1_0_is_served_and_closed_unless_it_asks_to_be_kept(served, autojump_clock):
    served.peer.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (await served.response())[1]["connection"] == "keep-alive"
    served.peer.send(b"GET /a HTTP/1.0\r\n\r\n")
    assert (await served.response())[1]["connection"] == "close"
    served.peer.end()
    await served.ended.wait()


async def test_connection_close_is_obeyed_from_either_side(nursery, autojump_clock):
    served = Served(nursery)
    served.peer.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + GOOD)
    assert (await served.response())[1]["connection"] == "close"
    assert await served.peer.receive_all() == b""
    served = Served(nursery)

    async def close(request: Request) -> Response:
        return Response(200, b"bye", close=True)

    served.application.routes["/bye"] = close
    served.peer.send(b"GET /bye HTTP/1.1\r\nHost: h\r\n\r\n")
    _, headers, body = await served.response()
    assert (headers["connection"], body) == ("close", b"bye")
    assert await served.peer.receive_all() == b""


async def test_a_client_that_expects_100_is_told_to_continue(served, autojump_clock):
    head, body = post(b"hello", b"Expect: 100-continue\r\n").split(b"\r\n\r\n")
    served.peer.send(head + b"\r\n\r\n")
    assert await served.peer.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    served.peer.send(body)
    assert json.loads((await served.response())[2])["body"] == "hello"


async def test_a_client_that_expects_100_is_spared_a_body_that_is_too_large(served, autojump_clock):
    served.peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
    assert await served.refusal() == (413, "body_too_large")


async def test_an_unknown_expectation_is_refused(served, autojump_clock):
    served.peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: magic\r\n\r\n")
    assert (await served.refusal())[0] == 417


async def test_a_body_over_the_limit_is_refused_before_it_is_read(served, autojump_clock):
    served.peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n" + b"x" * 500)
    assert await served.refusal() == (413, "body_too_large")
    assert not served.application.requests


async def test_a_chunked_body_over_the_limit_is_refused(served, autojump_clock):
    served.peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3E8\r\n" + b"x" * 1000 + b"\r\n")
    await wait_all_tasks_blocked()
    served.peer.send(b"1\r\n")
    assert await served.refusal() == (413, "body_too_large")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"hello\r\n", 400),
        (b"GET / HTTP/1.1\n\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /" + b"a" * 8200 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET /" + b"a" * 100_000, 414),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 100_000, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 16_400 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GOOD, 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400),
    ],
)
async def test_what_cannot_be_served_is_refused_in_the_contract_s_shape_and_closed(served, autojump_clock, raw, status):
    served.peer.send(raw)
    assert (await served.refusal())[0] == status
    assert not served.application.requests


async def test_a_head_that_trickles_is_cut_off_at_its_deadline(served, autojump_clock):
    async def trickle() -> None:
        for byte in GOOD[:-1]:
            served.peer.send(bytes([byte]))
            await trio.sleep(1)

    start = trio.current_time()
    async with trio.open_nursery() as client:
        client.start_soon(trickle)
        assert await served.refusal() == (408, "request_timeout")
        assert 10 <= trio.current_time() - start < 13
        client.cancel_scope.cancel()


async def test_a_body_that_trickles_is_cut_off_at_its_deadline(served, autojump_clock):
    served.peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
    start = trio.current_time()
    async with trio.open_nursery() as client:

        async def trickle() -> None:
            while True:
                served.peer.send(b"x")
                await trio.sleep(1)

        client.start_soon(trickle)
        status, _, _ = await served.response()
        assert status == 408
        assert trio.current_time() - start == 30
        client.cancel_scope.cancel()


async def test_silence_is_ended_without_an_answer(nursery, autojump_clock):
    served = Served(nursery)
    await served.ended.wait()
    assert trio.current_time() < 11
    assert await served.peer.receive_all() == b""

    served = Served(nursery)
    served.peer.send(GOOD)
    await served.response()
    start = trio.current_time()
    await served.ended.wait()
    assert trio.current_time() - start == 75
    assert await served.peer.receive_all() == b""


async def test_a_client_that_leaves_in_the_middle_ends_its_connection_only(nursery, autojump_clock):
    for part in (
        b"",
        GOOD[:10],
        post(b"hello")[:-2],
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5",
    ):
        for leave in (MemoryPeer.end, MemoryPeer.reset):
            served = Served(nursery)
            served.peer.send(part)
            await wait_all_tasks_blocked()
            leave(served.peer)
            with trio.fail_after(5):
                await served.ended.wait()
            assert not served.application.requests


async def test_a_client_that_does_not_read_its_answer_is_given_up(nursery, autojump_clock):
    served = Served(nursery, window=1000)

    async def large(request: Request) -> Response:
        return Response(200, b"x" * 1_000_000)

    served.application.routes["/large"] = large
    served.peer.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
    with trio.fail_after(35):
        await served.ended.wait()
    assert served.stream.closed


async def test_a_large_answer_arrives_whole(nursery, autojump_clock):
    served = Served(nursery, window=1000)

    async def large(request: Request) -> Response:
        return Response(200, b"x" * 300_000)

    served.application.routes["/large"] = large
    served.peer.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n" + GOOD)
    head = await served.peer.receive_until(b"\r\n\r\n")
    assert b"content-length: 300000" in head
    for _ in range(300):
        assert await served.peer.receive(1000) == b"x" * 1000
    assert (await served.response())[0] == 200


async def test_a_client_that_leaves_cancels_a_parked_handler(nursery, autojump_clock):
    for leave in (MemoryPeer.end, MemoryPeer.reset):
        served = Served(nursery)
        seen: list[bool] = []

        async def park(request: Request, seen: list[bool] = seen) -> Response:
            async with request.watch_disconnect() as scope:
                await trio.sleep_forever()
            seen.append(request.disconnected and scope.cancelled_caught)
            return Response(200)

        served.application.routes["/park"] = park
        served.peer.send(b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n")
        await wait_all_tasks_blocked()
        leave(served.peer)
        await served.ended.wait()
        assert seen == [True]
        assert await served.peer.receive_all() == b""


async def test_requests_pipelined_behind_a_parked_one_are_kept(served, autojump_clock):
    wake = trio.Event()

    async def park(request: Request) -> Response:
        async with request.watch_disconnect():
            await wake.wait()
        assert not request.disconnected
        return Response(200, b"woken")

    served.application.routes["/park"] = park
    served.peer.send(b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n")
    await wait_all_tasks_blocked()
    served.peer.send(post(b"first")[:-2])
    await wait_all_tasks_blocked()
    wake.set()
    assert (await served.response())[2] == b"woken"
    served.peer.send(b"st" + GOOD)
    assert json.loads((await served.response())[2])["body"] == "first"
    assert (await served.response())[0] == 200


async def test_a_client_cannot_pipeline_without_bound_behind_a_parked_request(nursery, autojump_clock):
    served = Served(nursery, limits=Limits(max_pipelined=1000))
    wake = trio.Event()

    async def park(request: Request) -> Response:
        async with request.watch_disconnect():
            await wake.wait()
        return Response(200)

    served.application.routes["/park"] = park
    served.peer.send(b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n")
    for _ in range(100):
        await wait_all_tasks_blocked()
        served.peer.send(b"x" * 1000)
    await wait_all_tasks_blocked()
    assert served.stream.received_since_mark < 3000
    wake.set()
    assert (await served.response())[0] == 200


async def test_an_error_inside_a_watched_block_comes_out_as_it_is(nursery, autojump_clock):
    served = Served(nursery)
    seen = []

    async def fail(request: Request) -> Response:
        try:
            async with request.watch_disconnect():
                request.headers["x-missing"]
        except LookupError as error:
            seen.append(str(error))
        return Response(200)

    served.application.routes["/fail"] = fail
    served.peer.send(b"GET /fail HTTP/1.1\r\nHost: h\r\n\r\n" + GOOD)
    assert (await served.response())[0] == 200
    assert (await served.response())[0] == 200
    assert seen == ["'x-missing'"]


async def test_draining_closes_an_idle_connection_and_finishes_a_busy_one(nursery, autojump_clock):
    idle = Served(nursery)
    idle.peer.send(GOOD)
    await idle.response()
    await wait_all_tasks_blocked()
    busy = Served(nursery)
    wake = trio.Event()

    async def park(request: Request) -> Response:
        await wake.wait()
        return Response(200, b"finished")

    busy.application.routes["/park"] = park
    busy.peer.send(b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n" + GOOD)
    await wait_all_tasks_blocked()
    idle.connection.drain()
    busy.connection.drain()
    await idle.ended.wait()
    wake.set()
    status, headers, body = await busy.response()
    assert (status, headers["connection"], body) == (200, "close", b"finished")
    assert await busy.peer.receive_all() == b""


WRONG_OFFERS = [b"", b",", b"a,", b",a", b"a,,b", b"a, a", b"a b", b"a;q=1", b'"a"', b"\xe9", b"a\tb"]
"""F5: subprotocols that the `ws` of the reference server refuses as well."""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (UPGRADE.replace(b"GET", b"POST"), 400),
        (UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (UPGRADE.replace(b"Connection: Upgrade", b"Connection: close"), 400),
        (UPGRADE.replace(b"Version: 13", b"Version: 8"), 426),
        (UPGRADE.replace(b"Sec-WebSocket-Version: 13\r\n", b""), 426),
        (UPGRADE.replace(KEY, b"short"), 400),
        (UPGRADE.replace(KEY, b"=" * 24), 400),
        (UPGRADE.replace(KEY, b"\xff" * 24), 400),
        (UPGRADE.replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
        (UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"), 400),
        (UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"), 400),
        *(
            (UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: %b\r\n\r\n" % wrong), 400)
            for wrong in WRONG_OFFERS
        ),
    ],
)
async def test_a_malformed_websocket_handshake_is_refused(served, autojump_clock, head, status):
    served.peer.send(head)
    assert (await served.refusal())[0] == status


async def test_a_version_that_is_not_13_is_told_the_one_that_is(served, autojump_clock):
    served.peer.send(UPGRADE.replace(b"Version: 13", b"Version: 14"))
    _, headers, _ = await served.response()
    assert headers["sec-websocket-version"] == "13"


async def test_another_protocol_s_upgrade_is_ignored(served, autojump_clock):
    served.peer.send(b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GOOD)
    assert json.loads((await served.response())[2])["path"] == "/x"
    assert json.loads((await served.response())[2])["path"] == "/good"


async def test_the_application_may_refuse_an_upgrade(served, autojump_clock):
    served.peer.send(UPGRADE.replace(b"/socket", b"/forbidden"))
    status, headers, _ = await served.response()
    assert (status, headers["connection"]) == (403, "close")


DATE = re.compile(r"[MTWFS][a-z]{2}, \d\d [JFMASOND][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


@pytest.mark.parametrize(
    "head", [GOOD, b"GET /good HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET /x HTTP/3.0\r\n\r\n"]
)
async def test_f6_every_answer_and_refusal_has_a_date(served, autojump_clock, head):
    served.peer.send(head)
    _, headers, _ = await served.response()
    assert DATE.fullmatch(headers["date"])


def test_f6_the_date_is_that_of_the_clock_and_changes_with_its_second():
    now = 784111777.0
    asked = []

    def clock() -> datetime:
        asked.append(now)
        return datetime.fromtimestamp(now, UTC)

    dates = HttpDates(clock)
    assert dates() == "Sun, 06 Nov 1994 08:49:37 GMT"  # the example of RFC 9110 section 5.6.7
    now += 0.9
    first = dates()
    assert first == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert dates() is first  # written once a second
    now += 0.2
    assert dates() == "Sun, 06 Nov 1994 08:49:38 GMT"
    now -= 86_400
    assert dates() == "Sat, 05 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"GZIP", b"deflate, gzip", b"identity, gzip", b"x-unknown"])
async def test_f8_an_encoded_body_is_refused_before_it_is_read(served, autojump_clock, coding):
    served.peer.send(b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\nContent-Encoding: %b\r\n\r\n" % coding)
    status, headers, body = await served.response()
    assert (status, headers["accept-encoding"], headers["connection"]) == (415, "identity", "close")
    error = json.loads(body)["error"]
    assert error["code"] == "unsupported_media_type"
    assert "uncompressed" in error["message"]
    assert served.application.requests == []


@pytest.mark.parametrize("coding", [b"identity", b"Identity", b""])
async def test_f8_a_body_that_is_said_not_to_be_encoded_is_taken(served, autojump_clock, coding):
    served.peer.send(post(b"plain", b"Content-Encoding: %b\r\n" % coding))
    assert json.loads((await served.response())[2])["body"] == "plain"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n", 408),
        (b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Encoding: br\r\n\r\n", 415),
        (b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: more\r\n\r\n", 417),
        (b"GET /x HTTP/3.0\r\n\r\n", 505),
    ],
)
async def test_a20_the_application_is_told_which_request_it_words_a_refusal_of(served, autojump_clock, head, status):
    served.peer.send(GOOD)
    await served.response()
    served.peer.send(head)
    assert (await served.response())[0] == status
    [refused] = served.application.refused
    assert (None if refused is None else refused.path) == (None if status == 505 else "/p")
