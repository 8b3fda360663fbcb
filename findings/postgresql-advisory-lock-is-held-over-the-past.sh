#!/usr/bin/env bash
# Software:  PostgreSQL 15.18 (Debian package postgresql-15), psycopg 3.3.9 (psycopg-binary) as the client
# Surprise:  At REPEATABLE READ, what is read under an advisory lock is the state from before the wait for it.
#
# Two transactions number their events with `max + 1`, and take an advisory lock as their first statement, so that only
# one of them does so at a time. The second waits until the first has committed. At REPEATABLE READ, it still gives the
# same number, without an error. Advisory locks are taken by SELECT, and the first SELECT of a transaction fixes the
# state that it sees, before it waits. LOCK TABLE waits in the same way, but fixes nothing, so the state is that after
# the wait. At SERIALIZABLE, the insert fails.
#
# One would expect that the higher levels are the safer ones, and that a transaction which begins with taking a lock
# begins to read afterwards. Take a lock at the level of the session before the transaction begins, use LOCK TABLE, or
# stay at READ COMMITTED.
#
# Output seen (the numbers of the two events):
#   READ_COMMITTED, advisory lock: 1 2
#   READ_COMMITTED, LOCK TABLE: 1 2
#   REPEATABLE_READ, advisory lock: 1 1
#   REPEATABLE_READ, LOCK TABLE: 1 2
#   SERIALIZABLE, advisory lock: 1 40001
#   SERIALIZABLE, LOCK TABLE: 1 2
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
import threading

import psycopg

Level = psycopg.IsolationLevel
LOCKS = {
    "advisory lock": "SELECT pg_advisory_xact_lock(1)",
    "LOCK TABLE": "LOCK TABLE event IN EXCLUSIVE MODE",
}


def attempt(name, lock, level):
    with psycopg.connect(sys.argv[1]) as first, psycopg.connect(sys.argv[1]) as second:
        first.execute("DROP TABLE IF EXISTS event")
        first.execute("CREATE TABLE event (number int)")
        first.commit()
        first.isolation_level = second.isolation_level = level

        number = "INSERT INTO event SELECT coalesce(max(number), 0) + 1 FROM event RETURNING number"
        first.execute(lock)
        given = [first.execute(number).fetchone()[0]]
        commit = threading.Timer(1, first.commit)
        commit.start()
        second.execute(lock)
        try:
            given.append(second.execute(number).fetchone()[0])
            commit.join()
            second.commit()
        except psycopg.Error as error:
            given.append(error.sqlstate)
            second.rollback()
        print(f"{level.name}, {name}:", *given)


for level in Level.READ_COMMITTED, Level.REPEATABLE_READ, Level.SERIALIZABLE:
    for name, lock in LOCKS.items():
        attempt(name, lock, level)
PY

timeout 60 venv/bin/python try.py "host=$folder user=postgres dbname=postgres" | tee seen
diff seen - <<'SEEN'
READ_COMMITTED, advisory lock: 1 2
READ_COMMITTED, LOCK TABLE: 1 2
REPEATABLE_READ, advisory lock: 1 1
REPEATABLE_READ, LOCK TABLE: 1 2
SERIALIZABLE, advisory lock: 1 40001
SERIALIZABLE, LOCK TABLE: 1 2
SEEN
