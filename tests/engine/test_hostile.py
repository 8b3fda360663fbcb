"""Whatever a client sends, and whenever it leaves: the server lives, others are served, nothing stays behind."""

from random import Random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.engine.clients import SOCKET, Served
from tests.engine.conftest import Serve

MESSAGES: list[str | bytes] = [
    "",
    "4",
    "0{}",
    "2",
    "2probe",
    "3",
    "3probe",
    "5",
    "6",
    "7",
    "b",
    "b====",
    "bAQ==",
    "\x1e",
    "4\x1e4",
    "40" + "[" * 5000,
    "42" + '["message"' * 500,
    '42["connect"]',
    '450-["message"]',
    '4599-["message"]',
    '451-["message",{"_placeholder":true,"num":7}]',
    "40/" + "x" * 500 + ",",
    "4299999999999999999999999[]",
    "42\u0661[]",
    "43[]",
    "431[]",
    "44{}",
    b"",
    b"\xff" * 100,
]


async def is_served(served: Served) -> bool:
    """Tell whether a client that does everything right is still served."""
    websocket = await served.websocket_session()
    websocket.send("40")
    await websocket.receive_many(2)
    websocket.send('42["message","still here"]')
    answer = await websocket.receive()
    websocket.close()
    return answer == '42["message-back","still here"]'


@pytest.mark.parametrize("stage", ["polling", "probing", "probed", "websocket", "joined"])
@pytest.mark.parametrize("message", MESSAGES, ids=repr)
async def test_no_message_at_any_stage_reaches_beyond_its_session(
    autojump_clock, serve: Serve, stage: str, message: str | bytes
):
    served = await serve(path=SOCKET)
    sid = await served.open_session() if stage in ("polling", "probing", "probed") else ""
    match stage:
        case "polling":
            body = message if isinstance(message, bytes) else message.encode()
            assert (await served.post(sid, body)).status in (200, 400)
        case "probing":
            (await served.websocket(sid)).send(message)
        case "probed":
            (await served.probed(sid)).send(message)
        case "websocket":
            (await served.websocket_session()).send(message)
        case _:
            (await served.joined()).send(message)
    assert await is_served(served)
    await trio.sleep(60)
    assert not served.application.sessions(SOCKET)
    assert not served.errors
    assert not served.log.errors


@pytest.mark.parametrize("seed", range(20))
async def test_random_clients_leave_nothing_behind(autojump_clock, serve: Serve, seed: int):
    random = Random(seed)
    served = await serve(path=SOCKET)
    sids = [await served.open_session() for _ in range(5)]
    for _ in range(100):
        sid = random.choice([*sids, "unknown"])
        peer = (
            served.start(random.choice(["GET", "POST", "OPTIONS", "PUT"]), sid=sid, body=str(random.choice(MESSAGES)))
            if random.random() < 0.7
            else served.start_websocket(sid=random.choice([sid, ""]))
        )
        if random.random() < 0.5:
            await wait_all_tasks_blocked()
        if random.random() < 0.3:
            peer.send(random.randbytes(random.randrange(50)))
        if random.random() < 0.5:
            random.choice([peer.end, peer.reset])()
        await trio.sleep(random.choice([0, 0, 0.1, 3]))
    assert await is_served(served)
    for stream in served.streams:
        stream.peer.reset()
    await trio.sleep(120)
    assert not served.application.sessions(SOCKET)
    assert not served.errors
    assert not served.log.errors
    assert all(len(handler.closed) == 1 for handler in served.application.handlers.values())


@pytest.mark.parametrize(
    "bad", [b"\x81\x05hello", b"\xf1\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x81\xff" + b"\x7f" * 12]
)
@pytest.mark.parametrize("upgraded", [False, True])
async def test_malformed_frames_end_the_websocket_alone(autojump_clock, calm: Served, bad: bytes, upgraded: bool):
    other = await calm.websocket_session()
    if upgraded:
        websocket = await calm.probed(await calm.open_session())
        websocket.send("5")
    else:
        websocket = await calm.websocket_session()
    websocket.peer.send(bad)
    websocket.peer.end()
    await websocket.ending()
    other.send("4hello")
    assert await other.receive() == "4hello"
    assert len(calm.application.engine.sessions) == 1
    assert not calm.errors
