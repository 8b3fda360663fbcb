#!/usr/bin/env bash
# Software:  PostgreSQL 15.18 (Debian package postgresql-15): pg_dump and pg_restore
# Surprise:  `pg_restore --list` says when a dump was made in the time zone of whoever asks, with the clock of whoever
#            made it: a dump that was made at 12:00 UTC was made at "12:00 EST" in New York.
#
# A job that tells how old the newest dump is may read the line "Archive created at", because the time of the file
# changes when it is copied. The custom format keeps the fields of pg_dump's local time, but neither its zone nor the
# seconds since 1970. pg_restore takes the fields for its own local time and prints its own abbreviation behind them. So
# where pg_dump runs with TZ=UTC, in a container for example, and pg_restore on a machine in another zone, the moment is
# wrong by hours, and the abbreviation makes it look exact.
#
# One would expect either the same moment, told in the reader's zone, or the zone of the writer. Give both the same TZ.
#
# Output seen:
#   America/New_York: the same clock as UTC, EST
#   Asia/Tokyo: the same clock as UTC, JST
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
TZ=UTC "$bin/pg_dump" --format=custom --file=dump

# The line without its head, such as "2026-01-27 12:00:00 UTC".
created() {
    TZ=$1 "$bin/pg_restore" --list dump | sed -n 's/^; *Archive created at //p'
}
utc=$(created UTC)
for zone in America/New_York Asia/Tokyo; do
    here=$(created "$zone")
    same=another
    if [[ ${here% *} == "${utc% *}" ]]; then same="the same"; fi
    # Summer time has an abbreviation of its own.
    echo "$zone: $same clock as UTC, ${here##* }"
done | sed 's/EDT$/EST/' >seen
cat seen
diff seen - <<'SEEN'
America/New_York: the same clock as UTC, EST
Asia/Tokyo: the same clock as UTC, JST
SEEN
