"""Found A3: whatever one client sends, the others have their turn between slices of it. Counts, not milliseconds."""

from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.engine._settings import BYTES_PER_TURN, PACKETS_PER_TURN, UNPROVEN_PACKETS
from djactors.net import FEW_NEWCOMERS, UNPROVEN_MESSAGE
from tests.engine.clients import CALM, SOCKET, Served, TestSocket, receive_answer
from tests.engine.conftest import Serve


class Turns(trio.abc.Instrument):
    """Counts in each turn of the loop how often handlers were given a message, and how many characters."""

    def __init__(self, served: Served) -> None:
        self.messages = self.most_messages = 0
        self.size = self.most_bytes = 0
        self.turns = 0
        for handler in served.application.handlers.values():
            self._watch(handler)

    def _watch(self, handler: object) -> None:
        inner = handler.on_message  # type: ignore[attr-defined]

        def on_message(data: str | bytes) -> None:
            self.messages += 1
            self.size += len(data)
            inner(data)

        handler.on_message = on_message  # type: ignore[attr-defined]

    def before_io_wait(self, timeout: float) -> None:
        self.turns += bool(self.messages)
        self.most_messages = max(self.most_messages, self.messages)
        self.most_bytes = max(self.most_bytes, self.size)
        self.messages = self.size = 0


def watch(served: Served) -> Turns:
    turns = Turns(served)
    trio.lowlevel.add_instrument(turns)
    return turns


async def test_a3_packets_of_one_payload_are_acted_upon_in_slices(autojump_clock, calm: Served):
    sid = await calm.open_session()
    turns = watch(calm)
    assert (await calm.post(sid, "\x1e".join(["4a"] * 1000))).body == "ok"
    assert turns.most_messages <= PACKETS_PER_TURN
    assert turns.turns >= 1000 / PACKETS_PER_TURN


async def test_a3_slices_are_bounded_in_bytes_as_well(autojump_clock, calm: Served):
    sid = await calm.open_session()
    turns = watch(calm)
    assert (await calm.post(sid, "\x1e".join(["4" + "x" * 8000] * 40))).body == "ok"
    assert turns.most_bytes <= BYTES_PER_TURN + 8000


async def test_a3_many_clients_with_large_payloads_have_one_slice_in_a_turn_together(autojump_clock, calm: Served):
    sids = [await calm.open_session() for _ in range(20)]
    turns = watch(calm)
    posts = [calm.start("POST", sid=sid, body="\x1e".join(["4a"] * 100)) for sid in sids]
    assert [(await receive_answer(post)).body for post in posts] == ["ok"] * 20
    assert turns.most_messages <= PACKETS_PER_TURN


async def test_a3_large_messages_of_many_websockets_are_taken_one_in_a_turn(autojump_clock, calm: Served):
    websockets = [await calm.websocket_session() for _ in range(10)]
    turns = watch(calm)
    for websocket in websockets:
        websocket.send("4" + "x" * 50_000)
    for websocket in websockets:
        await websocket.receive()
    assert turns.most_messages == 1


