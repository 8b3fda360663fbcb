"""What connections cost of which no good token has come: as many as are asked for, each with as much as it may send.

Each kind of stranger gets a server of its own, with the default budget for their bytes (`DJACTORS_UNPROVEN_BYTES`). The
promise is that their bytes together take no more than that budget, beside what connections take that have sent as good
as nothing. So each kind comes twice: with a byte of what it leaves half sent, and with as much as it may send. What is
measured is by how much the server's resident memory grows while the strangers are there.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import click

from bench.load.commands import Target
from bench.plot import bar_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server
from bench.usage import memory
from djactors.net import UNPROVEN_BYTES

SPARE_DESCRIPTORS = 200
SETTLE_SECONDS = 3.0
"""For the server to have read what was sent, and to have refused what it refuses."""

HEAD_BYTES = 7_000
FRAME_BYTES = 14_000
"""As much as a stranger may leave half sent of a head, and of a message before the token; nearly."""


class Say(Protocol):
    """Leaves something half sent, of which `held` bytes are kept."""

    def __call__(self, peer: socket.socket, host: str, *, held: int) -> None: ...


def _head(peer: socket.socket, host: str, *, held: int) -> None:
    start = f"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: {host}\r\nX-A: "
    peer.sendall(start.encode() + b"y" * held)


def _frame(peer: socket.socket, host: str, *, held: int) -> None:
    head = (
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    # A text frame of which the last bytes never come, with a mask of zeros.
    frame = b"\x81\xfe" + (FRAME_BYTES + 1).to_bytes(2, "big") + bytes(4) + b"x" * held
    peer.sendall(head.encode() + frame)


KINDS: Mapping[str, tuple[Say, int]] = {"half a head": (_head, HEAD_BYTES), "half a message": (_frame, FRAME_BYTES)}


@click.command()
@click.option("--connections", type=click.IntRange(1), default=12_000)
@out_option
def strangers(connections: int, out: Path) -> None:
    """Memory of a server with a crowd of connections that have proved nothing."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < connections + SPARE_DESCRIPTORS:
        raise click.ClickException(f"--connections: {limit} descriptors are allowed: ask for fewer, or raise the limit")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    settings = dict(click.get_current_context().params)
    with workplace(out, "strangers") as directory:
        report = Report("strangers", directory, settings)
        found: dict[str, dict[str, float]] = {}
        for kind, (say, most) in KINDS.items():
            found[kind] = {}
            for what, held in (("a byte", 1), ("all", most)):
                with djactors_server(directory / f"{kind} {what}".replace(" ", "-")) as target:
                    found[kind][what] = _grown(target, connections, partial(say, held=held))
    budget = UNPROVEN_BYTES / 2**20
    report.table(
        ["", "MiB with a byte", "KiB each", "MiB with all", "MiB of the bytes", "MiB of the budget", "held"],
        [
            [kind, few, 1024 * few / connections, many, many - few, budget, "yes" if many - few <= budget else "no"]
            for kind, (few, many) in ((kind, grown.values()) for kind, grown in found.items())
        ],
    )
    report.figures = {"connections": connections, "mib": found, "budget_mib": budget}
    report.finish(out, bar_plot("Memory of connections that proved nothing", report.foot, found, "MiB"))


def _grown(target: Target, connections: int, say: Callable[[socket.socket, str], None]) -> float:
    """By how many MiB the server has grown with so many strangers, each from one of many addresses."""
    pid = target.processes["server"]
    before = memory(pid).resident
    with ExitStack() as stack:
        for number in range(connections):
            peer = stack.enter_context(socket.socket())
            peer.bind((f"127.0.{1 + number // 200 % 200}.{1 + number % 200}", 0))
            peer.connect((target.host, target.port))
            try:
                say(peer, f"{target.host}:{target.port}")
            except ConnectionError:
                continue  # It was refused and is gone.
        time.sleep(SETTLE_SECONDS)
        return memory(pid).resident - before
