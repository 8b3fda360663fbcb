#!/usr/bin/env bash
# Software:  psycopg 3.3.9 (psycopg-binary, libpq 18.6), PostgreSQL 15.18 (Debian package postgresql-15)
# Surprise:  Whether an error says why the server ended the connection depends on the call that met it.
#
# Before it ends a session, the server sends an error with the reason, such as 57P01 for an administrator's command or
# a shutdown. After `execute`, this error is the exception. In a pipeline, and so in `executemany`, the exception is
# "server closed the connection unexpectedly", without an SQLSTATE. If the session was idle when it was ended, libpq
# hands the reason over as a notice, which nobody sees unless a handler is set. If a statement was running, and
# its result was not fetched within the pipeline, the reason is nowhere at all.
#
# One would expect that the same end of the same session gives the same exception. Code that tries again on 57P01, or
# that tells a planned restart from a crash, does so for `execute` only. Look at `connection.broken` to learn that the
# connection is lost, and set a notice handler to learn why.
#
# Output seen (the exception, its SQLSTATE, and the SQLSTATEs of the notices):
#   idle, execute: AdminShutdown 57P01 [] broken
#   idle, executemany: OperationalError None ['57P01'] broken
#   idle, pipeline: OperationalError None ['57P01'] broken
#   idle, pipeline_with_fetch: OperationalError None ['57P01'] broken
#   running, execute: AdminShutdown 57P01 [] broken
#   running, executemany: OperationalError None [] broken
#   running, pipeline: OperationalError None [] broken
#   running, pipeline_with_fetch: AdminShutdown 57P01 [] broken
set -euo pipefail

folder=$(mktemp -d -p /tmp)
server=
trap 'if [[ $server ]]; then kill -INT "$server" && wait "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9'

# The server has a socket in the folder, and no port. PostgreSQL does not run as root.
bin=/usr/lib/postgresql/15/bin
"$bin/postgres" --version
as=()
if ((EUID == 0)); then
    as=(setpriv --reuid=postgres --regid=postgres --init-groups)
    chown postgres "$folder"
fi
"${as[@]}" "$bin/initdb" --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync >log
"${as[@]}" "$bin/postgres" -D data -k "$folder" -c listen_addresses= >>log 2>&1 &
server=$!
for ((tries = 300; tries; tries--)); do
    if "$bin/pg_isready" --quiet --host="$folder"; then break; fi
    sleep 0.1
done

cat >try.py <<'PY'
import logging
import sys
import threading
import time

import psycopg

logging.getLogger("psycopg").setLevel(logging.CRITICAL)
QUERY = "SELECT pg_sleep(%s)"


def execute(connection):
    connection.execute(QUERY, (2,))


def executemany(connection):
    connection.cursor().executemany(QUERY, [(2,)])


def pipeline(connection):
    with connection.pipeline():
        connection.execute(QUERY, (2,))


def pipeline_with_fetch(connection):
    with connection.pipeline():
        connection.execute(QUERY, (2,)).fetchone()


def attempt(state, work):
    notices = []
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.sqlstate))
        end = threading.Timer(0.5, admin.execute, ("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,)))
        end.start()
        if state == "idle":
            end.join()
            time.sleep(0.5)
        try:
            work(connection)
        except psycopg.OperationalError as error:
            found = type(error).__name__, error.sqlstate, notices
        end.join()
        print(f"{state}, {work.__name__}:", *found, "broken" if connection.broken else "whole")


with psycopg.connect(sys.argv[1], autocommit=True) as admin:
    for state in "idle", "running":
        for work in execute, executemany, pipeline, pipeline_with_fetch:
            attempt(state, work)
PY

timeout 60 venv/bin/python try.py "host=$folder user=postgres dbname=postgres" | tee seen
diff seen - <<'SEEN'
idle, execute: AdminShutdown 57P01 [] broken
idle, executemany: OperationalError None ['57P01'] broken
idle, pipeline: OperationalError None ['57P01'] broken
idle, pipeline_with_fetch: OperationalError None ['57P01'] broken
running, execute: AdminShutdown 57P01 [] broken
running, executemany: OperationalError None [] broken
running, pipeline: OperationalError None [] broken
running, pipeline_with_fetch: AdminShutdown 57P01 [] broken
SEEN
