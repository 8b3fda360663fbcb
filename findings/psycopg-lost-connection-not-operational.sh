#!/usr/bin/env bash
# Software:  psycopg 3.3.9 (psycopg-binary, libpq 18.6) and psycopg2 2.9.12 (psycopg2-binary), PostgreSQL 15.18 (Debian
#            package postgresql-15)
# Surprise:  In psycopg 3, one way to lose the connection is not an OperationalError.
#
# psycopg 3 chooses the class of an error by the first two characters of its SQLSTATE. PostgreSQL ends a session with
# 57P01 if an administrator asks for it, and with 57P05 if it was idle for too long; class 57 is OperationalError. It
# ends a session whose transaction was idle for too long with 25P03, and class 25, invalid transaction state, is
# InternalError, although the connection is gone as well. psycopg2 raises OperationalError for all three.
#
# One would expect that `except OperationalError` meets every lost connection, as it did with psycopg2. Code that
# connects anew in such a branch lets this error through, and keeps a dead connection. Catch `psycopg.Error`, and look
# at `connection.closed`.
#
# Output seen:
#   psycopg2, terminated by an administrator: OperationalError, closed: True
#   psycopg2, session idle for too long: OperationalError, closed: True
#   psycopg2, transaction idle for too long: OperationalError, closed: True
#   psycopg, terminated by an administrator: OperationalError, closed: True
#   psycopg, session idle for too long: OperationalError, closed: True
#   psycopg, transaction idle for too long: InternalError, closed: True
set -euo pipefail

folder=$(mktemp -d -p /tmp)
server=
trap 'if [[ $server ]]; then kill -INT "$server" && wait "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' psycopg2-binary==2.9.12

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
import psycopg2

ENDS = {
    "terminated by an administrator": "SELECT pg_terminate_backend(pg_backend_pid())",
    "session idle for too long": "COMMIT; SET idle_session_timeout = '50ms'",
    "transaction idle for too long": "SET idle_in_transaction_session_timeout = '50ms'",
}


def attempt(driver, name, statement):
    connection = driver.connect(sys.argv[1])
    try:
        connection.cursor().execute(statement)
        time.sleep(0.5)
        connection.cursor().execute("SELECT 1")
    except driver.Error as error:
        kinds = driver.OperationalError, driver.InternalError
        family = next(kind.__name__ for kind in kinds if isinstance(error, kind))
    print(f"{driver.__name__}, {name}: {family}, closed: {bool(connection.closed)}")


for driver in psycopg2, psycopg:
    for name, statement in ENDS.items():
        attempt(driver, name, statement)
PY

timeout 60 venv/bin/python try.py "host=$folder user=postgres dbname=postgres" | tee seen
diff seen - <<'SEEN'
psycopg2, terminated by an administrator: OperationalError, closed: True
psycopg2, session idle for too long: OperationalError, closed: True
psycopg2, transaction idle for too long: OperationalError, closed: True
psycopg, terminated by an administrator: OperationalError, closed: True
psycopg, session idle for too long: OperationalError, closed: True
psycopg, transaction idle for too long: InternalError, closed: True
SEEN
