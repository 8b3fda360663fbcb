#!/usr/bin/env bash
# Software:  PostgreSQL 15.18 (Debian package postgresql-15): pg_dump and pg_restore
# Surprise:  A dump made with `--schema=public` cannot be restored into a new database, although a dump of the whole
#            database can.
#
# Each new database has a schema named public. pg_dump knows this, and leaves CREATE SCHEMA public out of a dump of the
# whole database. With `--schema=public` it writes the statement. With --exit-on-error or --single-transaction,
# pg_restore stops at this first statement and restores nothing. Without them it restores everything and still ends with
# status 1, so a script takes it for failed. `--clean --if-exists` drops the schema first and helps.
#
# One would expect that the smaller dump fits wherever the larger one does, and a backup that is restored only after a
# loss shows it then. Give `--schema=public` to pg_restore as well, or only there: it then takes what is in the schema,
# without the schema itself.
#
# Output seen (exit status, and whether the table is there):
#   whole dump, --exit-on-error: 0, restored
#   dump of public, --exit-on-error: 1, missing
#   dump of public, --single-transaction: 1, missing
#   dump of public: 1, restored
#   dump of public, --exit-on-error --clean --if-exists: 0, restored
#   dump of public, --exit-on-error --schema=public: 0, restored
set -euo pipefail

folder=$(mktemp -d -p /tmp)
server=
trap 'if [[ $server ]]; then kill -INT "$server" && wait "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"

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

export PGHOST=$folder PGUSER=postgres
"$bin/psql" --quiet --dbname=postgres --command="CREATE TABLE note (id int PRIMARY KEY)"
"$bin/pg_dump" --dbname=postgres --format=custom --file=whole
"$bin/pg_dump" --dbname=postgres --format=custom --file=public --schema=public

attempt() {
    local name=$1 dump=$2 status=0 table
    shift 2
    "$bin/createdb" new
    timeout 60 "$bin/pg_restore" --dbname=new "$@" "$dump" 2>>log || status=$?
    table=$("$bin/psql" --dbname=new --no-align --tuples-only --command="SELECT to_regclass('public.note') IS NOT NULL")
    "$bin/dropdb" new
    echo "$name${*:+, $*}: $status, $([[ $table == t ]] && echo restored || echo missing)"
}
{
    attempt "whole dump" whole --exit-on-error
    attempt "dump of public" public --exit-on-error
    attempt "dump of public" public --single-transaction
    attempt "dump of public" public
    attempt "dump of public" public --exit-on-error --clean --if-exists
    attempt "dump of public" public --exit-on-error --schema=public
} >seen
cat seen
diff seen - <<'SEEN'
whole dump, --exit-on-error: 0, restored
dump of public, --exit-on-error: 1, missing
dump of public, --single-transaction: 1, missing
dump of public: 1, restored
dump of public, --exit-on-error --clean --if-exists: 0, restored
dump of public, --exit-on-error --schema=public: 0, restored
SEEN
