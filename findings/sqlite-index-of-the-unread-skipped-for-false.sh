#!/usr/bin/env bash
# Software:  SQLite 3.54.1 (apsw 3.54.1.0), SQLAlchemy 2.1.9
# Surprise:  The index of the unread rows is used for `is_read = 0`, and not for `is_read = false`.
#
# `CREATE INDEX ... WHERE is_read = 0` keeps the unread notifications of all users in a small index. SQLite uses such an
# index if it can prove that a query asks only for rows in the index. In SQLite, FALSE is another name for 0, and both
# find the same rows, but the proof compares how the two conditions are written. So `= false`, `IS 0` and `NOT is_read`
# read the whole table. A parameter, which looks more dangerous, does no harm, because SQLite looks at its value.
# SQLAlchemy writes `== False` as `= 0` and `.is_(False)` as `IS 0`. Style checkers dislike the former, and with the
# latter, SQLAlchemy does not use the index that it made from the former.
#
# One would expect that two names of one constant are the same to the planner. All answers are right, so no test shows
# the difference. The count of the unread gets slower with each notification that was read.
#
# Output seen:
#   is_read = 0: index
#   is_read = ? with 0: index
#   is_read = false: whole table
#   NOT is_read: whole table
#   SQLAlchemy, is_read == False, written as is_read = 0: index
#   SQLAlchemy, is_read.is_(False), written as is_read IS 0: whole table
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check apsw==3.54.1.0 SQLAlchemy==2.1.9

cat >try.py <<'PY'
import apsw
from sqlalchemy import Boolean, Column, Index, Integer, MetaData, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

table = Table("inbox", MetaData(), Column("user", Integer), Column("is_read", Boolean), Column("title", Integer))
index = Index("unread", table.c.user, sqlite_where=table.c.is_read == False)  # noqa: E712
connection = apsw.Connection(":memory:")
for statement in (CreateTable(table), CreateIndex(index)):
    connection.execute(str(statement.compile(dialect=sqlite.dialect())))


def attempt(condition, parameters=()):
    query = f"EXPLAIN QUERY PLAN SELECT title FROM inbox WHERE user = 1 AND {condition}"
    ((*_, plan),) = connection.execute(query, parameters)
    ways = {"SEARCH inbox USING INDEX unread (user=?)": "index", "SCAN inbox": "whole table"}
    return ways[plan]


print("is_read = 0:", attempt("is_read = 0"))
print("is_read = ? with 0:", attempt("is_read = ?", (0,)))
print("is_read = false:", attempt("is_read = false"))
print("NOT is_read:", attempt("NOT is_read"))
for name, condition in {
    "is_read == False": table.c.is_read == False,  # noqa: E712
    "is_read.is_(False)": table.c.is_read.is_(False),
}.items():
    written = str(condition.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    written = written.removeprefix("inbox.")
    print(f"SQLAlchemy, {name}, written as {written}: {attempt(written)}")
PY

timeout 60 venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
is_read = 0: index
is_read = ? with 0: index
is_read = false: whole table
NOT is_read: whole table
SQLAlchemy, is_read == False, written as is_read = 0: index
SQLAlchemy, is_read.is_(False), written as is_read IS 0: whole table
SEEN
