"""`djactors top`: trouble first on a terminal of any size, through restarts of the server, and plainly without one."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from rich.console import Console

from djactors.config import Settings
from djactors.operations.probe.door import Answer, Door, NoAnswerError
from djactors.operations.top import Looker, NoLookError, Source, address_of, is_live, picture
from djactors.operations.top.looking import Look
from djactors.operations.top.picture import spark
from djactors.operations.top.trouble import troubles
from djactors.telemetry import Metrics
from tests.nodes.test_types import WARNING as TYPES_DIFFER
from tests.operations.commands import complaint, run
from tests.operations.test_embedding import EVENT, running, settings
from tests.serving import SECRET, make_token, send_request, service_token, serving

pytestmark = pytest.mark.usefixtures("own_folder")

TOP = (sys.executable, "-m", "djactors.cli", "top")
PATIENCE = 60
POPULATION = {"total": 0, "sockets": 0, "quarantined": 0}
STARTED = "2026-11-28T18:00:00.000000Z"
BOUNDS = [0.0005, 0.001, 0.005, 0.25, 0.5, 5.0]


NODE = {
    "name": "b-1",
    "isThis": False,
    "startedAt": STARTED,
    "seenAgo": 30.0,
    "version": "0.2.0",
    "url": "http://b",
    "users": 0,
    "sockets": 0,
    "types": "abc",
}

THIS = {**NODE, "name": "a-1", "isThis": True, "seenAgo": 0.0, "types": "def"}


def mailbox(**more: int) -> dict[str, int]:
    return {"depth": 0, "capacity": 100, "highWater": 3, "received": 10, "refused": 0, **more}


def node(name: str, **more: Any) -> dict[str, Any]:
    plain = {"kind": "actor", "state": "running", "restarts": 0, "crashes": 0, "dropped": 0, "lastError": None}
    return {"name": name, **plain, "mailbox": mailbox(), "children": [], **more}


def distribution(*counts: int) -> dict[str, Any]:
    whole = [*counts, *([0] * (len(BOUNDS) + 1 - len(counts)))]
    return {"bounds": BOUNDS, "counts": whole, "sum": 1.0, "count": sum(whole)}


def condition(**more: Any) -> dict[str, Any]:
    children = [node(name) for name in ("users", "router", "clock", "retention", "engine", "listener")]
    return {
        "version": "0.2.0",
        "now": "2026-11-28T18:20:05.000000Z",
        "startedAt": STARTED,
        "uptime": 1205.0,
        "tree": node("djactors", mailbox=None, children=children),
        "users": {"total": 0, "sockets": 0, "quarantined": 0, "tenant": POPULATION, "rows": [], "leftOut": 0},
        "store": {
            "state": "running",
            "writesQueued": 0,
            "writeCapacity": 64,
            "readsQueued": 0,
            "readCapacity": 64,
            "commits": 3,
            "commands": 9,
            "failed": 0,
            "lastError": None,
            "commit": distribution(0, 3),
        },
        "loop": {"lag": 0.001, "worst": 0.012, "window": 60},
        "sessions": {"polling": 1, "websocket": 2},
        "connections": 3,
        "counters": {"events": 300, "notifications": 200, "deliveries": 100, "refusals": 0, "crashes": 0},
        "delivery": distribution(0, 100),
        "history": [past(ago) for ago in range(90, 0, -1)],
        **more,
    }


def past(ago: float, **more: Any) -> dict[str, Any]:
    # Two events and a delivery a second.
    return {"ago": ago, "events": 300 - int(2 * ago), "deliveries": 100 - int(ago), "delivery": [0] * 7, **more}


def user(user_id: int, **more: Any) -> dict[str, Any]:
    plain = {"state": "running", "sockets": 1, "stale": False, "restarts": 0, "crashes": 0, "lastError": None}
    return {"userId": user_id, "name": f"User {user_id}", **plain, "mailbox": mailbox(), **more}


class FakeDoor:
    """A server that answers what a test says; None for no answer at all."""

    url = "http://127.0.0.1:3000"

    def __init__(self, **more: Any) -> None:
        self.condition: Any = condition(**more)
        self.status = 200
        self.unready: str | None = None
        self.readiness: Any = {"status": "ready"}
        self.metrics: str | None = Metrics().exposition().decode()
        self.gone = False
        self.tokens: list[str] = []

    async def request(self, method: str, path: str, *, headers: Any = ()) -> Answer:
        await trio.lowlevel.checkpoint()
        if self.gone:
            raise NoAnswerError("no connection: refused")
        self.tokens += [value for name, value in headers if name == "Authorization"]
        if path == "/readyz":
            error = json.dumps({"error": {"code": "unavailable", "message": self.unready}})
            ready = json.dumps(self.readiness).encode()
            return Answer(200, {}, ready, 0, 0) if self.unready is None else Answer(503, {}, error.encode(), 0, 0)
        if path == "/metrics":
            return Answer(404 if self.metrics is None else 200, {}, (self.metrics or "").encode(), 0, 0)
        return Answer(self.status, {}, json.dumps(self.condition).encode(), 0, 0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def looker(door: FakeDoor, clock: Callable[[], float] | None = None, **more: Any) -> Looker:
    return Looker(Source(cast(Door, door), Settings(jwt_secret=SECRET), **more), clock or Clock())


async def look(**more: Any) -> Look:
    return await looker(FakeDoor(**more)).look()


def drawn(shown: Look | None, width: int = 80, height: int = 24, **more: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(picture(shown, url=FakeDoor.url, width=width, height=height, **more))
    return cast(io.StringIO, console.file).getvalue().splitlines()


# What is shown


@pytest.mark.parametrize(("width", "height"), [(80, 24), (132, 50), (200, 60)])
async def test_it_fits(width: int, height: int) -> None:
    rows = [user(n, name="Ärzte und Ärztinnen 日本" * 4) for n in range(200)]
    users = {"total": 500, "sockets": 700, "quarantined": 1, "tenant": POPULATION, "rows": rows, "leftOut": 300}
    lines = drawn(await look(users=users), width, height)
    assert len(lines) <= height
    assert all(len(line.rstrip()) <= width for line in lines)
    text = "\n".join(lines)
    for shown in ("router", "listener", "1 user is set aside", "events", "2.0/s", "500, 700 sockets"):
        assert shown in text
    assert "User" not in text.partition("actor")[0]


async def test_nothing_is_wrong_with_a_server_that_is_well() -> None:
    shown = await look()
    assert troubles(shown) == []
    lines = drawn(shown)
    assert lines[1].strip() == "no trouble"
    assert "0:20:05" in lines[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"store": {"state": "broken", "lastError": "StoreBroken"}}, "the store is broken: StoreBroken"),
        ({"store": {"writesQueued": 40}}, "the writer's queue has 40 of 64"),
        ({"store": {"commit": distribution(0, 0, 0, 0, 0, 0, 9)}}, "commits take up to more than 5 s"),
        ({"loop": {"worst": 0.3}}, "a turn of the loop took 300 ms"),
        ({"users": {"quarantined": 2}}, "2 users are set aside"),
        ({"delivery": distribution(0, 0, 0, 0, 0, 100)}, "deliveries take up to 5 s"),
        ({"nodes": [NODE]}, "node b-1 was seen 30 s ago"),
        ({"nodes": [THIS, {**NODE, "seenAgo": 1.0}]}, "node b-1 has other notification types"),
    ],
)
async def test_what_is_wrong_comes_first_with_what_to_do(wrong: dict[str, Any], said: str) -> None:
    plain = condition()
    changed = {
        name: {**plain[name], **part} if isinstance(part, dict) and name in plain else part
        for name, part in wrong.items()
    }
    shown = await look(**changed)
    [trouble] = troubles(shown)
    assert said in trouble.what
    assert trouble.do
    assert said in drawn(shown, 132)[1]


async def test_a_part_that_does_not_run_comes_first_of_all() -> None:
    tree = node(
        "djactors",
        mailbox=None,
        children=[
            node("router", mailbox=mailbox(depth=50)),
            node("clock", state="quarantined", lastError="ValueError", crashes=4),
        ],
    )
    shown = await look(tree=tree)
    assert [trouble.what for trouble in troubles(shown)] == [
        "clock is quarantined: ValueError",
        "the mailbox of router has 50 of 100",
    ]
    lines = drawn(shown)
    assert [line.split()[0] for line in lines if line.startswith(("clock", "router"))] == ["clock", "router"]


async def test_a_server_that_takes_no_requests_says_why() -> None:
    door = FakeDoor()
    door.unready = "the disk is full"
    [trouble] = troubles(await looker(door).look())
    assert trouble.what == "takes no requests: the disk is full"


WARNINGS = ["the disk of the database is nearly full", "something that a later version warns of"]


async def test_what_the_server_warns_of_is_trouble() -> None:
    door = FakeDoor()
    door.readiness = {"status": "ready", "warnings": WARNINGS}
    shown = await looker(door).look()
    assert [trouble.what for trouble in troubles(shown)] == WARNINGS
    assert all(trouble.do and not trouble.grave for trouble in troubles(shown))
    lines = drawn(shown, 132)
    assert [line[3:].partition(" - ")[0] for line in lines[1:3]] == WARNINGS


async def test_nodes_that_notify_by_other_types_are_named_once() -> None:
    named = "node b-1 has other notification types"
    for nodes, said in (([THIS, {**NODE, "seenAgo": 1.0}], named), ([THIS], TYPES_DIFFER)):
        door = FakeDoor(nodes=nodes)
        door.readiness = {"status": "ready", "warnings": [TYPES_DIFFER]}
        assert [trouble.what for trouble in troubles(await looker(door).look())] == [said]


@pytest.mark.parametrize("answer", ["ok", [], None, {"warnings": "x"}, {"warnings": [1]}, {"warnings": None}])
async def test_an_answer_without_warnings_is_no_trouble(answer: Any) -> None:
    door = FakeDoor()
    door.readiness = answer
    assert troubles(await looker(door).look()) == []


async def test_what_grows_between_two_looks_is_told_and_what_was_before_is_not() -> None:
    door, clock, metrics = FakeDoor(), Clock(), Metrics()
    metrics.refusals.labels("http_401").inc(1000)
    door.metrics = metrics.exposition().decode()
    looking = looker(door, clock)
    assert troubles(await looking.look()) == []
    metrics.refusals.labels("http_401").inc(70)
    metrics.refusals.labels("engine_origin").inc(10)
    metrics.log_lines_dropped.read = lambda: 4
    door.metrics = metrics.exposition().decode()
    door.condition["tree"]["children"][1]["crashes"] = 2
    clock.now = 10
    assert [trouble.what for trouble in troubles(await looking.look())] == [
        "router crashed 2 times in a minute",
        "4 log lines were dropped",
        "80 refusals in 60 s: http_401 70, engine_origin 10",
    ]
    for now in (40, 80, 120):
        clock.now = now
        shown = await looking.look()
    assert troubles(shown) == []


async def test_a_restart_is_not_taken_for_something_that_has_shrunk() -> None:
    door, clock = FakeDoor(), Clock()
    looking = looker(door, clock)
    await looking.look()
    door.condition = condition(
        startedAt="2026-11-28T18:20:00.000000Z",
        uptime=5.0,
        counters={"events": 10, "notifications": 0, "deliveries": 5, "refusals": 0, "crashes": 0},
        delivery=distribution(5),
        history=[],
    )
    clock.now = 2
    shown = await looking.look()
    assert (shown.rates.events, shown.rates.deliveries) == (2, 1)
    assert shown.delivery == (0.0005, 0.0005)


async def test_a_server_without_anything_to_do_has_no_rates() -> None:
    shown = await look(history=[])
    assert (shown.rates.events, shown.delivery) == (0, None)
    assert set(shown.rates.events_bars) == {0}


async def test_all_but_refusals_is_shown_where_the_metrics_are_closed() -> None:
    door = FakeDoor()
    door.metrics = None
    text = "\n".join(drawn(await looker(door).look(), 132))
    assert "/metrics is closed" in text
    assert "router" in text


async def test_a_name_cannot_drive_the_terminal() -> None:
    rows = [user(1, name="\x1b]0;owned\x07\x1b[2J[bold]x")]
    users = {"total": 1, "sockets": 1, "quarantined": 0, "tenant": POPULATION, "rows": rows, "leftOut": 0}
    text = "\n".join(drawn(await look(users=users), 132))
    assert "\x1b" not in text
    assert "[bold]x" in text


def test_a_small_chart_shows_that_there_was_something() -> None:
    assert spark([0, 1, 100], 3) == " ▁█"
    assert spark([5, 0, 0], 2) == "  "
    assert spark([1, 2], 0) == ""


# Who may look


async def test_it_signs_a_token_and_makes_nobody_known_by_that(own_folder: Path) -> None:
    async with running(settings(own_folder)) as server:
        await send_request(server.url, "POST", "/api/events", token=service_token(), body=EVENT)
        door = Door(server.url, patience=PATIENCE, clock=trio.current_time)
        for tenant in (None, 1):
            shown = await Looker(Source(door, server.settings, tenant=tenant), trio.current_time).look()
            assert shown.condition.counters.events == 1
            assert shown.samples is not None
        people = await send_request(server.url, "GET", "/api/people", token=make_token(tenant_id=1, user_id=7))
        assert [person["id"] for person in people.json["items"]] == [7]
        with pytest.raises(NoLookError, match="the token is refused"):
            await Looker(Source(door, server.settings, make_token(tenant_id=1, user_id=1)), trio.current_time).look()


async def test_without_a_token_and_a_secret_it_says_so() -> None:
    with pytest.raises(NoLookError, match="--token: is missing") as refused:
        await Looker(Source(cast(Door, FakeDoor()), Settings()), Clock()).look()
    assert refused.value.is_final


@pytest.mark.parametrize("answer", [[], {}, {"startedAt": 1}, {**condition(), "tree": None}])
async def test_something_else_that_answers_is_no_server(answer: Any) -> None:
    door = FakeDoor()
    door.condition = answer
    with pytest.raises(NoLookError, match="is --url right"):
        await looker(door).look()


# The command


def test_without_a_server_one_picture_is_an_error() -> None:
    assert "no connection" in complaint(run("top", "--url", "http://127.0.0.1:9", "--once"))
    assert "--url" in complaint(run("top", "--url", "nonsense"), 2)


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({}, "http://127.0.0.1:3000"),
        ({"host": "0.0.0.0", "port": 8080}, "http://127.0.0.1:8080"),
        ({"host": "::"}, "http://[::1]:3000"),
        ({"host": "10.0.0.5,127.0.0.1"}, "http://10.0.0.5:3000"),
    ],
)
def test_the_server_is_looked_for_where_the_settings_have_it_listen(more: dict[str, Any], url: str) -> None:
    assert address_of(Settings(**more)) == url


@pytest.mark.parametrize("more", [{"port": 0}, {"unix_socket": "/run/x"}, {"tls_cert": "cert.pem"}])
def test_where_the_settings_do_not_say_it_has_to_be_said(more: dict[str, Any]) -> None:
    with pytest.raises(NoLookError, match="--url"):
        address_of(Settings(**more))


def test_the_pace_is_bounded() -> None:
    assert "--interval" in complaint(run("top", "--interval", "0.01"), 2)


@pytest.mark.parametrize(("terminal", "expected"), [("xterm-256color", True), ("dumb", False), ("", False)])
def test_only_a_terminal_that_can_be_drawn_on_is_drawn_on(terminal: str, expected: bool) -> None:
    class Output(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert is_live(Output(), {"TERM": terminal}) is expected
    assert is_live(io.StringIO(), {"TERM": terminal}) is False


async def test_a_pipe_gets_one_plain_picture(own_folder: Path) -> None:
    async with serving(own_folder) as server:
        environment = {**os.environ, "JWT_SECRET": SECRET, "TERM": "xterm-256color"}
        done = await trio.run_process([*TOP, "--url", server.url], capture_stdout=True, env=environment)
    text = done.stdout.decode()
    assert "\x1b" not in text
    assert "no trouble" in text
    assert "router" in text


class Terminal:
    """A terminal of 80 by 24 with `djactors top` on it. `seen` is all that was written to it."""

    def __init__(self, process: trio.Process, master: int, slave: int) -> None:
        self.process = process
        self.master = master
        self.slave = slave
        self.seen = ""
        self.start = 0

    async def wait_for(self, text: str) -> None:
        """Wait until this is written, behind `start`."""
        with trio.fail_after(PATIENCE):
            while text not in self.seen[self.start :]:
                await trio.lowlevel.wait_readable(self.master)
                self.seen += os.read(self.master, 65536).decode(errors="replace")

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)


@asynccontextmanager
async def terminal(url: str) -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(slave)
    environment = {**os.environ, "JWT_SECRET": SECRET, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    process = await trio.lowlevel.open_process(
        [*TOP, "--url", url, "--interval", "0.5"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
    )
    try:
        shown = Terminal(process, master, slave)
        yield shown
        await shown.wait_for("\x1b[?1049l")
        with trio.fail_after(PATIENCE):
            await process.wait()
        assert shown.seen.rindex("\x1b[?25h") > shown.seen.rindex("\x1b[?25l"), "the cursor is back"
        assert termios.tcgetattr(slave) == before
        assert process.returncode == 0
    finally:
        process.kill()
        await process.wait()
        os.close(master)
        os.close(slave)


async def test_q_ends_it_and_leaves_the_terminal_as_it_was(own_folder: Path) -> None:
    async with serving(own_folder) as server, terminal(server.url) as shown:
        await shown.wait_for("no trouble")
        assert "\x1b[?1049h" in shown.seen
        shown.press(b"q")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_as_well(own_folder: Path, number: signal.Signals) -> None:
    async with serving(own_folder) as server, terminal(server.url) as shown:
        await shown.wait_for("no trouble")
        shown.process.send_signal(number)


async def test_ctrl_z_puts_the_terminal_back_until_it_goes_on(own_folder: Path) -> None:
    async with serving(own_folder) as server, terminal(server.url) as shown:
        await shown.wait_for("no trouble")
        drawing = termios.tcgetattr(shown.slave)
        shown.process.send_signal(signal.SIGTSTP)
        await shown.wait_for("\x1b[?1049l")
        with trio.fail_after(PATIENCE):
            await trio.to_thread.run_sync(os.waitid, os.P_PID, shown.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert termios.tcgetattr(shown.slave) != drawing
        shown.start = len(shown.seen)
        shown.process.send_signal(signal.SIGCONT)
        await shown.wait_for("\x1b[?1049h")
        await shown.wait_for("no trouble")
        assert termios.tcgetattr(shown.slave) == drawing
        shown.press(b"q")


async def test_it_goes_on_while_the_server_is_gone_and_says_since_when(own_folder: Path) -> None:
    async with serving(own_folder) as server:
        port = server.url.rpartition(":")[2]
        async with terminal(server.url) as shown:
            await shown.wait_for("no trouble")
            server.process.terminate()
            await server.process.wait()
            await shown.wait_for("no answer since ")
            shown.start = len(shown.seen)
            async with serving(own_folder, environment={"SOCKET_PORT": port}):
                await shown.wait_for("no trouble")
                shown.press(b"q")


async def test_it_waits_for_a_server_that_does_not_run_yet() -> None:
    async with terminal("http://127.0.0.1:9") as shown:
        await shown.wait_for("no answer since ")
        shown.press(b"q")
