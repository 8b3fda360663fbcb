"""A namespace of functions: who is let in, how events are handled and acknowledged, what many are sent, and the end."""

from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.engine import (
    MAX_AWAITED_ACKS,
    MAX_WAITING,
    SENT_PER_TURN,
    BadArguments,
    ConnectRefused,
    Namespace,
    Socket,
    SocketGone,
    TooManyAcks,
)
from tests.engine.chat import Chat, StartChat
from tests.engine.chat import start as start  # noqa: PLC0414 - the fixture
from tests.engine.clients import ADDRESS


class Fault(Exception):
    """What a handler raises here."""


async def raise_in_a_nursery(error: Exception) -> None:
    async with trio.open_nursery():
        await trio.lowlevel.checkpoint()
        raise error


@pytest.fixture
def main() -> Namespace:
    return Namespace()


class TestConnect:
    async def test_without_a_handler_everybody_may_join(self, autojump_clock, start: StartChat, main: Namespace):
        chat = await start(main)
        await chat.enter()
        [socket] = main.sockets
        assert (socket.joined, socket.alive, socket.namespace, socket.peer) == (True, True, "/", ADDRESS)
        assert socket.sid == "sid2"

    @pytest.mark.parametrize("kind", ["plain", "async", "in a nursery"])
    @pytest.mark.parametrize(
        ("refusal", "answer"),
        [
            (ConnectRefused("No"), '44{"message":"No"}'),
            (ConnectRefused("No", {"code": "full"}), '44{"message":"No","data":{"code":"full"}}'),
        ],
        ids=["message", "data"],
    )
    async def test_a_client_is_refused_with_data_and_may_ask_again(
        self, autojump_clock, start: StartChat, main: Namespace, kind: str, refusal: ConnectRefused, answer: str
    ):
        def plain(socket: Socket, auth: dict[str, Any]) -> None:
            socket.emit("never")
            if not auth:
                raise refusal

        async def asynchronous(socket: Socket, auth: dict[str, Any]) -> None:
            await trio.sleep(1)
            if auth:
                return
            if kind == "async":
                raise refusal
            await raise_in_a_nursery(refusal)

        main.on_connect(plain if kind == "plain" else asynchronous)
        gone: list[str] = []
        main.on_disconnect(lambda socket, reason: gone.append(reason))
        chat = await start(main)
        websocket = await chat.websocket_session()
        websocket.send("40")
        assert await websocket.receive() == answer
        assert not main.sockets
        websocket.send('40{"token":"good"}')
        assert await websocket.receive() == '40{"sid":"sid2"}'
        assert len(main.sockets) == 1
        assert (gone, chat.failures) == ([], [])

    async def test_what_is_emitted_before_the_answer_comes_behind_it(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        @main.on_connect
        async def connect(socket: Socket, auth: dict[str, Any]) -> None:
            socket.emit("one", auth)
            await trio.sleep(5)
            socket.emit("two")
            assert not main.sockets

        chat = await start(main)
        websocket = await chat.websocket_session()
        websocket.send('40{"a":1}')
        assert await websocket.receive_many(3) == ['40{"sid":"sid2"}', '42["one",{"a":1}]', '42["two"]']

    async def test_what_is_emitted_before_the_answer_is_bounded(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        waiting: list[Socket] = []

        @main.on_connect
        async def connect(socket: Socket, auth: dict[str, Any]) -> None:
            waiting.append(socket)
            await trio.sleep_forever()

        chat = await start(main, outbox_packets=3)
        websocket = await chat.websocket_session()
        websocket.send("40")
        await wait_all_tasks_blocked()
        for _ in range(4):
            main.emit("news", to=waiting)
        await websocket.ending()
        assert chat.reasons == ["slow_consumer"]

    @pytest.mark.parametrize("kind", ["plain", "async"])
    async def test_a_handler_that_raises_lets_its_client_go_and_nobody_else(
        self, autojump_clock, start: StartChat, main: Namespace, kind: str
    ):
        error = Fault()

        def plain(socket: Socket, auth: dict[str, Any]) -> None:
            if auth:
                raise error

        async def asynchronous(socket: Socket, auth: dict[str, Any]) -> None:
            await trio.lowlevel.checkpoint()
            plain(socket, auth)

        main.on_connect(plain if kind == "plain" else asynchronous)
        chat = await start(main)
        other = await chat.enter()
        websocket = await chat.websocket_session()
        websocket.send('40{"fail":true}')
        assert await websocket.ending() == 1000
        assert chat.failures == [(error, ADDRESS)]
        assert chat.reasons == ["handler_failed"]
        main.emit("hello")
        assert await other.receive() == '42["hello"]'

    async def test_a_refusal_that_json_cannot_say_is_a_failure(self, autojump_clock, start: StartChat, main: Namespace):
        @main.on_connect
        def connect(socket: Socket, auth: dict[str, Any]) -> None:
            raise ConnectRefused("No", object())

        chat = await start(main)
        websocket = await chat.websocket_session()
        websocket.send("40")
        await websocket.ending()
        assert [type(error) for error, _ in chat.failures] == [TypeError]

    async def test_a_handler_that_takes_too_long_lets_its_client_go(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        cancelled: list[float] = []

        @main.on_connect
        async def connect(socket: Socket, auth: dict[str, Any]) -> None:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.append(trio.current_time())

        chat = await start(main, connect_timeout=5.0)
        websocket = await chat.websocket_session()
        asked = trio.current_time()
        websocket.send("40")
        await websocket.ending()
        assert cancelled == [asked + 5]
        assert (chat.reasons, chat.failures) == (["connect_timeout"], [])

    async def test_a_client_that_leaves_meanwhile_cancels_it_and_is_told_of_to_nobody(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        told: list[str] = []

        @main.on_connect
        async def connect(socket: Socket, auth: dict[str, Any]) -> None:
            try:
                await trio.sleep_forever()
            finally:
                told.append("cancelled")

        main.on_disconnect(lambda socket, reason: told.append(reason))
        chat = await start(main)
        websocket = await chat.websocket_session()
        websocket.send("40")
        await wait_all_tasks_blocked()
        websocket.close()
        await wait_all_tasks_blocked()
        assert told == ["cancelled"]

    async def test_namespaces_of_one_client_are_apart(self, autojump_clock, start: StartChat, main: Namespace):
        other = Namespace("/other")
        chat = await start(main, other)
        websocket = await chat.websocket_session()
        websocket.send("40/other,", "40", "40/none,")
        assert await websocket.receive_many(3) == [
            '40/other,{"sid":"sid2"}',
            '40{"sid":"sid3"}',
            '44/none,{"message":"Invalid namespace"}',
        ]
        other.emit("a")
        main.emit("b")
        assert await websocket.receive_many(2) == ['42/other,["a"]', '42["b"]']
        websocket.send("41/other,")
        await wait_all_tasks_blocked()
        assert (len(other.sockets), len(main.sockets)) == (0, 1)


class TestEvents:
    @pytest.mark.parametrize("kind", ["plain", "async"])
    @pytest.mark.parametrize(
        ("answer", "ack"),
        [
            (None, "[]"),
            ((), "[]"),
            (5, "[5]"),
            ([1, 2], "[[1,2]]"),
            ((1, None), "[1,null]"),
            ((None,), "[null]"),
            ({"ok": True}, '[{"ok":true}]'),
        ],
    )
    async def test_what_a_handler_returns_is_the_ack(
        self, autojump_clock, start: StartChat, main: Namespace, kind: str, answer: object, ack: str
    ):
        @main.on("plain")
        def plain(socket: Socket) -> object:
            return answer

        @main.on("async")
        async def asynchronous(socket: Socket) -> object:
            await trio.sleep(1)
            return answer

        websocket = await (await start(main)).enter()
        websocket.send(f'420["{kind}"]', f'42["{kind}"]', f'4212["{kind}"]')
        assert await websocket.receive_many(2) == [f"430{ack}", f"4312{ack}"]

    async def test_an_event_that_nobody_handles_is_dropped(self, autojump_clock, start: StartChat, main: Namespace):
        main.on("known")(lambda socket: "known")
        websocket = await (await start(main)).enter()
        websocket.send('420["unknown",1]', '421["known"]')
        assert await websocket.receive() == '431["known"]'

    async def test_events_are_handled_in_the_order_in_which_they_came(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        @main.on("slow")
        async def slow(socket: Socket, number: int) -> int:
            await trio.sleep(10 - number)
            return number

        @main.on("quick")
        def quick(socket: Socket, number: int) -> int:
            return number

        websocket = await (await start(main)).enter()
        websocket.send('421["slow",1]', '422["quick",2]', '423["slow",3]', '424["quick",4]')
        assert await websocket.receive_many(4) == ["431[1]", "432[2]", "433[3]", "434[4]"]

    async def test_a_slow_handler_holds_up_no_other_client(self, autojump_clock, start: StartChat, main: Namespace):
        @main.on("wait")
        async def wait(socket: Socket, seconds: float) -> None:
            await trio.sleep(seconds)

        chat = await start(main)
        first, second = await chat.enter(), await chat.enter()
        began = trio.current_time()
        first.send('420["wait",20]')
        second.send('420["wait",1]')
        await second.receive()
        assert trio.current_time() == began + 1

    @pytest.mark.parametrize(("beyond", "reasons"), [(0, []), (1, ["too_many_events"])])
    async def test_the_events_that_wait_are_bounded_in_number(
        self, autojump_clock, start: StartChat, main: Namespace, beyond: int, reasons: list[str]
    ):
        handled = Counter[str]()

        @main.on("wait")
        async def wait(socket: Socket) -> None:
            handled["begun"] += 1
            await trio.sleep(0.01)
            handled["done"] += 1

        chat = await start(main)
        websocket = await chat.enter()
        websocket.send(*['42["wait"]'] * (1 + MAX_WAITING + beyond))
        await wait_all_tasks_blocked()
        assert chat.reasons == reasons
        await trio.sleep(5)
        assert handled["begun"] == (1 if beyond else 1 + MAX_WAITING)
        assert handled["done"] == (0 if beyond else 1 + MAX_WAITING)

    async def test_the_events_that_wait_are_bounded_in_bytes(self, autojump_clock, start: StartChat, main: Namespace):
        @main.on("wait")
        async def wait(socket: Socket, data: Any) -> None:
            await trio.sleep(1)

        chat = await start(main, max_payload=1000)
        websocket = await chat.enter()
        # One is handled, one waits however large it is, and then there is room for little ones alone.
        websocket.send(*[f'42["wait","{"x" * 900}"]'] * 2, '42["wait","small"]')
        await wait_all_tasks_blocked()
        assert chat.reasons == []
        websocket.send('451-["wait",{"_placeholder":true,"num":0}]', b"y" * 100)
        await wait_all_tasks_blocked()
        assert chat.reasons == ["too_many_events"]

    async def test_arguments_are_what_the_handler_says(self, autojump_clock, start: StartChat, main: Namespace):
        @main.on("tell")
        def tell(socket: Socket, data: bytes, more: dict[str, Any] | None = None, *rest: int) -> list[str]:
            return [repr(each) for each in (data, more, rest)]

        websocket = await (await start(main)).enter()
        websocket.send('451-0["tell",{"_placeholder":true,"num":0}]', b"\x01")
        assert await websocket.receive() == """430[["b'\\\\x01'","None","()"]]"""
        websocket.send('451-1["tell",{"_placeholder":true,"num":0},{"a":[null]},1,2]', b"\x01")
        assert await websocket.receive() == """431[["b'\\\\x01'","{'a': [None]}","(1, 2)"]]"""

    @pytest.mark.parametrize("args", ['"text"', "", "null", "1,2", "[1]", "1.5"])
    async def test_arguments_that_do_not_fit_let_the_client_go_and_reach_no_handler(
        self, autojump_clock, start: StartChat, main: Namespace, args: str
    ):
        handled: list[int] = []

        @main.on("number")
        def number(socket: Socket, value: int) -> None:
            handled.append(value)

        chat = await start(main)
        websocket = await chat.enter()
        websocket.send(f'420["number"{"," if args else ""}{args}]')
        await websocket.ending()
        [(error, peer)] = chat.failures
        assert isinstance(error, BadArguments)
        assert "'number'" in str(error)
        assert (peer, chat.reasons, handled) == (ADDRESS, ["bad_arguments"], [])

    @pytest.mark.parametrize("kind", ["plain", "async", "in a nursery", "its answer", "its lateness"])
    async def test_a_handler_that_raises_lets_its_client_go_and_nobody_else(
        self, autojump_clock, start: StartChat, main: Namespace, kind: str
    ):
        @main.on("plain")
        def plain(socket: Socket) -> None:
            raise Fault

        @main.on("async")
        async def asynchronous(socket: Socket) -> None:
            await trio.lowlevel.checkpoint()
            raise Fault

        @main.on("in a nursery")
        async def in_a_nursery(socket: Socket) -> None:
            await raise_in_a_nursery(Fault())

        @main.on("its answer")
        def unspeakable(socket: Socket) -> object:
            return object()

        @main.on("its lateness")
        async def late(socket: Socket) -> None:
            with trio.fail_after(1):
                await trio.sleep_forever()

        chat = await start(main)
        other, websocket = await chat.enter(), await chat.enter()
        websocket.send(f'420["{kind}"]', f'421["{kind}"]')
        assert await websocket.ending() == 1000
        raised = {"its answer": TypeError, "its lateness": trio.TooSlowError}.get(kind, Fault)
        assert [(type(error), peer) for error, peer in chat.failures] == [(raised, ADDRESS)]
        assert chat.reasons == ["handler_failed"]
        other.send('42["unknown"]')
        main.emit("hello")
        assert await other.receive() == '42["hello"]'

    async def test_a_program_that_cannot_take_the_news_of_an_error_goes_on(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        @main.on("fail")
        async def fail(socket: Socket) -> None:
            raise Fault

        chat = await start(main)
        chat.failures = None  # type: ignore[assignment]
        websocket = await chat.enter()
        websocket.send('42["fail"]')
        await websocket.ending()
        await chat.enter()

    async def test_plain_handlers_cost_no_task(self, autojump_clock, start: StartChat, main: Namespace):
        main.on("plain")(lambda socket: None)
        chat = await start(main)
        websocket = await chat.enter()
        before = trio.lowlevel.current_statistics().tasks_living
        websocket.send(*[f'42{number}["plain"]' for number in range(50)])
        await websocket.receive_many(50)
        assert trio.lowlevel.current_statistics().tasks_living == before

    async def test_the_task_of_async_handlers_ends_with_them(self, autojump_clock, start: StartChat, main: Namespace):
        @main.on("async")
        async def asynchronous(socket: Socket) -> None:
            await trio.sleep(1)

        chat = await start(main)
        websocket = await chat.enter()
        before = trio.lowlevel.current_statistics().tasks_living
        websocket.send('420["async"]', '421["async"]')
        await websocket.receive()
        assert trio.lowlevel.current_statistics().tasks_living == before + 1
        await websocket.receive()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


class TestAcks:
    async def test_a_client_is_asked_and_answers(self, autojump_clock, start: StartChat, main: Namespace):
        @main.on("ask me")
        async def ask(socket: Socket) -> list[Any]:
            return await socket.emit_with_ack("what?", 1, timeout=5)

        websocket = await (await start(main)).enter()
        for number in range(2):
            websocket.send('420["ask me"]')
            assert await websocket.receive() == f'42{number}["what?",1]'
            websocket.send(f'43{number}["this",{{"and":"that"}}]')
            assert await websocket.receive() == '430[["this",{"and":"that"}]]'

    async def test_an_answer_that_does_not_come_in_time_is_too_slow_and_then_ignored(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        websocket = await (await start(main)).enter()
        [socket] = main.sockets
        asked = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await socket.emit_with_ack("what?", timeout=5)
        assert trio.current_time() == asked + 5
        websocket.send('430["late"]', '4399["never asked"]', '430["again"]')
        await wait_all_tasks_blocked()
        assert socket.alive

    @pytest.mark.parametrize("twice", [False, True])
    async def test_the_first_answer_counts(self, autojump_clock, start: StartChat, main: Namespace, twice: bool):
        websocket = await (await start(main)).enter()
        [socket] = main.sockets
        websocket.send('430["early"]', *['430["later"]'] * twice)
        assert await socket.emit_with_ack("what?", timeout=5) == ["early"]

    @pytest.mark.parametrize("ending", ["41", "1"])
    async def test_a_socket_that_ends_meanwhile_answers_nobody(
        self, autojump_clock, start: StartChat, main: Namespace, ending: str
    ):
        websocket = await (await start(main)).enter()
        [socket] = main.sockets
        websocket.send(ending)
        with pytest.raises(SocketGone):
            await socket.emit_with_ack("what?", timeout=5)
        with pytest.raises(SocketGone):
            await socket.emit_with_ack("and now?", timeout=5)

    async def test_a_client_that_is_not_let_in_yet_cannot_answer(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        @main.on_connect
        async def connect(socket: Socket, auth: dict[str, Any]) -> None:
            with pytest.raises(RuntimeError, match="let in"):
                await socket.emit_with_ack("what?", timeout=5)

        chat = await start(main)
        await chat.enter()
        assert chat.failures == []

    async def test_what_is_awaited_of_one_client_is_bounded_and_given_back(
        self, autojump_clock, nursery: trio.Nursery, start: StartChat, main: Namespace
    ):
        await (await start(main)).enter()
        [socket] = main.sockets

        async def ask() -> None:
            with trio.move_on_after(3):
                await socket.emit_with_ack("what?", timeout=5)

        for _ in range(MAX_AWAITED_ACKS):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        with pytest.raises(TooManyAcks):
            await socket.emit_with_ack("what?", timeout=5)
        await trio.sleep(4)
        with pytest.raises(ValueError, match="reserved"):
            await socket.emit_with_ack("connect", timeout=5)
        with pytest.raises(trio.TooSlowError):
            await socket.emit_with_ack("what?", timeout=1)
        assert socket._acks == {}

    async def test_events_wait_while_their_client_is_asked(self, autojump_clock, start: StartChat, main: Namespace):
        @main.on("ask me")
        async def ask(socket: Socket) -> str:
            [answer] = await socket.emit_with_ack("what?", timeout=5)
            return str(answer)

        main.on("quick")(lambda socket: "quick")
        websocket = await (await start(main)).enter()
        websocket.send('421["ask me"]', '422["quick"]')
        assert await websocket.receive() == '420["what?"]'
        websocket.send('430["this"]')
        assert await websocket.receive_many(2) == ['431["this"]', '432["quick"]']


class TestMany:
    async def test_everybody_or_a_room_is_sent_an_event(self, autojump_clock, start: StartChat, main: Namespace):
        chat = await start(main)
        one, two, three = [await chat.enter() for _ in range(3)]
        first, second, third = sorted(main.sockets, key=lambda socket: socket.sid)
        main.emit("all", 1)
        main.emit("two", to=[second])
        main.emit("odd", to=lambda: (socket for socket in (first, third)))
        await main.broadcast("last", to={first, second, third})
        assert await one.receive_many(3) == ['42["all",1]', '42["odd"]', '42["last"]']
        assert await two.receive_many(3) == ['42["all",1]', '42["two"]', '42["last"]']
        assert await three.receive_many(3) == ['42["all",1]', '42["odd"]', '42["last"]']

    async def test_it_is_encoded_once(self, autojump_clock, start: StartChat, main: Namespace):
        chat = await start(main)
        for _ in range(3):
            sid = await chat.open_session()
            await chat.post(sid, "40")
            await chat.get(sid)
        main.emit("news", {"large": "x" * 1000})
        packets = {session.outbox.packets[0] for session in chat.server._engine.sessions if session.outbox is not None}
        assert len(packets) == 1

    async def test_nothing_that_cannot_be_encoded_is_sent_to_anybody(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        other = Namespace("/other")
        chat = await start(main, other)
        await chat.enter("/other,")
        websocket = await chat.enter()
        [socket] = main.sockets
        for send in (main.emit, socket.emit):
            with pytest.raises(ValueError, match="reserved"):
                send("disconnect")
            with pytest.raises(TypeError):
                send("object", object())
        with pytest.raises(ValueError, match="/other"):
            main.emit("hello", to=[*main.sockets, *other.sockets])
        main.emit("hello")
        assert await websocket.receive() == '42["hello"]'

    async def test_a_client_that_does_not_read_is_let_go_and_the_others_hear_all(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        chat = await start(main, outbox_packets=5, outbox_bytes=2000)
        slow = await chat.open_session()
        await chat.post(slow, "40")
        await chat.get(slow)
        websocket = await chat.enter()
        for number in range(10):
            main.emit("news", number)
        assert await websocket.receive_many(10) == [f'42["news",{number}]' for number in range(10)]
        assert chat.reasons == ["slow_consumer"]
        await wait_all_tasks_blocked()
        assert len(main.sockets) == 1

    async def test_one_that_is_gone_is_passed_over(self, autojump_clock, start: StartChat, main: Namespace):
        chat = await start(main)
        one, two = await chat.enter(), await chat.enter()
        room = list(main.sockets)
        one.close()
        await wait_all_tasks_blocked()
        main.emit("hello", to=room)
        assert await two.receive() == '42["hello"]'
        assert [socket.alive for socket in sorted(room, key=lambda socket: socket.sid)] == [False, True]

    async def test_broadcasting_to_many_leaves_others_their_turn(
        self, autojump_clock, nursery: trio.Nursery, start: StartChat, main: Namespace
    ):
        await (await start(main)).enter()
        [socket] = main.sockets
        turns = Counter[str]()

        async def count_turns() -> None:
            while True:
                turns["others"] += 1
                await trio.lowlevel.checkpoint()

        nursery.start_soon(count_turns)
        await trio.lowlevel.checkpoint()
        before = turns["others"]
        await main.broadcast("hello", to=[socket] * SENT_PER_TURN * 4)
        assert turns["others"] - before >= 4

    async def test_broadcasting_may_be_cancelled(self, autojump_clock, start: StartChat, main: Namespace):
        websocket = await (await start(main)).enter()
        [socket] = main.sockets
        with trio.CancelScope() as scope:
            scope.cancel()
            await main.broadcast("hello", to=[socket] * SENT_PER_TURN * 2)
        assert scope.cancelled_caught
        main.emit("end")
        received = await websocket.receive_many(SENT_PER_TURN + 1)
        assert received == ['42["hello"]'] * SENT_PER_TURN + ['42["end"]']


class TestDisconnect:
    @pytest.fixture
    def told(self, main: Namespace) -> list[tuple[str, bool, bool, int]]:
        told: list[tuple[str, bool, bool, int]] = []

        @main.on_disconnect
        async def disconnect(socket: Socket, reason: str) -> None:
            await trio.sleep(1)
            told.append((reason, socket.alive, socket.joined, len(main.sockets)))

        return told

    @pytest.mark.parametrize(
        ("packet", "reason"), [("41", "left"), ("1", "client close"), ("nonsense", "protocol error")]
    )
    async def test_it_is_told_once_why(
        self, autojump_clock, start: StartChat, main: Namespace, told: list[Any], packet: str, reason: str
    ):
        websocket = await (await start(main)).enter()
        websocket.send(packet, packet)
        await trio.sleep(60)
        assert told == [(reason, False, False, 0)]

    async def test_a_client_that_is_let_go_may_come_again(
        self, autojump_clock, start: StartChat, main: Namespace, told: list[Any]
    ):
        chat = await start(main)
        websocket = await chat.enter()
        [socket] = main.sockets
        socket.emit("last words")
        socket.disconnect("spring cleaning")
        socket.emit("too late")
        assert await websocket.receive() == '42["last words"]'
        assert await websocket.ending() == 1000
        await trio.sleep(2)
        assert (told, chat.reasons) == ([("spring cleaning", False, False, 0)], ["spring cleaning"])

    async def test_a_client_that_is_put_out_hears_it_and_keeps_its_other_namespaces(
        self, autojump_clock, start: StartChat, main: Namespace, told: list[Any]
    ):
        other = Namespace("/other")
        chat = await start(main, other)
        websocket = await chat.enter()
        websocket.send("40/other,")
        await websocket.receive()
        [socket] = main.sockets
        socket.disconnect("banned", reconnect=False)
        socket.disconnect("banned", reconnect=False)
        socket.emit("too late")
        assert await websocket.receive() == "41"
        await trio.sleep(2)
        assert (told, chat.reasons) == ([("banned", False, False, 0)], [])
        other.emit("hello")
        assert await websocket.receive() == '42/other,["hello"]'

    async def test_what_waits_is_dropped_and_what_runs_is_cancelled_before_it_is_told(
        self, autojump_clock, start: StartChat, main: Namespace
    ):
        told: list[str] = []

        @main.on("wait")
        async def wait(socket: Socket, name: str) -> None:
            told.append(f"{name} begun")
            try:
                await trio.sleep_forever()
            finally:
                told.append(f"{name} cancelled")

        main.on("quick")(lambda socket: told.append("quick"))
        main.on_disconnect(lambda socket, reason: told.append(reason))
        websocket = await (await start(main)).enter()
        websocket.send('42["wait","one"]', '42["wait","two"]', '42["quick"]')
        await wait_all_tasks_blocked()
        websocket.send("41")
        await wait_all_tasks_blocked()
        assert told == ["one begun", "one cancelled", "left"]

    async def test_a_handler_that_puts_its_own_client_out_is_cancelled_at_its_next_checkpoint(
        self, autojump_clock, start: StartChat, main: Namespace, told: list[Any]
    ):
        done: list[str] = []

        @main.on("leave")
        async def leave(socket: Socket) -> None:
            socket.disconnect("banned", reconnect=False)
            done.append("put out")
            await trio.lowlevel.checkpoint()
            done.append("went on")

        chat = await start(main)
        websocket = await chat.enter()
        websocket.send('420["leave"]')
        assert await websocket.receive() == "41"
        await trio.sleep(2)
        assert (done, told, chat.failures) == (["put out"], [("banned", False, False, 0)], [])

    @pytest.mark.parametrize("kind", ["plain", "async"])
    async def test_a_handler_that_raises_is_reported(
        self, autojump_clock, start: StartChat, main: Namespace, kind: str
    ):
        def plain(socket: Socket, reason: str) -> None:
            raise Fault

        async def asynchronous(socket: Socket, reason: str) -> None:
            raise Fault

        main.on_disconnect(plain if kind == "plain" else asynchronous)
        chat = await start(main)
        one, two = await chat.enter(), await chat.enter()
        one.close()
        await wait_all_tasks_blocked()
        assert [type(error) for error, _ in chat.failures] == [Fault]
        main.emit("hello")
        assert await two.receive() == '42["hello"]'

    async def test_it_is_told_of_all_when_the_server_stops_and_no_handler_outlives_it(self, autojump_clock, nursery):
        main = Namespace()
        told: list[str] = []

        @main.on("wait")
        async def wait(socket: Socket) -> None:
            try:
                await trio.sleep_forever()
            finally:
                told.append("cancelled")

        @main.on_disconnect
        async def disconnect(socket: Socket, reason: str) -> None:
            told.append(reason)
            await trio.sleep_forever()

        chat = Chat(nursery, main)
        async with trio.open_nursery() as running:
            await running.start(chat.server.run)
            websocket = await chat.enter()
            websocket.send('42["wait"]')
            await wait_all_tasks_blocked()
            running.cancel_scope.cancel()
        assert sorted(told) == ["cancelled", "drained"]
        assert not main.sockets
        assert (await chat.get()).status == 503
        answer, _ = await chat.try_websocket()
        assert answer.status == 503
        async with trio.open_nursery() as running:
            await running.start(chat.server.run)
            await chat.enter()
            running.cancel_scope.cancel()


async def test_all_sockets_of_a_client_are_told_of_its_end_although_one_puts_another_out(
    autojump_clock, start: StartChat, main: Namespace
):
    others = [Namespace("/b"), Namespace("/c")]
    told: list[tuple[str, str]] = []
    of_client: dict[str, Socket] = {}
    for namespace in (main, *others):
        namespace.on_connect(lambda socket, auth: of_client.update({socket.namespace: socket}))

    @main.on_disconnect
    def put_out(socket: Socket, reason: str) -> None:
        told.append((socket.namespace, reason))
        of_client["/b"].disconnect(reconnect=False)

    for namespace in others:
        namespace.on_disconnect(lambda socket, reason: told.append((socket.namespace, reason)))
    chat = await start(main, *others)
    websocket = await chat.enter()
    for namespace in others:
        websocket.send(f"40{namespace.name},")
        await websocket.receive()
    of_client["/"].disconnect("bye")
    await wait_all_tasks_blocked()
    assert told == [("/", "bye"), ("/b", "server"), ("/c", "bye")]
    assert not any(namespace.sockets for namespace in others)
    assert not chat.failures
