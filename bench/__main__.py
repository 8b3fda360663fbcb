"""``python -m bench NAME [OPTIONS]``; ``--help`` lists the names, ``NAME --help`` the options."""

import signal
import sys
from types import FrameType

import click

from bench.backup import backup
from bench.budget import budget
from bench.builds import builds
from bench.clients import clients
from bench.compare import compare
from bench.connections import connections
from bench.fanout import fanout
from bench.frames import frames
from bench.idle import idle
from bench.latency import latency
from bench.pace import pace
from bench.profile import profile
from bench.reach import reach
from bench.recovery import recovery
from bench.scale import scale
from bench.siege import siege
from bench.sizing import sizing
from bench.soak import soak
from bench.start import start
from bench.steps import steps
from bench.store import store
from bench.strangers import strangers
from bench.throughput import throughput
from bench.way import way


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Measure djactors. Every run prints a table and writes JSON and a plot to bench/out."""
    # A shell starts what a script runs in the background with SIGINT ignored, and Python would leave that so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As Ctrl-C does, so that whatever was started is ended in either case.
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


for command in (
    latency,
    pace,
    throughput,
    fanout,
    clients,
    connections,
    recovery,
    scale,
    store,
    frames,
    idle,
    compare,
    builds,
    budget,
    profile,
    reach,
    siege,
    sizing,
    backup,
    soak,
    start,
    steps,
    strangers,
    way,
):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m bench")
