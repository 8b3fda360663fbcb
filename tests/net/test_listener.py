"""The listener over real sockets on loopback. Nothing sleeps: every wait is for a condition."""

import os
import resource
import socket
from collections import Counter
from contextlib import suppress

import pytest
import trio

from djactors.net import Limits, Listener, ListenerLimits, Request, RequestRefused, Response
from tests.net.applications import (
    GOOD,
    UPGRADE,
    Echo,
    answers,
    connect,
    listening,
    open_raw_websocket,
    receive_all,
    receive_response,
    receive_until,
    reset,
    until,
)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


class Counts:
    def __init__(self) -> None:
        self.counter: Counter[str] = Counter()

    def connection_opened(self) -> None:
        self.counter["opened"] += 1

    def connection_closed(self) -> None:
        self.counter["closed"] += 1

    def connection_refused(self, reason: str, peer: str) -> None:
        self.counter[f"refused {reason}"] += 1

    def request_refused(self, refused: RequestRefused, peer: str) -> None:
        self.counter[f"refused {refused.status}"] += 1

    def proxy_refused(self, peer: str, problem: str) -> None:
        self.counter[f"proxy refused: {problem}"] += 1

    def accept_failed(self, reason: str) -> None:
        self.counter[f"failed {reason}"] += 1


async def test_it_binds_a_free_port_and_serves_on_it():
    async with listening() as listener:
        assert listener.address is not None
        assert listener.address[1] > 0
        assert await answers(listener)
        await until(lambda: listener.connections == 0)


async def test_an_address_in_use_is_an_error_at_the_start():
    async with listening() as listener:
        assert listener.address is not None
        other = Listener(Echo(), port=listener.address[1], on_error=lambda *_: None)
        with pytest.raises(OSError, match="in use"):
            await other.run()


async def test_stopping_leaves_neither_task_nor_descriptor():
    before, tasks_before = descriptors(), tasks()
    async with listening() as listener:
        clients = [await connect(listener) for _ in range(10)]
        await clients[0].send_all(GOOD)
        await receive_response(clients[0])
        await clients[1].send_all(GOOD[:10])
        await clients[2].send_all(UPGRADE)
        await receive_until(clients[2], b"\r\n\r\n")
        await until(lambda: listener.connections == 10)
    for client in clients:
        await receive_all(client)
        await client.aclose()
    assert listener.connections == 0
    assert (descriptors(), tasks()) == (before, tasks_before)


async def test_it_can_run_again_on_its_port_after_it_was_cancelled():
    async with listening() as listener:
        address = listener.address
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        assert listener.address == address
        assert await answers(listener)
        nursery.cancel_scope.cancel()


async def test_an_error_of_the_application_is_answered_500_reported_and_contained():
    application = Echo()
    errors: list[BaseException] = []

    async def fail(request: Request) -> Response:
        raise ZeroDivisionError("oops")

    async def fail_in_parts(request: Request) -> Response:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, request)
            await trio.sleep_forever()
        return Response(200)

    async def answer_badly(request: Request) -> Response:
        return Response(200, headers=[("x", "\r\n")])

    application.routes = {"/fail": fail, "/parts": fail_in_parts, "/badly": answer_badly}
    async with listening(application, errors=errors) as listener:
        bystander = await connect(listener)
        for path in (b"/fail", b"/parts", b"/badly"):
            client = await connect(listener)
            await client.send_all(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path)
            status, headers, body = await receive_response(client)
            assert (status, headers["connection"]) == (500, "close")
            assert b"oops" not in body
            assert await receive_all(client) == b""
            await client.aclose()
        await bystander.send_all(GOOD)
        assert (await receive_response(bystander))[0] == 200
        await bystander.aclose()
    assert [type(error) for error in errors] == [ZeroDivisionError, ZeroDivisionError, ValueError]


async def test_a_report_or_a_refusal_that_fails_is_contained_too():
    class Hopeless(Echo):
        def refusal(self, status: int, code: str, message: str, request: Request | None = None) -> Response:
            raise KeyError(code)

    def report(error: BaseException, peer: str) -> None:
        raise ValueError("the disk is full")

    listener = Listener(Hopeless(), on_error=report)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        for garbage in (b"garbage\r\n", b"GET / HTTP/2.0\r\n\r\n"):
            client = await connect(listener)
            await client.send_all(garbage)
            assert await receive_all(client) == b""
            await client.aclose()
        assert await answers(listener)
        nursery.cancel_scope.cancel()


