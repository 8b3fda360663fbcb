#!/usr/bin/env bash
# Software:  SQLite (seen with 3.40.1) through Python's sqlite3 and through sqlite-utils 4.2.1
# Surprise:  Whether a replaced row is taken off a counter depends on the library that opened the file.
#
# An unread count is often kept by two triggers: one adds 1 after an insert, the other subtracts 1 after a delete.
# `INSERT OR REPLACE` deletes the row that is in the way, but it runs the delete trigger only if `PRAGMA
# recursive_triggers` is on. This pragma is off by default and is not kept in the file, and its name speaks of something
# else. So the count drifts by one with each replaced notification. sqlite-utils switches the pragma on. The same
# statement on the same file is counted right there, so a test or a repair through sqlite-utils shows nothing.
#
# One would expect that a trigger belongs to the database and sees every delete. With ON CONFLICT DO UPDATE nothing is
# deleted, and both libraries agree.
#
# Output seen:
#   INSERT OR REPLACE through sqlite3: 1 notification, count 3
#   INSERT OR REPLACE through sqlite_utils: 1 notification, count 1
#   ON CONFLICT DO UPDATE through sqlite3: 1 notification, count 1
#   ON CONFLICT DO UPDATE through sqlite_utils: 1 notification, count 1
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check sqlite-utils==4.2.1

cat >try.py <<'PY'
import sqlite3
from pathlib import Path

import sqlite_utils

SCHEMA = """
CREATE TABLE notifications (id INTEGER PRIMARY KEY, about TEXT UNIQUE, title TEXT);
CREATE TABLE badge (count INTEGER);
INSERT INTO badge VALUES (0);
CREATE TRIGGER one_more AFTER INSERT ON notifications BEGIN UPDATE badge SET count = count + 1; END;
CREATE TRIGGER one_less AFTER DELETE ON notifications BEGIN UPDATE badge SET count = count - 1; END;
"""
STATEMENTS = {
    "INSERT OR REPLACE": "INSERT OR REPLACE INTO notifications (about, title) VALUES ('job 7', ?)",
    "ON CONFLICT DO UPDATE": """INSERT INTO notifications (about, title) VALUES ('job 7', ?)
        ON CONFLICT (about) DO UPDATE SET title = excluded.title""",
}
WAYS = {"sqlite3": sqlite3.connect, "sqlite_utils": lambda path: sqlite_utils.Database(path).conn}

for name, statement in STATEMENTS.items():
    for library, connect in WAYS.items():
        path = Path("inbox.db")
        path.unlink(missing_ok=True)
        sqlite3.connect(path).executescript(SCHEMA).connection.close()
        connection = connect(path)
        for title in ("assigned", "moved", "due"):
            connection.execute(statement, (title,))
        connection.commit()
        ((rows,),) = connection.execute("SELECT count(*) FROM notifications")
        ((count,),) = connection.execute("SELECT count FROM badge")
        print(f"{name} through {library}: {rows} notification, count {count}")
        connection.close()
PY

timeout 60 venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
INSERT OR REPLACE through sqlite3: 1 notification, count 3
INSERT OR REPLACE through sqlite_utils: 1 notification, count 1
ON CONFLICT DO UPDATE through sqlite3: 1 notification, count 1
ON CONFLICT DO UPDATE through sqlite_utils: 1 notification, count 1
SEEN
