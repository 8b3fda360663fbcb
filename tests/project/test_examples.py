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

PACKAGES = ("djactors.kernel", "djactors.protocol", "djactors.net")
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


def test_mypy_finds_nothing_in_any_of_them(tmp_path: Path) -> None:
    programs = {f"{package.rpartition('.')[2]}_example.py": example_of(package) for package in PACKAGES}
    shown = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert shown
    programs.update({f"readme_{number}.py": program for number, program in enumerate(shown)})
    for name, program in programs.items():
        (tmp_path / name).write_text(program)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *programs],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
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
