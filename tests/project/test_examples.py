"""The programs in the docstrings of the packages that are for others run as they stand.

They are typed, too, and so are the Python programs of the README, which `test_readme` runs.
"""

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.net.applications import UPGRADE, masked, receive_frame, receive_response, receive_until
from tests.project.examples import example_of
from tests.serving import make_token
from tests.serving import serving as served

PACKAGES = (
    "djactors.kernel",
    "djactors.protocol",
    "djactors.net",
    "djactors.engine",
    "djactors.client",
    "djactors.client.socketio",
    "djactors.outbox",
    "djactors.embedded",
)
README = Path(__file__).parent.parent.parent / "README.md"
PATIENCE = 10


def load(package: str, printing: Callable[..., None]) -> dict[str, Any]:
    """Run a package's example up to, and without, what it does as a main program; `printing` is its `print`."""
    program: dict[str, Any] = {"__name__": "example", "print": printing}
    exec(compile(example_of(package), f"<example of {package}>", "exec"), program)
    return program


@asynccontextmanager
async def serving(package: str) -> AsyncIterator[int]:
    """Serve a package's example on a free port, which is yielded."""
    printed: list[str] = []
    started = trio.Event()

    def note(*words: object) -> None:
        printed.append(" ".join(map(str, words)))
        started.set()

    program = load(package, note)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program["main"], 0)
        with trio.fail_after(PATIENCE):
            await started.wait()
            yield int(re.findall("[0-9]+", printed[0])[-1])
        nursery.cancel_scope.cancel()
    assert len(printed) == 1


def check_types(folder: Path, *names: str) -> "subprocess.CompletedProcess[str]":
    """Run `mypy --strict` over files as anybody would who has djactors installed."""
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *names],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_mypy_finds_nothing_in_any_of_them(tmp_path: Path) -> None:
    programs = {f"{package.rpartition('.')[2]}_example.py": example_of(package) for package in PACKAGES}
    shown = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert shown
    # What is generated has a test of its own (tests/description).
    shown = [program for program in shown if "djactors_client" not in program]
    programs.update({f"readme_{number}.py": program for number, program in enumerate(shown)})
    for name, program in programs.items():
        (tmp_path / name).write_text(program)
    checked = check_types(tmp_path, *programs)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_successor_of_an_actor_that_crashed_answers_through_the_same_ref() -> None:
    printed: list[str] = []
    load("djactors.kernel", lambda *words: printed.append(" ".join(map(str, words))))
    assert printed == [
        "ChildStarted",
        "Ada 2",
        "ChildCrashed",
        "ChildRestarting",
        "votes crashed on this message: ValueError: a vote for nobody",
        "ChildStarted",
        "Ada 3",
        "ChildStopped",
    ]


def test_a_client_and_a_server_talk_to_each_other_without_a_network() -> None:
    printed: list[str] = []
    load("djactors.protocol", lambda *words: printed.append(" ".join(map(str, words))))
    assert [line.partition("(")[0] for line in printed] == [
        "client: Opened",
        "server: ConnectRequested",
        "client: Connected",
        "server: EventReceived",
        "client: AckReceived",
        "client: EventReceived",
    ]
    assert printed[1].endswith("auth={'token': 'let me in'})")
    assert printed[4].endswith("args=[{'ok': True}])")
    assert printed[5].endswith("args=[['for', 'everybody']], ack_id=None)")


async def test_what_is_posted_is_echoed_and_so_is_each_message_of_a_websocket() -> None:
    async with serving("djactors.net") as port, await trio.open_tcp_stream("127.0.0.1", port) as client:
        await client.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
        status, headers, body = await receive_response(client)
        assert (status, headers["content-type"], body) == (200, "text/plain; charset=utf-8", b"hello")
        await client.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n")
        status, _, body = await receive_response(client)
        assert (status, body) == (413, b"the request body is larger than 65536 bytes")
        async with await trio.open_tcp_stream("127.0.0.1", port) as websocket:
            await websocket.send_all(UPGRADE)
            await receive_until(websocket, b"\r\n\r\n")
            for first_byte, payload in ((0x81, b"text"), (0x82, b"\x00\x01")):
                await websocket.send_all(masked(first_byte, payload))
                assert await receive_frame(websocket) == (first_byte, payload)


async def test_a_room_is_entered_talked_in_called_and_left() -> None:
    async with serving("djactors.engine") as port:
        refused = await open_session(port)
        await refused.send_all(masked(0x81, b"40/chat,"))
        assert await next_message(refused) == '44/chat,{"message":"Unauthorized","data":{"code":"token_invalid"}}'
        ada, bob = [await join_chat(port, "lobby") for _ in range(2)]
        eve = await join_chat(port, "elsewhere")
        await ada.send_all(masked(0x81, b'42/chat,0["say","hello"]'))
        assert await next_message(bob) == '42/chat,["said","hello"]'
        assert [await next_message(ada), await next_message(ada)] == [
            '42/chat,["said","hello"]',
            '43/chat,0[{"ok":true}]',
        ]
        await bob.send_all(masked(0x81, b'42/chat,["roll call"]'))
        assert await next_message(bob) == '42/chat,0["who are you?"]'
        await bob.send_all(masked(0x81, b'43/chat,0["Bob"]'))
        for client in (ada, bob, eve):
            assert await next_message(client) == '42/chat,["here","Bob"]'
        await bob.send_all(masked(0x81, b"41/chat,"))
        for client in (ada, eve):
            assert await next_message(client) == '42/chat,["left","left"]'
        for client in (refused, ada, bob, eve):
            await client.aclose()


