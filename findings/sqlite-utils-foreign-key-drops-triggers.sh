#!/usr/bin/env bash
# Software:  sqlite-utils 4.2.1; SQLite as Python 3.11 has it (seen with 3.40.1)
# Surprise:  Adding a foreign key drops the table's triggers, its generated columns and the collation of its columns.
#
# SQLite cannot add a foreign key to a table, so `add_foreign_key` makes a new table from what sqlite-utils knows of the
# old one, copies the rows and drops the old table, without a warning. Rows, indexes, CHECK and UNIQUE are kept. The
# triggers go with the old table, so a counter that they keep stands still, and so does a full-text index. Generated
# columns are gone. A column that was COLLATE NOCASE compares exactly, while its UNIQUE keeps the collation: a name in
# other letters is no longer found, and cannot be added either, because it is there. `transform`, `add_column` with a
# foreign key and `sqlite-utils add-foreign-key` do the same. The manual says of `transform` only that it does not
# "upgrade" triggers.
#
# One would expect that adding a rule to a table leaves the others, as ALTER TABLE does in other databases. Compare
# sqlite_master before and after, and make again what is missing.
#
# Output seen:
#   before: columns id user_id name size, triggers counted, "mali" is found
#   after add_foreign_key: columns id user_id name, no triggers, "mali" is not found
#   adding "mali": UNIQUE constraint failed: inbox.name
#   adding "Arun": count 1 for 2 rows
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check sqlite-utils==4.2.1

cat >try.py <<'PY'
import sqlite3
import warnings

from sqlite_utils import Database

warnings.simplefilter("error")
connection = sqlite3.connect(":memory:")
connection.executescript("""
    CREATE TABLE users (id INTEGER PRIMARY KEY);
    CREATE TABLE counter (count INTEGER);
    CREATE TABLE inbox (
        id INTEGER PRIMARY KEY,
        user_id INTEGER,
        name TEXT NOT NULL COLLATE NOCASE UNIQUE,
        size INTEGER AS (length(name))
    );
    CREATE TRIGGER counted AFTER INSERT ON inbox BEGIN UPDATE counter SET count = count + 1; END;
    INSERT INTO users VALUES (1);
    INSERT INTO counter VALUES (0);
    INSERT INTO inbox (user_id, name) VALUES (1, 'Mali');
""")


def ask(query):
    return [value for (value,) in connection.execute(query)]


def show(when):
    columns = " ".join(ask("SELECT name FROM pragma_table_xinfo('inbox')"))
    triggers = ask("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    kept = f"triggers {' '.join(triggers)}" if triggers else "no triggers"
    found = "found" if ask("SELECT id FROM inbox WHERE name = 'mali'") else "not found"
    print(f'{when}: columns {columns}, {kept}, "mali" is {found}')


show("before")
Database(connection)["inbox"].add_foreign_key("user_id", "users", "id")
show("after add_foreign_key")
try:
    connection.execute("INSERT INTO inbox (user_id, name) VALUES (1, 'mali')")
except sqlite3.IntegrityError as error:
    print('adding "mali":', error)
connection.execute("INSERT INTO inbox (user_id, name) VALUES (1, 'Arun')")
print('adding "Arun": count', *ask("SELECT count FROM counter"), "for", *ask("SELECT count(*) FROM inbox"), "rows")
PY

timeout 60 venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
before: columns id user_id name size, triggers counted, "mali" is found
after add_foreign_key: columns id user_id name, no triggers, "mali" is not found
adding "mali": UNIQUE constraint failed: inbox.name
adding "Arun": count 1 for 2 rows
SEEN
