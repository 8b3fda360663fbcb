#!/usr/bin/env bash
# Software:  PostgreSQL 15.18 (Debian package postgresql-15): pg_dump and pg_restore
# Surprise:  `pg_restore --list` finds nothing wrong with half a dump, and reading all of a dump that is not compressed
#            finds nothing wrong with a changed byte.
#
# A nightly job often checks its dump with `pg_restore --list`, because this needs no server. In the custom format, the
# list stands at the beginning of the file, together with the number and the kinds of all entries, and nothing else is
# read. So a dump that a full disk cut off is listed like the whole one, with exit status 0, and `--schema-only` takes
# it as well. Only `pg_restore --file=/dev/null` reads all data and fails. Even this relies on the checksum of zlib: the
# format has none of its own. With --compress=0, as one dumps for a tool that compresses or deduplicates by itself, a
# changed byte in the data is written out as it is.
#
# One would expect that the list, which names every table's data, says whether these data are there. Read the dump
# whole, and keep a checksum beside a dump that is not compressed.
#
# Output seen (the exit statuses):
#   whole: list 0, schema only 0, read whole 0
#   half: list 0, schema only 0, read whole 1
#   less its last byte: list 0, schema only 0, read whole 1
#   a byte changed: list 0, schema only 0, read whole 1
#   a byte changed, --compress=0: list 0, schema only 0, read whole 0
#   the lists are equal: yes
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

export PGHOST=$folder PGUSER=postgres PGDATABASE=postgres
"$bin/psql" --quiet --command="CREATE TABLE note AS SELECT id, md5(id::text) FROM generate_series(1, 20000) AS id"
"$bin/pg_dump" --format=custom --file=whole
"$bin/pg_dump" --format=custom --compress=0 --file=plain
size=$(stat --format=%s whole)
head --bytes=$((size / 2)) whole >half
head --bytes=$((size - 1)) whole >less

# Changes the byte in the middle of a file, which is in the table's data.
change() {
    python3 - "$1" <<'PY'
import sys

with open(sys.argv[1], "r+b") as file:
    data = bytearray(file.read())
    # A hexadecimal digit becomes another one.
    middle = len(data) // 2
    data[middle] ^= 1
    file.seek(0)
    file.write(data)
PY
}
cp whole changed
change changed
change plain

status() {
    local status=0
    timeout 60 "$bin/pg_restore" "$@" 2>>log || status=$?
    echo -n "$status"
}
attempt() {
    local listed
    listed=$(status --list --file="$2.list" "$2")
    echo "$1: list $listed, schema only $(status --schema-only --file=/dev/null "$2")," \
        "read whole $(status --file=/dev/null "$2")"
}
{
    attempt "whole" whole
    attempt "half" half
    attempt "less its last byte" less
    attempt "a byte changed" changed
    attempt "a byte changed, --compress=0" plain
    equal=yes
    for file in half less changed; do cmp --quiet whole.list "$file.list" || equal=no; done
    echo "the lists are equal: $equal"
} >seen
cat seen
diff seen - <<'SEEN'
whole: list 0, schema only 0, read whole 0
half: list 0, schema only 0, read whole 1
less its last byte: list 0, schema only 0, read whole 1
a byte changed: list 0, schema only 0, read whole 1
a byte changed, --compress=0: list 0, schema only 0, read whole 0
the lists are equal: yes
SEEN