async def test_the_socket_io_client_talks_in_the_room_of_the_servers_example() -> None:
    printed: list[str] = []
    client = load("djactors.client.socketio", lambda *words: printed.append(" ".join(map(str, words))))
    async with serving("djactors.engine") as port, trio.open_nursery() as nursery:
        nursery.start_soon(client["main"], f"http://127.0.0.1:{port}")
        with trio.fail_after(PATIENCE):
            while "said [{'ok': True}]" not in printed:
                await trio.sleep(0.01)
            asking = await join_chat(port, "elsewhere")
            await asking.send_all(masked(0x81, b'42/chat,["roll call"]'))
            assert await next_message(asking) == '42/chat,0["who are you?"]'
            await asking.send_all(masked(0x81, b'43/chat,0["Eve"]'))
            assert await next_message(asking) == '42/chat,["here","Eve"]'
            await asking.aclose()
    assert printed[:2] == ["connected, from the beginning", "said [{'ok': True}]"]
    assert printed[-1] == "Eve is here"


async def test_the_inbox_of_the_example_reads_what_comes(tmp_path: Path) -> None:
    printed: list[str] = []
    program = load("djactors.client", lambda *words: printed.append(" ".join(map(str, words))))
    async with served(tmp_path) as server, trio.open_nursery() as nursery:
        nursery.start_soon(program["main"], server.url, make_token(tenant_id=1, user_id=2))
        event = {"notificationType": "news", "priority": "LOW", "title": "Good morning", "tenantId": 1, "userId": 2}
        with trio.fail_after(6 * PATIENCE):
            # What comes before the program is connected stays unread, so the count may be any.
            while not any(line.startswith("unread: ") for line in printed):
                await server.publish({"type": "notification.requested", **event})
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert "Good morning" in printed


async def test_the_echo_of_the_official_suites_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "djactors.engine.example", "--port", "0"]
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            line = await process.stdout.receive_some()
            port = int(line.decode().removeprefix("listening on http://127.0.0.1:"))
            client = await open_session(port)
            await client.send_all(
                masked(0x81, b'40/custom,{"a":1}') + masked(0x81, b'42/custom,0["message-with-ack",2]')
            )
            assert (await next_message(client)).startswith('40/custom,{"sid":')
            assert await next_message(client) == '42/custom,["auth",{"a":1}]'
            assert await next_message(client) == "43/custom,0[2]"
            await client.aclose()
        finally:
            process.terminate()
            await process.wait()


async def open_session(port: int) -> trio.SocketStream:
    """Open an Engine.IO session by WebSocket."""
    client = await trio.open_tcp_stream("127.0.0.1", port)
    await client.send_all(UPGRADE.replace(b"/socket ", b"/socket.io/?EIO=4&transport=websocket "))
    await receive_until(client, b"\r\n\r\n")
    assert (await next_message(client)).startswith("0{")
    return client


async def join_chat(port: int, room: str) -> trio.SocketStream:
    client = await open_session(port)
    await client.send_all(masked(0x81, f'40/chat,{{"token":"let me in","room":"{room}"}}'.encode()))
    assert (await next_message(client)).startswith('40/chat,{"sid":')
    assert await next_message(client) == f'42/chat,["welcome","{room}"]'
    return client


async def next_message(client: trio.SocketStream) -> str:
    first, payload = await receive_frame(client)
    assert first == 0x81
    return payload.decode()


MISUSES = """
from typing import Any
from djactors.engine import Namespace, Socket
namespace = Namespace()

def no_socket(text: str) -> None: ...
def one_argument(socket: Socket) -> None: ...
def good(socket: Socket, text: str) -> int: return 1
async def good_too(socket: Socket, auth: dict[str, Any]) -> None: ...

namespace.on("event")(good)
namespace.on_connect(good_too)
namespace.on("event")(no_socket)  # wrong
namespace.on(5)(good)  # wrong
namespace.on_connect(one_argument)  # wrong
namespace.on_disconnect(good_too)  # wrong
namespace.emit("event", to=["a name"])  # wrong

async def ask(socket: Socket) -> str:
    await socket.emit_with_ack("event")  # wrong
    socket.emit(5)  # wrong
    return await socket.emit_with_ack("event", timeout=5)  # wrong
"""


def test_mypy_finds_each_misuse_of_a_namespace(tmp_path: Path) -> None:
    (tmp_path / "misuses.py").write_text(MISUSES)
    checked = check_types(tmp_path, "misuses.py")
    found = {int(number) for number in re.findall(r"^misuses\.py:([0-9]+): error", checked.stdout, re.MULTILINE)}
    assert found == {number for number, line in enumerate(MISUSES.splitlines(), 1) if line.endswith("# wrong")}
