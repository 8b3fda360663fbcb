#!/usr/bin/env bash
# Software:  PostgreSQL 15.18 (Debian package postgresql-15), psycopg 3.3.9 (psycopg-binary) as the client
# Surprise:  A statement that waited for a row returns the new row beside the old state of all other tables.
#
# A transaction adds a notification and raises the user's counter. Meanwhile another one reads both in one statement,
# and locks the counter, as one does to change it next. It waits, and then gets a state that was never committed: the
# count is 1, and there is no notification. At the level READ COMMITTED, the default, a statement sees what was
# committed when it began. Only the rows for whose lock it has waited are read again, and nothing else. The same holds
# for an UPDATE with a subquery, and for a CTE that locks the row before the rest is read.
#
# One would expect that a single statement sees one state, be it the old or the new one, and that the lock makes things
# safer: without FOR UPDATE, the old state is returned whole. Lock the row in a statement of its own, and read in the
# next one.
#
# Output seen (the count, and the number of notifications):
#   no lock: 0 0
#   FOR UPDATE: 1 0
#   UPDATE: 1 0
#   CTE: 1 0
#   two statements: 1 1
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

COUNTED = "(SELECT count(*) FROM inbox WHERE inbox.owner = counter.owner)"
READS = {
    "no lock": [f"SELECT unread, {COUNTED} FROM counter"],
    "FOR UPDATE": [f"SELECT unread, {COUNTED} FROM counter FOR UPDATE"],
    "UPDATE": [f"UPDATE counter SET unread = unread RETURNING unread, {COUNTED}"],
    "CTE": [f"WITH counter AS MATERIALIZED (SELECT * FROM counter FOR UPDATE) SELECT unread, {COUNTED} FROM counter"],
    "two statements": ["SELECT FROM counter FOR UPDATE", f"SELECT unread, {COUNTED} FROM counter"],
}


def attempt(name, statements):
    with psycopg.connect(sys.argv[1]) as writer, psycopg.connect(sys.argv[1]) as reader:
        writer.execute("DROP TABLE IF EXISTS counter, inbox")
        writer.execute("CREATE TABLE counter (owner int PRIMARY KEY, unread int)")
        writer.execute("CREATE TABLE inbox (owner int, title text)")
        writer.execute("INSERT INTO counter VALUES (1, 0)")
        writer.commit()

        writer.execute("INSERT INTO inbox VALUES (1, 'hello')")
        writer.execute("UPDATE counter SET unread = unread + 1")
        commit = threading.Timer(1, writer.commit)
        commit.start()
        for statement in statements:
            result = reader.execute(statement)
        print(f"{name}:", *result.fetchone())
        commit.join()


for name, statements in READS.items():
    attempt(name, statements)
PY

timeout 60 venv/bin/python try.py "host=$folder user=postgres dbname=postgres" | tee seen
diff seen - <<'SEEN'
no lock: 0 0
FOR UPDATE: 1 0
UPDATE: 1 0
CTE: 1 0
two statements: 1 1
SEEN