async def test_an_error_while_everything_is_cancelled_does_not_escape():
    application = Echo()
    errors: list[BaseException] = []
    started = trio.Event()

    async def fail_late() -> None:
        try:
            started.set()
            await trio.sleep_forever()
        finally:
            raise LookupError("late")

    async def park(request: Request) -> Response:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_late)
            nursery.start_soon(trio.sleep_forever)
        return Response(200)

    application.routes["/park"] = park
    async with listening(application, errors=errors) as listener:
        client = await connect(listener)
        await client.send_all(b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n")
        await started.wait()
    assert len(errors) == 1
    await client.aclose()


async def test_over_the_cap_a_client_is_told_503_and_health_still_answers():
    counts = Counts()
    limits = ListenerLimits(max_connections=3, vital_paths=frozenset({"/healthz"}))
    async with listening(listener_limits=limits, telemetry=counts) as listener:
        kept = [await open_raw_websocket(listener) for _ in range(3)]
        refused = await connect(listener)
        await refused.send_all(GOOD)
        status, headers, body = await receive_response(refused)
        assert status == 503
        assert int(headers["retry-after"]) > 0
        assert b'"error"' in body
        assert await receive_all(refused) == b""
        await refused.aclose()
        probe = await connect(listener)
        await probe.send_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        status, headers, _ = await receive_response(probe)
        assert (status, headers["connection"]) == (200, "close")
        await probe.aclose()
        for client in kept:
            await reset(client)
        await until(lambda: listener.connections == 0)
        assert await answers(listener)
    assert counts.counter["refused total"] == 2
    assert counts.counter["opened"] == counts.counter["closed"] == 4


async def test_one_address_cannot_take_everybody_s_place():
    counts = Counts()
    async with listening(listener_limits=ListenerLimits(max_connections_per_address=2), telemetry=counts) as listener:
        kept = [await open_raw_websocket(listener) for _ in range(2)]
        refused = await connect(listener)
        await refused.send_all(GOOD)
        status, headers, _ = await receive_response(refused)
        assert status == 429
        assert int(headers["retry-after"]) > 0
        await refused.aclose()
        await reset(kept.pop())
        await until(lambda: listener.connections == 1)
        assert await answers(listener)
        await reset(kept.pop())
    assert counts.counter["refused address"] == 1


async def test_a_flood_beyond_all_caps_leaves_those_who_are_connected_alone():
    counts = Counts()
    async with listening(listener_limits=ListenerLimits(max_connections=1), telemetry=counts) as listener:
        kept = await open_raw_websocket(listener)
        flood = [await connect(listener) for _ in range(100)]
        await until(lambda: counts.counter["refused overflow"] > 0)
        assert listener.connections == 1
        for client in (kept, *flood):
            await reset(client)
        await until(lambda: listener.connections == 0)
        assert await answers(listener)


async def test_running_out_of_descriptors_pauses_accepting_and_then_goes_on():
    counts = Counts()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with listening(telemetry=counts) as listener:
        clients = [socket.socket() for _ in range(3)]
        assert await answers(listener)
        await until(lambda: listener.connections == 0)
        highest = max(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
        fillers = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            with suppress(OSError):
                while True:
                    fillers.append(os.open("/dev/null", os.O_RDONLY))
            for client in clients:
                client.setblocking(False)
                with suppress(BlockingIOError):
                    client.connect(listener.address)
            await until(lambda: counts.counter["failed EMFILE"] > 0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                os.close(filler)
        await until(lambda: listener.connections == 3)
        assert await answers(listener)
        for client in clients:
            client.close()


async def test_draining_finishes_requests_and_closes_idle_connections():
    application = Echo()
    wake, parked = trio.Event(), trio.Event()

    async def park(request: Request) -> Response:
        parked.set()
        await wake.wait()
        return Response(200, b"finished")

    application.routes["/park"] = park
    listener = Listener(application, on_error=lambda *_: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        busy = await connect(listener)
        await busy.send_all(b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n")
        await parked.wait()
        idle = await connect(listener)
        await idle.send_all(GOOD)
        await receive_response(idle)
        nursery.start_soon(listener.drain, 60)
        assert await receive_all(idle) == b""
        with pytest.raises(OSError, match="connect"):
            await connect(listener)
        wake.set()
        status, headers, body = await receive_response(busy)
        assert (status, headers["connection"], body) == (200, "close", b"finished")
        await busy.aclose()
        await idle.aclose()
    assert listener.connections == 0


async def test_draining_cancels_what_does_not_finish_in_time():
    application = Echo()
    parked = trio.Event()

    async def park(request: Request) -> Response:
        parked.set()
        await trio.sleep_forever()
        return Response(200)

    application.routes["/park"] = park
    before = descriptors()
    listener = Listener(application, on_error=lambda *_: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        busy = await connect(listener)
        await busy.send_all(b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n")
        await parked.wait()
        websocket = await open_raw_websocket(listener)
        await listener.drain(0)
        assert listener.connections == 0
        for client in (busy, websocket):
            await receive_all(client)
            await client.aclose()
    assert descriptors() == before


async def test_a_client_can_read_that_its_body_was_too_large_while_it_is_still_sending():
    async with listening() as listener:
        client = await connect(listener)
        await client.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n")
        await client.send_all(b"x" * 3_000_000)
        status, headers, _ = await receive_response(client)
        assert (status, headers["connection"]) == (413, "close")
        assert await receive_all(client) == b""
        await client.aclose()


async def test_a_client_that_never_reads_is_cut_off():
    application = Echo()

    async def large(request: Request) -> Response:
        return Response(200, b"x" * 30_000_000)

    application.routes["/large"] = large
    async with listening(application, limits=Limits(write_timeout=0.05)) as listener:
        client = await connect(listener)
        await client.send_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: application.requests != [])
        await until(lambda: listener.connections == 0)
        await client.aclose()


async def test_a_reset_at_any_stage_ends_that_connection_alone():
    application = Echo()

    async def park(request: Request) -> Response:
        async with request.watch_disconnect():
            await trio.sleep_forever()
        return Response(200)

    application.routes["/park"] = park
    post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n"
    stages = (
        b"",
        GOOD[:5],
        GOOD,
        GOOD * 20,
        post,
        post + b"x" * 10,
        post.replace(b"Content-Length: 500", b"Expect: 100-continue\r\nContent-Length: 500"),
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n",
        b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n",
        b"garbage",
        UPGRADE[:40],
        UPGRADE,
        UPGRADE + b"\x81",
        UPGRADE + b"\x81\x85\1\2\3\4xx",
    )
    async with listening(application) as listener:
        before = descriptors()
        for stage in stages:
            for _ in range(5):
                client = await connect(listener)
                if stage:
                    await client.send_all(stage)
                await reset(client)
        await until(lambda: listener.connections == 0)
        assert descriptors() == before
        assert await answers(listener)
