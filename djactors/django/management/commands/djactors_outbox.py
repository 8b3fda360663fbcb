"""`manage.py djactors_outbox`: sends what `djactors.django.publish` has written."""

from __future__ import annotations

import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections, router, transaction

from djactors.django.client import WrongSettingError, client_of_settings, server_url
from djactors.django.models import OutboxEvent
from djactors.outbox import EVERY, Outbox, Runner, stopped_by_signals


class Command(BaseCommand):
    """Sends the events of the outbox until SIGTERM."""

    help = (
        "Sends the events that were published, until SIGTERM. It goes on whatever happens to the server and to the "
        "database meanwhile. Several may run on PostgreSQL: one sends, the others stand by."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """See `BaseCommand`."""
        parser.add_argument("--once", action="store_true", help="Send what waits, and end.")
        parser.add_argument("--every", type=float, default=EVERY, help="Seconds between two looks into an empty table.")
        parser.add_argument("--using", help="The alias of the database, if not the one that your routers name.")
        parser.add_argument("--held", action="store_true", help="Only print what the server would never take.")
        parser.add_argument("--release", action="store_true", help="Have these events sent again first.")

    def handle(self, *args: Any, **options: Any) -> None:
        """See `BaseCommand`."""
        alias = options["using"] or router.db_for_write(OutboxEvent)
        if alias not in connections:
            raise CommandError(f"--using: {alias!r} is no database of DATABASES")
        if options["every"] <= 0:
            raise CommandError("--every: must be above 0 seconds")
        outbox = Outbox(OutboxEvent._meta.db_table)
        try:
            if options["release"]:
                with transaction.atomic(using=alias):
                    count = outbox.release(connections[alias])
                self.stdout.write(f"{count} events will be sent again")
            if options["held"]:
                self._show(outbox, alias)
                return
            with stopped_by_signals() as stop:
                self._deliver(outbox, alias, stop, every=options["every"], once=options["once"])
        except WrongSettingError as error:
            raise CommandError(str(error)) from None
        except Error as error:
            raise CommandError(f"the database {alias!r}: {error}: is `migrate` done?") from None

    def _deliver(self, outbox: Outbox, alias: str, stop: threading.Event, *, every: float, once: bool) -> None:
        def connect() -> Any:
            # One of its own, because a runner decides itself when its transactions end.
            connection = connections.create_connection(alias)
            connection.set_autocommit(False)
            return connection

        with client_of_settings(stop) as client:
            runner = Runner(connect, client, outbox, errors=(Error,), every=every, stop=stop)
            if not once:
                count = outbox.waiting(connections[alias]).count
                connections[alias].close()
                self.stdout.write(f"delivering to {server_url()}: {count} events wait")
                self.stdout.flush()
                runner.run()
                return
            done = runner.run_until_empty()
        if done.is_elsewhere:
            self.stdout.write("another runner is at work")
            return
        self.stdout.write(f"sent: {done.sent}, held: {done.held}")
        if done.error is not None:
            raise CommandError(f"the rest waits: {done.error}")

    def _show(self, outbox: Outbox, alias: str) -> None:
        waiting = outbox.waiting(connections[alias])
        since = "" if waiting.since is None else f", the first one since {waiting.since}"
        self.stdout.write(f"waiting: {waiting.count}{since}")
        self.stdout.write(f"held: {waiting.held}")
        for event in outbox.held(connections[alias]):
            self.stdout.write(f"{event.held_at}  #{event.number}  {event.error}  {event.body}")
