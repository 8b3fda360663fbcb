"""What systemd hears of the server, and what it passes on; with sockets of the test's own in its place."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import djactors
from djactors.service_manager import ServiceManager
from tests.serving import SERVE, serving

UNITS = Path(djactors.__file__).parent / "systemd"
PATIENCE = 30
MOST_EXPOSED = 1.5
"""Of 10, by systemd's count: below 2 it says OK."""


class Manager:
    """Takes the messages as systemd does."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.address = address

    async def hears(self) -> list[str]:
        """The next message."""
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    return self._socket.recv(4096).decode().splitlines()
                except BlockingIOError:
                    await trio.sleep(0.01)

    async def hears_of(self, state: str) -> list[str]:
        while state not in (message := await self.hears()):
            pass
        return message

    @property
    def is_silent(self) -> bool:
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


async def test_it_hears_of_the_start_of_reloads_of_life_and_of_the_end(tmp_path: Path, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    async with serving(tmp_path, environment=environment) as server:
        assert await manager.hears() == ["READY=1", f"STATUS=serving at {server.url}"]
        for _ in range(3):
            assert await manager.hears() == ["WATCHDOG=1"]
        server.process.send_signal(signal.SIGHUP)
        _, monotonic, status = await manager.hears_of("RELOADING=1")
        assert re.fullmatch(r"MONOTONIC_USEC=\d+", monotonic)
        assert status.startswith("STATUS=")
        await manager.hears_of("READY=1")
        server.process.send_signal(signal.SIGTERM)
        assert await manager.hears_of("STOPPING=1")
        assert await server.process.wait() == 0


async def test_a_process_that_stands_still_is_not_heard_of(tmp_path: Path, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"}
    async with serving(tmp_path, environment=environment) as server:
        await manager.hears_of("WATCHDOG=1")
        server.process.send_signal(signal.SIGSTOP)
        with trio.fail_after(PATIENCE):
            while "State:\tT" not in Path(f"/proc/{server.process.pid}/status").read_text():
                await trio.sleep(0.01)
        while not manager.is_silent:
            pass
        assert manager.is_silent
        server.process.send_signal(signal.SIGCONT)
        await manager.hears_of("WATCHDOG=1")


async def test_the_watchdog_hears_twice_in_its_time_while_the_store_answers(
    manager: Manager, autojump_clock: object
) -> None:
    answers, stuck = [True], trio.Event()
    told = ServiceManager(manager.address, watchdog=60)

    async def alive() -> bool:
        if not answers:
            await stuck.wait()  # a writer that does not answer at all
        return answers[0]

    async def heard() -> list[int]:
        """How often in each of four times: the system keeps about ten messages, so they are read in between."""
        numbers = []
        for _ in range(4):
            await trio.sleep(60)
            numbers.append(0)
            while not manager.is_silent:
                numbers[-1] += 1
        return numbers

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.keep_alive, alive)
            await trio.sleep(1)
            assert (await heard())[1:] == [2, 2, 2]
            answers[0] = False
            assert await heard() == [0, 0, 0, 0]
            answers.clear()
            assert await heard() == [0, 0, 0, 0]
            answers.append(True)
            assert (await heard())[1:] == [2, 2, 2]
            nursery.cancel_scope.cancel()
    finally:
        told.close()


def test_an_abstract_address_and_one_that_is_gone() -> None:
    manager = Manager(f"@djactors-{os.getpid()}")
    told = ServiceManager.from_environment({"NOTIFY_SOCKET": manager.address})
    told.ready("two\nlines")
    assert not manager.is_silent
    manager.close()
    told.ready("nobody is there")
    told.close()
    told.stopping()


@pytest.mark.parametrize(
    ("variables", "watchdog"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": "relative"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "many"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
    ],
)
async def test_the_environment_is_read_and_no_child_believes_it(
    variables: dict[str, str], watchdog: float | None
) -> None:
    told = ServiceManager.from_environment(variables)
    assert (told.watchdog, variables) == (watchdog, {})
    told.tell("READY=1")
    told.close()


ACTIVATE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); "
    "os.environ |= {'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())}; os.execv(sys.argv[2], sys.argv[2:])"
)
"""Passes a socket on as systemd does: as descriptor 3, to the process that it becomes."""


async def test_a_socket_that_was_passed_on_is_served_and_outlives_the_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        os.set_inheritable(held.fileno(), True)
        host, port = held.getsockname()
        command = (sys.executable, "-c", ACTIVATE, str(held.fileno()), *SERVE)
        for _ in range(2):
            async with serving(tmp_path, command=command, pass_fds=(held.fileno(),)) as server:
                assert server.url == f"http://{host}:{port}"
                assert (await server.request("GET", "/healthz")).status == 200
                assert await server.stop() == 0
            # Who comes in between waits in the queue of the socket instead of being refused.
            socket.create_connection((host, port), timeout=PATIENCE).close()


def test_the_units_are_right(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("this machine has no systemd-analyze")
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/djactors/bin/djactors", str(Path(sys.executable)))
        (tmp_path / unit.name).write_text(text)
    units = sorted(tmp_path.iterdir())
    done = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for service in tmp_path.glob("*.service"):
        done = subprocess.run(
            [analyze, "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED * 10:.0f}", service],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_units_name_what_the_program_has() -> None:
    serve, backup = (UNITS / name for name in ("djactors.service", "djactors-backup.service"))
    assert "Type=notify" in serve.read_text()
    assert re.search(r"^ExecStart=\S+/djactors serve$", serve.read_text(), re.MULTILINE)
    assert re.search(r"^ExecStart=\S+/djactors backup \S+ --keep \d+$", backup.read_text(), re.MULTILINE)
    from djactors.config import Settings, environment_name

    names = {environment_name(name) for name in Settings.__dataclass_fields__}
    for unit in (serve, backup):
        assert set(re.findall(r"\b(DJACTORS_[A-Z_]+)=", unit.read_text())) <= names
    # The copy is one of the database that the server has.
    assert _line(serve, "Environment=DJACTORS_DATABASE") == _line(backup, "Environment=DJACTORS_DATABASE")


def _line(unit: Path, beginning: str) -> str:
    [line] = [line for line in unit.read_text().splitlines() if line.startswith(beginning)]
    return line
