"""An outbox: events that are sent if and only if your own transaction commits.

A program that writes to its database and then posts an event can end in between, and the event is lost; if it posts
first, the event may tell of what was rolled back. With an outbox the event is one more row of the same transaction, and
a runner sends the rows that are committed. A complete program, which is given its database, the server and a token::

    import sqlite3
    import sys
    import threading
    from contextlib import closing

    from djactors.domain.events import JobAssigned
    from djactors.outbox import Outbox, Runner, client_for


    def main(database: str, url: str, token: str) -> None:
        outbox = Outbox()
        with closing(sqlite3.connect(database)) as connection:
            outbox.create(connection)
            connection.execute("CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, assignee INTEGER)")
            with connection:  # a transaction
                job = connection.execute("INSERT INTO jobs (assignee) VALUES (2)").lastrowid or 0
                outbox.add(connection, JobAssigned(tenant_id=1, job_id=job, assignee_id=2))
        # In a program of its own this would be `djactors outbox`, or `Runner.run` for as long as it runs.
        with client_for(url, token, threading.Event()) as client:
            runner = Runner(lambda: sqlite3.connect(database), client, outbox, errors=(sqlite3.Error,))
            print("sent:", runner.run_until_empty().sent)


    if __name__ == "__main__":
        main(*sys.argv[1:])

What is promised:

- **At least once into, exactly once out.** A row is deleted after the server has said that it has the event. Whatever
  ends in between, the event is sent again, byte for byte, under the same `id`, and the server records it once. The
  server keeps an `id` for `DJACTORS_EVENT_DAYS` (30): a runner that stays away for longer, after its last answer was
  lost, can cause a second notification.
- **Order.** Events are sent in the order of their rows, so an event comes behind all that its transaction had seen. Of
  two transactions that ran at the same time, either may be the first. An event that is held, or on which the server
  fails, does not keep the events behind it waiting, and a tenant that is being imported not those of other tenants.
- **Events that the server will never take** are held with what the server said: `Outbox.held` shows them, and
  `Outbox.release` has them sent again.
- **Several runners.** On PostgreSQL one runner delivers, the others stand by and take over when it ends. An advisory
  lock of the transaction sees to that, which works behind a pooler, too. On SQLite nothing keeps two runners apart:
  both then send the same events in the same order, which does no harm.
- **Size.** A table that nobody delivers grows for as long as your program adds to it: watch `Outbox.waiting`.
"""

from djactors.outbox._databases import OutboxError, Style
from djactors.outbox._opening import Opener, opener_of
from djactors.outbox._outbox import COLUMNS, TABLE, Delivered, Held, Outbox, Waiting
from djactors.outbox._runner import EVERY, Runner, Stopped, client_for
from djactors.outbox._sending import Sender
from djactors.outbox._signals import stopped_by_signals

__all__ = [
    "COLUMNS",
    "EVERY",
    "TABLE",
    "Delivered",
    "Held",
    "Opener",
    "Outbox",
    "OutboxError",
    "Runner",
    "Sender",
    "Stopped",
    "Style",
    "Waiting",
    "client_for",
    "opener_of",
    "stopped_by_signals",
]
