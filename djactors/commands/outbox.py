"""The command `outbox`, which sends what an application has put into its outbox."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from djactors.commands.common import (
    Seconds,
    ca_option,
    config_option,
    fail,
    server_url,
    settings_of,
    token_option,
    trusting,
)
from djactors.commands.ends import endless
from djactors.commands.manual import SERVER, SIGNING, Manual

if TYPE_CHECKING:
    from djactors.client import BlockingToken
    from djactors.outbox import Outbox, Runner

LONGEST_EVERY = 3600
"""Seconds: an hour. Whoever wants to deliver less often has cron call `--once`."""

OWN_TOKEN_SECONDS = 3600
"""The life of a token that the command signs for itself; the next one is signed when the server refuses it."""


@click.command(
    cls=Manual,
    examples=[
        ("djactors outbox --database app.db --url http://127.0.0.1:3000", "sends what your application commits."),
        ("djactors outbox --database app.db --held", "shows what the server would never take."),
    ],
    exits={1: "something could not be sent (--once), or something is wrong, which one line on standard error says"},
    settings=SIGNING,
    variables={"DJACTORS_OUTBOX_DATABASE": "your database, where --database is not given", **SERVER},
)
@click.option(
    "--database",
    metavar="PLACE",
    envvar="DJACTORS_OUTBOX_DATABASE",
    required=True,
    help="Your application's database: an SQLite file, or postgresql://USER@HOST/NAME. It may be in the environment "
    "as DJACTORS_OUTBOX_DATABASE.",
)
@click.option(
    "--url",
    callback=server_url,
    metavar="URL",
    envvar="DJACTORS_URL",
    help="The server; it may be in the environment as DJACTORS_URL.",
)
@token_option("A service's token")
@click.option("--table", metavar="NAME", default="djactors_outbox", show_default=True, help="The table.")
@click.option(
    "--every",
    type=Seconds(0.01, LONGEST_EVERY),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="How often it looks into the table while nothing waits there.",
)
@click.option("--once", is_flag=True, help="Send what waits, and end; exits with 1 if something could not be sent.")
@click.option("--create", is_flag=True, help="Make the table first, if it is missing.")
@click.option("--held", is_flag=True, help="Only print which events the server would never take, and how many wait.")
@click.option("--release", is_flag=True, help="Have these events sent again, before anything else.")
@ca_option
@config_option
def outbox(
    database: str,
    url: str | None,
    token: str | None,
    table: str,
    every: float,
    once: bool,
    create: bool,
    held: bool,
    release: bool,
    ca: str | None,
    config: str | None,
) -> None:
    """Send the events that your application has put into its outbox, until SIGTERM.

    It goes on whatever happens to the server and to the database meanwhile. Several may run on PostgreSQL: one sends,
    the others stand by.
    """
    from djactors.client import DjactorsError
    from djactors.outbox import Outbox, Runner, client_for, opener_of, stopped_by_signals

    errors: tuple[type[Exception], ...] = ()
    try:
        opener = opener_of(database)
        errors = opener.errors
        box = Outbox(table)
        with closing(opener.connect()) as connection:
            if create:
                box.create(connection)
            if release:
                click.echo(f"{box.release(connection)} events will be sent again")
                connection.commit()
            waiting = box.waiting(connection)
            if held:
                _show(box, connection)
                return
        if url is None:
            raise click.UsageError("give the server's --url, or DJACTORS_URL")
        with (
            stopped_by_signals() as stop,
            client_for(url, token or _own_token(config), stop, ssl_context=trusting(ca)) as client,
        ):
            runner = Runner(opener.connect, client, box, errors=errors, every=every, stop=stop)
            if once:
                _run_once(runner)
                return
            with endless():
                _log_as_configured(config)
                logging.getLogger("djactors.outbox").info("delivering to %s: %d events wait", url, waiting.count)
                runner.run()
    except (DjactorsError, ValueError) as error:
        fail(str(error))
    except errors as error:
        fail(opener.sentence_of(error, table))


def _own_token(config: str | None) -> BlockingToken:
    from djactors.config import SettingError
    from djactors.operations.tokens import sign

    settings = settings_of(config)

    def token() -> str:
        return sign(settings, role="service", ttl=OWN_TOKEN_SECONDS)

    try:
        token()
    except SettingError as error:
        fail(f"--token: is not given, and none can be signed: {error}")
    return token


def _run_once(runner: Runner) -> None:
    done = runner.run_until_empty()
    if done.is_elsewhere:
        click.echo("another runner is at work")
        return
    click.echo(f"sent: {done.sent}, held: {done.held}")
    if runner.stop.is_set() and done.more:
        fail("interrupted: the rest waits")
    if done.error is not None:
        fail(f"the rest waits: {done.error}")


def _show(box: Outbox, connection: Any) -> None:
    from djactors.operations.watching import plain

    waiting = box.waiting(connection)
    since = "" if waiting.since is None else f", the first one since {waiting.since}"
    click.echo(f"waiting: {waiting.count}{since}")
    click.echo(f"held: {waiting.held}")
    for event in box.held(connection):
        click.echo(plain(f"{event.held_at}  #{event.number}  {event.error}  {event.body}"))


def _log_as_configured(config: str | None) -> None:
    from djactors.telemetry import LogThread
    from djactors.telemetry.interpreter import log_everything

    settings = settings_of(config)
    log_everything(LogThread(settings.log_format, settings.log_level).logger)
    # A line for each request would be all that is seen.
    logging.getLogger("httpx").setLevel(logging.WARNING)
