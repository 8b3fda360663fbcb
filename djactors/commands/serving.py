"""The commands that serve: `serve`, and `demo` with an example to look at."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
import trio

from djactors.commands.common import (
    config_option,
    database_option,
    first_of,
    last_words,
    sentence_of,
    settings_of,
    upgrade_backup_option,
)
from djactors.commands.ends import endless
from djactors.commands.manual import EVERY, Manual
from djactors.config import SettingError, Settings, exposed_secrets, weak_secrets

SWITCH_SECONDS = 0.0001
"""The time in seconds that a thread may keep the interpreter while another thread wants it. A commit takes the
interpreter some 40 times, and waits so long each time that the loop is busy. With Python's 5 ms it waited for seconds;
with 0.5 ms a post took 20 to 50 ms while a thousand clients came back, and with this 15 to 20. An event costs no more
than with 0.5 ms, one by one or with 64 producers."""


GC_THRESHOLDS = (1_000, 1, 25_000)
"""When the garbage collector looks for cycles: among young objects after 1,000 more objects were made than freed, among
those that have survived at each second look, and among all objects after 50 million. There are few cycles here. Yet at
Python's default of (700, 10, 10) every connect and every broadcast made the collector walk all actors and sessions,
which was a third of the cost of connecting. A look takes some half a microsecond for each object, and everybody waits
for it: with 50,000 young objects it was a turn of 20 to 40 ms while a thousand clients came back."""


@click.command(
    cls=Manual,
    examples=[
        ("djactors serve", "serves on 127.0.0.1:3000 from ./djactors.db; JWT_SECRET must be set."),
        ("djactors serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem", "serves HTTPS to other machines."),
        ("djactors serve --database postgresql://djactors@db/djactors", "serves from PostgreSQL."),
    ],
    exits={0: "it was told to stop, and has stopped"},
    settings=[EVERY],
)
@click.option("--host", help="Address to listen on, or several with commas.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 3000]")
@click.option(
    "--socket",
    "--unix",
    "unix_socket",
    metavar="PATH",
    type=click.Path(),
    help="A Unix socket to listen on, instead of a port.",
)
@click.option("--tls-cert", metavar="FILE", type=click.Path(), help="The certificate for HTTPS, in PEM form.")
@click.option("--tls-key", metavar="FILE", type=click.Path(), help="The private key of the certificate.")
@upgrade_backup_option
@database_option
@config_option
@endless()
def serve(config: str | None, **flags: Any) -> None:
    """Serve until SIGTERM or Ctrl-C.

    The database is created, or brought to the schema of this program, first. The command prints `listening on ...`
    once clients can connect. SIGTERM lets requests end and closes connections; a second one exits at once. SIGHUP reads
    the files of keys and of TLS again.
    """
    _run(settings_of(config, **flags), config)


@click.command(
    cls=Manual,
    examples=[
        ("djactors demo", "serves the example on 127.0.0.1:3000."),
        ("djactors demo --port 0", "picks a free port, and prints it."),
    ],
    exits={0: "it was told to stop, and has stopped"},
    settings=[EVERY],
)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 3000]")
@click.option(
    "--database",
    metavar="PLACE",
    type=click.Path(),
    help="An empty database to use and keep.  [default: one that is thrown away]",
)
@endless()
def demo(host: str | None, port: int | None, database: str | None) -> None:
    """Serve an example tenant, and print links that sign in and commands to try.

    The database and the secret are thrown away at the end, unless --database names a database to keep.
    """
    import secrets
    import tempfile

    from djactors.operations import demonstration

    with tempfile.TemporaryDirectory(prefix="djactors-demo-") as folder:
        settings = settings_of(
            None,
            host=host,
            port=port,
            database=database or str(Path(folder, "demo.db")),
            jwt_secret=secrets.token_hex(32),
            jwt_secret_previous="",
            jwt_public_key_file="",
            jwt_keys_file="",
            test_events=True,
        )
        _run(settings, prepare=demonstration.prepare)


def _run(settings: Settings, config: str | None = None, *, prepare: Callable[..., Any] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; a second one exits at once. SIGHUP has the server read its files again."""
    from djactors.app import Server, ServerFailed
    from djactors.net import InheritedRefused, inherited_network, raise_descriptor_limit
    from djactors.service_manager import ServiceManager
    from djactors.store.errors import StoreError
    from djactors.store.upgrading import UpgradeStopped
    from djactors.telemetry import LogThread, Spans, Telemetry
    from djactors.telemetry.exporting import exported
    from djactors.telemetry.interpreter import log_everything

    log = LogThread(settings.log_format, settings.log_level)
    log_everything(log.logger)

    def fail(message: str, code: int = 1) -> NoReturn:
        # By way of the log, behind what it still has to write, and given up like it if nobody reads.
        log.say(last_words(message))
        log.close()
        raise SystemExit(code)

    async def serve_until_told(spans: Spans | None) -> None:
        telemetry, network = Telemetry(log, spans=spans), inherited_network(os.environ)
        server = Server(settings, telemetry=telemetry, network=network, starting=manager.starting)
        started = trio.Event()
        _warn_of_keys(settings, config, telemetry.log)
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                # A start that upgrades the database takes long, and can be told to stop as well.
                nursery.start_soon(_watch_signals, signals, server, manager, started, nursery)
                await nursery.start(server.run)
                if prepare is not None:
                    for line in await prepare(server):
                        click.echo(line)
                click.echo(f"listening on {server.url}")
                manager.ready(f"serving at {server.url}")
                started.set()
                nursery.start_soon(manager.keep_alive, server.answers_writes)
                await server.wait_stopped()
                manager.stopping()
                nursery.cancel_scope.cancel()

    manager = ServiceManager.from_environment(os.environ)
    raise_descriptor_limit()
    _tune_interpreter()
    told = (SettingError, InheritedRefused, ServerFailed, StoreError, OSError)
    try:
        with exported(os.environ, log.logger) as spans:
            trio.run(serve_until_told, spans)
    except told as error:
        fail(sentence_of(error))
    except BaseExceptionGroup as group:
        # An error from inside a nursery comes out in a group, even if it is the only one.
        failed, unexpected = group.split(told)
        if failed is None or unexpected is not None:
            raise
        first = first_of(failed)
        # A start that was told to stop has done as it was told.
        fail(sentence_of(first), 0 if isinstance(first, UpgradeStopped) else 1)


def _tune_interpreter() -> None:
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _warn_of_keys(settings: Settings, config: str | None, log: Any) -> None:
    from djactors.edge.keys import exposed_keys

    for concern in (weak_secrets(settings), exposed_secrets(config), exposed_keys(settings)):
        if concern is not None:
            log.warning("tokens could be forged", reason=concern)


async def _watch_signals(signals: Any, server: Any, manager: Any, started: trio.Event, nursery: trio.Nursery) -> None:
    async def reload() -> None:
        await started.wait()
        manager.reloading()
        server.reload()
        await server.reloaded()
        manager.ready(f"serving at {server.url}")

    first = True
    async for number in signals:
        if number == signal.SIGHUP:
            nursery.start_soon(reload)
            continue
        if not first:
            nursery.cancel_scope.cancel()
            return
        first = False
        manager.stopping()
        server.request_stop()
