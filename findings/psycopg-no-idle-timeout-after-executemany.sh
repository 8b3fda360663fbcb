#!/usr/bin/env bash
# Software:  psycopg 3.3.9 (psycopg-binary, libpq 18.6), PostgreSQL 15.18 (Debian package postgresql-15)
# Surprise:  After an executemany, PostgreSQL does not end the session, however long its transaction stays idle.
#
# `idle_in_transaction_session_timeout` ends a session whose transaction waits for its client for too long, so that a
# client that hangs does not hold its locks for ever. psycopg sends an executemany as a pipeline. At the end of each
# pipeline, it sends a Sync and, behind it, a Flush. The server starts the time when it has answered the Sync. The Flush
# stops it, as every message does, but has no answer, so nothing starts it again. `idle_session_timeout` stops in the
# same way. `pg_stat_activity` shows the session as `idle in transaction`, as one expects.
#
# One would expect that a limit of the server holds whichever call of the driver came last. A statement outside a
# pipeline starts the time again. Do not rely on the limit where a program can hang behind an executemany or a pipeline.
#
# Output seen (the limit is 0.5 s, and the client then waits for 2 s):
#   idle_in_transaction_session_timeout, execute: ended with 25P03
#   idle_in_transaction_session_timeout, executemany: the session lives
#   idle_in_transaction_session_timeout, pipeline: the session lives
#   idle_in_transaction_session_timeout, executemany_then_execute: ended with 25P03
#   idle_session_timeout, execute: ended with 57P05
#   idle_session_timeout, executemany: the session lives
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
import sys
import time

import psycopg

QUERY = "SELECT %s::int"


def execute(connection):
    connection.execute(QUERY, (1,))


def executemany(connection):
    connection.cursor().executemany(QUERY, [(1,), (2,)])


def pipeline(connection):
    with connection.pipeline():
        connection.execute(QUERY, (1,))


def executemany_then_execute(connection):
    executemany(connection)
    execute(connection)


def attempt(limit, work):
    autocommit = limit == "idle_session_timeout"
    with psycopg.connect(f"{sys.argv[1]} options='-c {limit}=500ms'", autocommit=autocommit) as connection:
        work(connection)
        time.sleep(2)
        try:
            connection.execute("SELECT 1")
            outcome = "the session lives"
        except psycopg.Error as error:
            outcome = f"ended with {error.sqlstate}"
    print(f"{limit}, {work.__name__}: {outcome}")


for work in execute, executemany, pipeline, executemany_then_execute:
    attempt("idle_in_transaction_session_timeout", work)
for work in execute, executemany:
    attempt("idle_session_timeout", work)
PY

timeout 60 venv/bin/python try.py "host=$folder user=postgres dbname=postgres" | tee seen
diff seen - <<'SEEN'
idle_in_transaction_session_timeout, execute: ended with 25P03
idle_in_transaction_session_timeout, executemany: the session lives
idle_in_transaction_session_timeout, pipeline: the session lives
idle_in_transaction_session_timeout, executemany_then_execute: ended with 25P03
idle_session_timeout, execute: ended with 57P05
idle_session_timeout, executemany: the session lives
SEEN
