"""How long a server takes to answer again after it was killed, with millions of notifications in its file.

A server is posted to without a pause, so that its write-ahead log is as long as it gets, and killed with SIGKILL in the
middle of that. Then it is started again: from the start of the process to the line that says that it listens, to the
answer to the first post, and to the first `/readyz` with 200. Each is asked for as soon as the one before is there.
That server is posted to and killed as well, and so on.

What a start is made of is measured in the same turns: a start whose database no longer is in the system's cache, a
start with an empty database, and Python's imports in one of those, as `-X importtime` counts them.
"""

import http.client
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import click
import msgspec

from bench.driver import load_on
from bench.load import events
from bench.load.commands import Connect, Connected, Done, Flood, Know, Target
from bench.load.crowd import token
from bench.plot import bar_plot
from bench.process import START_SECONDS
from bench.report import Report, out_option, workplace
from bench.scale import OWNERS, fill
from bench.server import djactors_server
from bench.usage import cpu
from djactors.store.sqlite.lock import is_as_noted

PRODUCERS = 64
LISTENERS = 100
"""Connected users when the server is killed."""

LONG = 3600.0
"""Seconds of posting, which the kill ends."""

PAUSE_SECONDS = 0.002
"""Between two questions whether the server is ready."""

INSTALLED = {"PYTHONDONTWRITEBYTECODE": ""}
"""What makes a checkout start as an installed package does, whose bytecode was compiled when it was installed."""

WARM, COLD, EMPTY = "killed", "killed, database not cached", "empty database"


class Start(msgspec.Struct, frozen=True):
    """Seconds since the process was started, and of CPU until the first post was answered. `log` is how many MiB of
    write-ahead log there were, and `half_moved` whether the server before was killed while it moved the log.
    """

    listening: float
    posted: float
    ready: float
    cpu: float
    log: float
    half_moved: bool


@click.command()
@click.option("--rows", type=click.IntRange(OWNERS), default=5_000_000, help="Stored notifications.")
@click.option("--starts", type=click.IntRange(1), default=5, help="Of each kind.")
@click.option("--seconds", type=click.FloatRange(0.1), default=3.0, help="Of posting before each kill.")
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file to use and to keep; it is filled if it is not there.  [default: one that is thrown away]",
)
@out_option
def start(rows: int, starts: int, seconds: float, database: Path | None, out: Path) -> None:
    """From `kill -9` to the first answer, with millions of notifications in the file."""
    settings = dict(click.get_current_context().params)
    found: dict[str, list[Start]] = {WARM: [], COLD: [], EMPTY: []}
    imports: list[float] = []
    with workplace(out, "start") as directory:
        report = Report("start", directory, settings)
        full = directory / "full.db" if database is None else database
        if not full.exists():
            fill(full, rows)
        servers = Servers(directory)
        # The first server finds no log that is left behind, so its start is not counted.
        with servers.started(full) as (target, _):
            _post_and_kill(target, report, seconds)
        for turn in range(starts):
            with servers.started(full) as (target, took):
                found[WARM].append(took)
                _post_and_kill(target, report, seconds)
            _forget(full)
            with servers.started(full) as (target, took):
                found[COLD].append(took)
                _post_and_kill(target, report, seconds)
            with servers.started(directory / f"empty-{turn}.db") as (_, took):
                found[EMPTY].append(took)
            imports.append(servers.imports(directory / f"imports-{turn}"))
        size = full.stat().st_size / 2**20
    middle = {
        kind: [median(each) for each in zip(*map(msgspec.structs.astuple, took), strict=True)]
        for kind, took in found.items()
    }
    report.table(
        [
            "s from the start",
            "listening",
            "first post answered",
            "ready",
            "CPU",
            "answered, each",
            "log MiB",
            "half moved",
        ],
        [
            [
                kind,
                *middle[kind][:4],
                _span(took),
                max(each.log for each in took),
                sum(each.half_moved for each in took),
            ]
            for kind, took in found.items()
        ],
    )
    click.echo(f"{size:.0f} MiB; Python's imports are {median(imports):.2f} s of an empty database's start\n")
    report.figures = {
        "mib": size,
        "imports": imports,
        **{kind: [msgspec.structs.asdict(each) for each in took] for kind, took in found.items()},
    }
    bars = {kind: {"listening": each[0], "first post answered": each[1]} for kind, each in middle.items()}
    report.finish(out, bar_plot("Seconds from the start of the process", report.foot, bars, "s"))


class Servers:
    """Starts servers whose bytecode is in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._secret = secrets.token_hex(32)
        self._settings = INSTALLED | {"PYTHONPYCACHEPREFIX": str(directory / "bytecode")}

    @contextmanager
    def started(self, database: Path) -> Iterator[tuple[Target, Start]]:
        """Serve, and ask at once for what a start is about."""
        log = database.with_name(f"{database.name}-wal")
        left = log.stat().st_size / 2**20 if log.exists() else 0.0
        half_moved = is_as_noted(database) is False
        began = time.monotonic()
        with djactors_server(
            self._directory, database=database, secret=self._secret, settings=self._settings
        ) as target:
            listening = time.monotonic() - began
            connection = http.client.HTTPConnection(target.host, target.port, timeout=START_SECONDS)
            head = {"Authorization": f"Bearer {token(target, role='service')}", "Content-Type": "application/json"}
            connection.request("POST", "/api/events", events.body("notification.requested", 1, 1), head)
            answer = connection.getresponse()
            told = answer.read()
            if answer.status != 201:
                raise click.ClickException(f"the first post was answered {answer.status}: {told.decode()}")
            posted, used = time.monotonic() - began, cpu(target.processes["server"]).total
            while not _is_ready(connection):
                time.sleep(PAUSE_SECONDS)
            ready = time.monotonic() - began
            connection.close()
            yield target, Start(listening, posted, ready, used, left, half_moved)

    def imports(self, directory: Path) -> float:
        """Seconds that a start with an empty database imports, as the interpreter counts them."""
        settings = self._settings | {"PYTHONPROFILEIMPORTTIME": "1"}
        with djactors_server(directory, secret=self._secret, settings=settings):
            pass
        return imported_us((directory / "server.log").read_text()) / 1e6


def _is_ready(connection: http.client.HTTPConnection) -> bool:
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    answer.read()
    return answer.status == 200


def _post_and_kill(target: Target, report: Report, seconds: float) -> None:
    """Post for so long, and kill the server in the middle of it. Nobody waits for what the load has to say to that."""
    with load_on(target) as load:
        load.ask(Know(LISTENERS), Done)
        report.check("connecting", load.ask(Connect(1, LISTENERS, LISTENERS), Connected).failures)
        load.tell(Flood(event="notification.requested", producers=PRODUCERS, batch=1, seconds=LONG))
        time.sleep(seconds)
        os.kill(target.processes["server"], signal.SIGKILL)


def _forget(database: Path) -> None:
    """Have the system drop what it caches of a database that nobody has open."""
    for path in (database, database.with_name(f"{database.name}-wal")):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def imported_us(log: str) -> int:
    """The sum of what each module took itself, in a log with lines of `-X importtime`."""
    lines = (
        line.removeprefix("import time:").split("|") for line in log.splitlines() if line.startswith("import time:")
    )
    return sum(int(own) for own, *_ in lines if own.strip().isdigit())


def _span(took: list[Start]) -> str:
    answered = [each.posted for each in took]
    return f"{min(answered):.2f} … {max(answered):.2f}"