async def test_messages_of_many_strangers_are_taken_a_few_in_a_turn(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    websockets = [await served.websocket_session() for _ in range(20)]
    served.application.socket._engine.crowd.make_way()
    await wait_all_tasks_blocked()
    turns = watch(served)
    for websocket in websockets:
        websocket.send("40")
    for websocket in websockets:
        assert str(await websocket.receive()).startswith("40")
    assert turns.most_messages <= FEW_NEWCOMERS


async def test_payloads_of_many_strangers_are_taken_a_few_in_a_turn(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    sids = [await served.open_session() for _ in range(20)]
    served.application.socket._engine.crowd.make_way()
    await wait_all_tasks_blocked()
    turns = watch(served)
    posts = [served.start("POST", sid=sid, body="40") for sid in sids]
    assert [(await receive_answer(post)).body for post in posts] == ["ok"] * 20
    assert turns.most_messages <= FEW_NEWCOMERS


async def test_a3_two_large_posts_at_once_do_not_mix(autojump_clock, calm: Served):
    sid = await calm.open_session()
    posts = [calm.start("POST", sid=sid, body="\x1e".join([f"4{name}"] * 50)) for name in "ab"]
    posts.append(calm.start("POST", sid=sid, body="4c"))
    assert [(await receive_answer(post)).body for post in posts] == ["ok"] * 3
    packets = [packet for _ in range(7) for packet in (await calm.get(sid)).packets]
    assert sorted(packets) == ["4a"] * 50 + ["4b"] * 50 + ["4c"]
    assert sum(first != second for first, second in pairwise(packets)) == 2


async def test_a3_a_session_that_ends_in_the_middle_of_a_payload_takes_no_more_of_it(autojump_clock, calm: Served):
    sid = await calm.open_session()
    turns = watch(calm)
    await calm.post(sid, "\x1e".join(["4a"] * 20 + ["1"] + ["4a"] * 1000))
    assert turns.turns <= 2


async def test_a3_a_stranger_sends_few_packets_in_one_payload(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    sid = await served.open_session()
    assert (await served.post(sid, "\x1e".join(["3"] * UNPROVEN_PACKETS))).body == "ok"
    assert (await served.post(sid, "\x1e".join(["3"] * (UNPROVEN_PACKETS + 1)))).status == 400
    assert not served.application.sessions(SOCKET)


async def test_a3_a_joined_client_sends_many(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    sid = await served.open_session()
    await served.post(sid, "40")
    assert (await served.post(sid, "\x1e".join(["3"] * 1000))).body == "ok"


async def test_a3_a_session_is_closed_after_its_first_namespace_that_is_not_there(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    sid = await served.open_session()
    await served.post(sid, "\x1e".join(["40/a,{}"] * 10))
    assert (await served.get(sid)).packets == ['44/a,{"message":"Invalid namespace"}', "1"]
    assert not served.application.sessions(SOCKET)
    assert served.log.closed == [("polling", "bad_namespace")]


async def test_a3_by_websocket_as_well(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    websocket = await served.websocket_session()
    websocket.send(*["40/a,{}"] * 10)
    assert await websocket.receive() == '44/a,{"message":"Invalid namespace"}'
    assert await websocket.ending() == 1000
    assert not served.application.sessions(SOCKET)


@pytest.mark.parametrize("size", [UNPROVEN_MESSAGE + 1, CALM.max_payload])
async def test_a4_a_stranger_sends_16_kib_and_a_joined_client_the_whole(autojump_clock, serve: Serve, size: int):
    served = await serve(path=SOCKET)
    stranger = await served.websocket_session()
    stranger.send("4" * size)
    assert await stranger.ending() == 1009
    joined: TestSocket = await served.joined()
    joined.send('42["message","' + "x" * (size - 20) + '"]')
    assert len(await joined.receive()) > size - 20


async def test_a4_the_longest_token_fits_before_the_connect(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    websocket = await served.websocket_session()
    websocket.send('40{"token":"' + "x" * 8192 + '"}')
    assert str((await websocket.receive_many(2))[1]).startswith('42["auth",{"token":"xxx')


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ({}, [], 400),
        ({"sid": "unknown"}, [], 400),
        ({"transport": "nonsense"}, [], 400),
        ({"sid": "real"}, [("Origin", "https://foreign.test")], 403),
    ],
)
async def test_a4_sid_and_origin_are_judged_before_the_body_arrives(
    autojump_clock, serve: Serve, query: dict[str, str], headers: list[tuple[str, str]], status: int
):
    served = await serve(path=SOCKET)
    sid = await served.open_session()
    query = {name: value.replace("real", sid) for name, value in query.items()}
    peer = served.connect()
    head = served._head("POST", {"EIO": "4", "transport": "polling", **query}, None, headers)
    peer.send(f"{head}Content-Length: 900000\r\n\r\n".encode())
    with trio.fail_after(1):
        assert (await receive_answer(peer)).status == status


async def test_a4_a_stranger_is_refused_by_the_length_that_it_announces(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    sid = await served.open_session()
    peer = served.connect()
    head = served._head("POST", {"EIO": "4", "transport": "polling"}, sid, [])
    peer.send(f"{head}Content-Length: {UNPROVEN_MESSAGE + 1}\r\n\r\n".encode())
    with trio.fail_after(1):
        assert (await receive_answer(peer)).status == 413
    assert served.application.sessions(SOCKET)


async def test_a4_a_stranger_that_never_polls_is_not_answered_without_end(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    sid = await served.open_session()
    [session] = served.application.sessions(SOCKET)
    for number in range(UNPROVEN_PACKETS + 1):
        assert session.reason is None, number
        session.send([session.open_packet()])
    assert session.reason == "slow_consumer"
    await wait_all_tasks_blocked()
    assert (await served.get(sid)).status == 400


async def test_a4_what_waits_for_a_strangers_poll_comes_out_of_the_budget(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    budget = served.application.socket._engine.unproven
    sid = await served.open_session()
    [session] = served.application.sessions(SOCKET)
    session.send([session.open_packet()] * 10)
    assert budget.held > 500
    assert len((await served.get(sid)).packets) == 10
    assert budget.held == 0
    session.send([session.open_packet()] * 10)
    session.close("drained")
    assert budget.held == 0
    assert len((await served.get(sid)).packets) == 11
    assert budget.held == 0


async def test_a4_a_session_that_is_proven_gives_back_what_it_took(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    budget = served.application.socket._engine.unproven
    sid = await served.open_session()
    [session] = served.application.sessions(SOCKET)
    session.send([session.open_packet()] * 10)
    await served.post(sid, "40")
    assert budget.held == 0
    session.send([session.open_packet()] * 1000)
    assert session.reason is None
    assert budget.held == 0


async def test_a4_over_the_budget_a_stranger_that_does_not_poll_is_let_go(autojump_clock, serve: Serve):
    served = await serve(path=SOCKET)
    served.application.socket._engine.unproven.limit = 200
    await served.open_session()
    [session] = served.application.sessions(SOCKET)
    session.send([session.open_packet()])
    assert session.reason is None
    session.send([session.open_packet()])
    assert session.reason == "over_budget"
    assert served.application.socket._engine.unproven.held == 0
