#!/usr/bin/env bash
# Software:  SQLite 3.40.0 and 3.40.1 (apsw 3.40.0.0 and 3.40.1.0; Debian 12 has 3.40.1); SQLite 3.39.4 (apsw 3.39.4.0)
#            and 3.41.0 (apsw 3.41.0.0) are right
# Surprise:  The check for damage reports a NULL in each row of a sound table.
#
# `PRAGMA integrity_check` is how one finds out whether a file or a backup is damaged. If a table is WITHOUT ROWID and a
# column that is NOT NULL stands before the last column of the primary key, both this pragma and quick_check say "NULL
# value in TABLE.COLUMN" for each row. Such a table keeps the columns of its key first, whatever the order in CREATE
# TABLE, and the pragmas look for the column where CREATE TABLE has it. No row is NULL, and the data can be read as
# before. REINDEX and VACUUM do not help, and neither does restoring a backup.
#
# One would expect that a report of damage is true, above all since SQLite is right about nearly everything else.
# Declare the key's columns first, or ask the table for the NULL before you believe it (with `typeof(column) = 'null'`,
# because IS NULL is not looked up in a column that is NOT NULL).
#
# Output seen (what both pragmas say about two rows without a NULL):
#   SQLite 3.39.4, key first: ok
#   SQLite 3.39.4, key around the text: ok
#   SQLite 3.40.0, key first: ok
#   SQLite 3.40.0, key around the text: NULL value in note.text, NULL value in note.text
#   SQLite 3.40.1, key first: ok
#   SQLite 3.40.1, key around the text: NULL value in note.text, NULL value in note.text
#   SQLite 3.41.0, key first: ok
#   SQLite 3.41.0, key around the text: ok
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv

cat >try.py <<'PY'
import apsw


def attempt(name, columns):
    connection = apsw.Connection(":memory:")
    connection.execute(f"CREATE TABLE note ({columns}, PRIMARY KEY (tenant, job)) WITHOUT ROWID")
    connection.execute("INSERT INTO note (tenant, job, text) VALUES (1, 2, 'two'), (1, 3, 'three')")
    connection.execute("REINDEX; VACUUM")
    assert connection.execute("SELECT count(*) FROM note WHERE typeof(text) = 'null'").fetchall() == [(0,)]
    whole, quick = (
        [said for (said,) in connection.execute(f"PRAGMA {pragma}")] for pragma in ("integrity_check", "quick_check")
    )
    assert whole == quick
    print(f"SQLite {apsw.sqlitelibversion()}, {name}: {', '.join(whole)}")


tenant, job, text = "tenant INT NOT NULL", "job INT NOT NULL", "text TEXT NOT NULL"
attempt("key first", f"{tenant}, {job}, {text}")
attempt("key around the text", f"{tenant}, {text}, {job}")
PY

for version in 3.39.4 3.40.0 3.40.1 3.41.0; do
    venv/bin/pip install --quiet --disable-pip-version-check --only-binary=apsw "apsw==$version.0"
    timeout 60 venv/bin/python try.py
done >seen
cat seen
diff seen - <<'SEEN'
SQLite 3.39.4, key first: ok
SQLite 3.39.4, key around the text: ok
SQLite 3.40.0, key first: ok
SQLite 3.40.0, key around the text: NULL value in note.text, NULL value in note.text
SQLite 3.40.1, key first: ok
SQLite 3.40.1, key around the text: NULL value in note.text, NULL value in note.text
SQLite 3.41.0, key first: ok
SQLite 3.41.0, key around the text: ok
SEEN
