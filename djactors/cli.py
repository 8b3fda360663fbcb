"""The commands of the contract, one function for each. A command reads its arguments, calls a lower layer, and prints.

Exit codes: 0 means done; 1 means that something is wrong, and one line on standard error says what; 2 means that the
command line is wrong.
"""

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

from djactors import __version__
from djactors.config import SettingError, Settings, exposed_secrets, load, weak_secrets

MAX_TTL = 10 * 365 * 24 * 3600
"""The longest life of a token, in seconds: ten years. A token cannot be taken back, so every token must end."""

MAX_NAME = 255
"""The most characters of a name, as in the schema."""


def _fail(message: str) -> NoReturn:
    click.echo(_last_words(message), err=True)
    raise SystemExit(1)


def _last_words(message: str) -> str:
    return f"djactors: {' '.join(message.splitlines())}"


def _settings(config: str | None, **flags: Any) -> Settings:
    try:
        return load(flags, os.environ, config)
    except SettingError as error:
        _fail(str(error))


def _database(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--database", metavar="PLACE", help="The SQLite file, or postgresql://USER@HOST/NAME.")(command)


def _config(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--config", metavar="FILE", help="A TOML file with settings.")(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="djactors")
def main() -> None:
    """Real-time in-app notifications for DJ System."""


@main.command()
@click.option("--host", help="Address to listen on, or several with commas.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 3000]")
@click.option(
    "--socket", "--unix", "unix_socket", metavar="PATH", help="A Unix socket to listen on, instead of a port."
)
@click.option("--tls-cert", metavar="FILE", help="The certificate for HTTPS, in PEM form.")
@click.option("--tls-key", metavar="FILE", help="The private key of the certificate.")
@_database
@_config
def serve(config: str | None, **flags: Any) -> None:
    """Migrate if needed, then serve until SIGTERM. SIGHUP reads the files of keys and of TLS again."""
    _run(_settings(config, **flags), config)


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 3000]")
@click.option(
    "--database", metavar="PLACE", help="An empty database to use and keep, instead of one that is thrown away."
)
def demo(host: str | None, port: int | None, database: str | None) -> None:
    """Serve an example tenant from a throw-away database, and print links that sign in and commands to try."""
    import secrets
    import tempfile

    from djactors.operations import demonstration

    with tempfile.TemporaryDirectory(prefix="djactors-demo-") as folder:
        settings = _settings(
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


@main.command()
@_database
@_config
@click.option("--check", is_flag=True, help="Only report; exit 1 if the database is behind.")
def migrate(database: str | None, config: str | None, check: bool) -> None:
    """Bring the database to the schema of this program."""
    from djactors.inbox import schema
    from djactors.store.engines import engine_at, shown
    from djactors.store.errors import StoreError

    place = _settings(config, database=database).database
    path = shown(place)
    try:
        if check:
            behind = schema.inspect(place)
            for name in behind:
                click.echo(f"pending {name}")
            if behind:
                _fail(f"{path} is behind: run `djactors migrate --database {path}`")
            click.echo(f"{path} is up to date")
            return
        with engine_at(place).guard() as guard:
            applied = schema.apply(place)
            guard.hold_database()
    except (StoreError, OSError) as error:
        _fail(_line(error))
    for name in applied:
        click.echo(f"applied {name}")
    click.echo(f"{path} is up to date")


@main.command()
@click.option("--tenant", "tenant_id", type=click.IntRange(1, 2**53 - 1), help="Required, except for a service.")
@click.option("--user", "user_id", type=click.IntRange(1, 2**53 - 1), help="Required, except for a service.")
@click.option("--role", type=click.Choice(["user", "manager", "admin", "service"]), default="user", show_default=True)
@click.option("--name", help="The user's name.")
@click.option(
    "--ttl", type=click.IntRange(1, MAX_TTL), default=3600, show_default=True, help="Seconds until it expires."
)
@_config
def token(
    tenant_id: int | None, user_id: int | None, role: str, name: str | None, ttl: int, config: str | None
) -> None:
    """Print a JWT signed with JWT_SECRET, or with the first secret of the file of keys."""
    from djactors.operations.tokens import sign, signing_key

    settings = _settings(config)
    if role != "service" and (tenant_id is None or user_id is None):
        raise click.UsageError(f"a token of role {role} needs --tenant and --user")
    if name is not None and not 1 <= len(name) <= MAX_NAME:
        raise click.UsageError(f"a name has 1 to {MAX_NAME} characters")
    try:
        click.echo(sign(settings, tenant_id=tenant_id, user_id=user_id, role=role, name=name, ttl=ttl))
        kid = signing_key(settings).kid
    except SettingError as error:
        _fail(str(error))
    if kid is not None:
        click.echo(f"signed with kid {kid!r}", err=True)


@main.command()
@_database
@_config
def check(database: str | None, config: str | None) -> None:
    """Diagnose the configuration, the secret and the database; exit 1 on any finding."""
    from djactors.operations import diagnosis

    try:
        settings = load({"database": database}, os.environ, config)
    except SettingError as error:
        _fail(str(error))
    findings = 0
    for name, finding in diagnosis.diagnose(settings, config):
        click.echo(f"{'ok  ' if finding is None else 'FAIL'} {name}{'' if finding is None else f': {finding}'}")
        findings += finding is not None
    if findings:
        _fail(f"{findings} finding{'s' if findings > 1 else ''}")


@main.command()
@click.option("--tenant", "tenant_id", type=click.IntRange(1, 2**53 - 1), required=True)
@click.option("--user", "user_id", type=click.IntRange(1, 2**53 - 1), required=True)
@click.option(
    "--at", "seq", metavar="SEQ", type=click.IntRange(0, 2**53 - 1), help="Show the inbox as it was after this change."
)
@_database
@_config
def inbox(tenant_id: int, user_id: int, seq: int | None, database: str | None, config: str | None) -> None:
    """Print a user's inbox and unread count, as they are now or as they were."""
    from djactors.inbox.history import OutOfReachError
    from djactors.operations import inbox as past
    from djactors.store.errors import MigrationError, StoreBroken

    try:
        found = past.read(_settings(config, database=database).database, tenant_id, user_id, seq)
    except (OutOfReachError, MigrationError, StoreBroken, OSError) as error:
        _fail(_line(error))
    for line in past.lines(found):
        click.echo(line)


@main.command("sign-out")
@click.option("--tenant", "tenant_id", type=click.IntRange(1, 2**53 - 1), required=True)
@click.option("--user", "user_id", type=click.IntRange(1, 2**53 - 1), required=True)
@click.option("--url", metavar="URL", help="The server to ask. Without it the database is changed directly.")
@click.option(
    "--token",
    metavar="JWT",
    envvar="DJACTORS_TOKEN",
    help="An admin's or a service's token for the server; better in the environment as DJACTORS_TOKEN.",
)
@_database
@_config
def sign_out(
    tenant_id: int, user_id: int, url: str | None, token: str | None, database: str | None, config: str | None
) -> None:
    """Refuse all tokens of a user that were issued before now, and end the user's connections."""
    from djactors.operations import signing_out
    from djactors.store.errors import DatabaseLocked, MigrationError, StoreError

    settings = _settings(config, database=database)
    try:
        if url is not None:
            at = signing_out.through_server(settings, url, token, tenant_id, user_id)
        else:
            at = signing_out.directly(settings.database, tenant_id, user_id)
    except DatabaseLocked as error:
        _fail(f"{error}; or sign out through the server with --url")
    except (SettingError, signing_out.NotSignedOutError, MigrationError, StoreError, OSError) as error:
        _fail(_line(error))
    click.echo(f"user {user_id} of tenant {tenant_id} is signed out: tokens issued before {at} are refused")


@main.command()
@click.option("--url", metavar="URL", envvar="DJACTORS_URL", required=True, help="The address that clients use.")
@click.option(
    "--token",
    metavar="JWT",
    envvar="DJACTORS_TOKEN",
    help="The probe's token; better in the environment as DJACTORS_TOKEN.  [default: one is signed]",
)
@click.option("--origin", "origins", metavar="ORIGIN", multiple=True, help="A page that must be allowed; repeatable.")
@click.option(
    "--idle",
    type=click.FloatRange(0, 24 * 3600),
    default=0.0,
    metavar="SECONDS",
    help="Also keep quiet connections open for this long.",
)
@click.option("--ca", metavar="FILE", help="The certificate of a CA to trust beside those of the system.")
@click.option("--metrics", is_flag=True, help="Print samples for Prometheus instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead.")
@_config
def probe(
    url: str,
    token: str | None,
    origins: tuple[str, ...],
    idle: float,
    ca: str | None,
    metrics: bool,
    as_json: bool,
    config: str | None,
) -> None:
    """Connect, post and receive as clients do, through every proxy; name what is wrong and the mend.

    It exits with 1 on any finding, and with 2 if nothing could be tried.
    """
    import msgspec

    from djactors.operations.probe import NotTriedError, Plan, Report, token_for
    from djactors.operations.probe import probe as results

    report = Report(url)

    async def look() -> None:
        plan = Plan(url, token_for(_settings(config), token, idle), origins, idle, ca)
        async for result in results(plan, report):
            if not (metrics or as_json):
                click.echo(result.line())

    try:
        trio.run(look)
    except NotTriedError as error:
        click.echo(_last_words(str(error)), err=True)
        raise SystemExit(2) from None
    except BaseExceptionGroup as group:
        # Ctrl-C inside of a nursery.
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        raise KeyboardInterrupt from None
    if metrics:
        for sample in report.metrics():
            click.echo(sample)
    elif as_json:
        click.echo(msgspec.json.encode(report))
    if not report.ok:
        raise SystemExit(1)


@main.command()
@click.option(
    "--to", "target", metavar="PLACE", required=True, help="An SQLite file or a postgresql:// URL, without a database."
)
@_database
@_config
def export(target: str, database: str | None, config: str | None) -> None:
    """Carry the whole installation to another database, in either direction, and verify it row by row."""
    from djactors.operations import moving
    from djactors.operations.progress import Progress
    from djactors.store.errors import StoreError

    source = _settings(config, database=database).database
    progress = Progress(sys.stderr)
    try:
        moved = moving.move(source, target, progress.step)
    except (StoreError, OSError) as error:
        progress.end()
        _fail(_line(error))
    except KeyboardInterrupt:
        progress.end()
        _fail("interrupted: nothing was carried; the same command begins anew")
    progress.end()
    if moved.left_behind:
        click.echo(f"left behind, because it is not djactors' own: {', '.join(moved.left_behind)}")
    click.echo(
        f"carried and verified {moved.rows} rows of {moved.tables} tables from {moved.source} to {moved.target}, "
        "every row equal; start the servers with the new place now"
    )


SWITCH_SECONDS = 0.0005
"""The time in seconds that a thread may keep the interpreter while another thread wants it. With Python's
5 ms, a busy event loop made the commit's thread wait for seconds. With 0.5 ms the longest of a hundred waits was 15 ms,
and a loop full of socket calls is no slower."""


GC_THRESHOLDS = (50_000, 20, 50)
"""When the garbage collector looks for cycles: among young objects after 50,000 more objects were made than freed, and
among all objects after a thousand times as many. There are few cycles here. Yet at Python's default of (700, 10, 10)
every connect and every broadcast made the collector walk all actors and sessions, which was a third of the cost of
connecting."""


def _run(settings: Settings, config: str | None = None, *, prepare: Callable[..., Any] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; a second one exits at once. SIGHUP has the server read its files again."""
    from djactors.app import Server, ServerFailed
    from djactors.edge.keys import exposed_keys
    from djactors.net import InheritedRefused, inherited_network, raise_descriptor_limit
    from djactors.service_manager import ServiceManager
    from djactors.store.errors import StoreError
    from djactors.telemetry import LogThread, Telemetry
    from djactors.telemetry.interpreter import log_everything

    log = LogThread(settings.log_format, settings.log_level)
    log_everything(log.logger)

    def fail(message: str) -> NoReturn:
        # By way of the log, behind what it still has to write, and given up like it if nobody reads.
        log.say(_last_words(message))
        raise SystemExit(1)

    async def serve_until_told() -> None:
        server = Server(settings, telemetry=Telemetry(log), network=inherited_network(os.environ))
        for concern in (weak_secrets(settings), exposed_secrets(config), exposed_keys(settings)):
            if concern is not None:
                server.telemetry.log.warning("tokens could be forged", reason=concern)
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                await nursery.start(server.run)
                if prepare is not None:
                    for line in await prepare(server):
                        click.echo(line)
                click.echo(f"listening on {server.url}")
                manager.ready(f"serving at {server.url}")
                nursery.start_soon(manager.keep_alive, server.answers_writes)
                nursery.start_soon(_watch_signals, signals, server, manager, nursery)
                await server.wait_stopped()
                manager.stopping()
                nursery.cancel_scope.cancel()

    manager = ServiceManager.from_environment(os.environ)
    raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    told = (SettingError, InheritedRefused, ServerFailed, StoreError, OSError)
    try:
        trio.run(serve_until_told)
    except told as error:
        fail(_line(error))
    except BaseExceptionGroup as group:
        # An error from inside a nursery comes out in a group, even if it is the only one.
        failed, unexpected = group.split(told)
        if failed is None or unexpected is not None:
            raise
        fail(_line(_first(failed)))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _line(error: BaseException) -> str:
    """The line to print for an error. An error of the system names no setting, so `--database` is added: only its files
    are opened."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"--database: {error.filename}: {error.strerror}: check the path and the rights"
    return str(error)


async def _watch_signals(signals: Any, server: Any, manager: Any, nursery: trio.Nursery) -> None:
    async def reload() -> None:
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


if __name__ == "__main__":
    main()
