#!/usr/bin/env bash
# Software:  msgspec 0.22.0, pydantic 2.14.4, orjson 3.13.0 with OPT_UTC_Z
# Surprise:  Times in UTC that one library wrote, all of them with a Z, do not sort as text.
#
# These libraries leave out the fraction of a second if it is zero. "10:30:00Z" sorts after "10:30:00.000001Z", because
# "Z" comes after "." in ASCII. If a list is ordered by such a text, or a page begins after such a text, the rows of one
# second are in the wrong order or missing as soon as one of them has a whole second. With a clock in microseconds this
# happens to one row in a million, which no test shows. With times from a form or a schedule it is common.
#
# One would expect that ISO 8601 in UTC sorts as text, since many store it as text for this reason. It does if all times
# have the same number of digits, as Date.toISOString() writes them, or if they end in "+00:00" instead of "Z", because
# "+" comes before ".".
#
# Output seen (the rows after the cursor, of three rows at 0, 1 and 500000 microseconds, with the cursor on the first):
#   msgspec: 10:30:00Z sorts last, no row after the cursor
#   pydantic: 10:30:00Z sorts last, no row after the cursor
#   orjson with OPT_UTC_Z: 10:30:00Z sorts last, no row after the cursor
#   orjson: 10:30:00+00:00 sorts first, 2 rows after the cursor
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check msgspec==0.22.0 pydantic==2.14.4 orjson==3.13.0

cat >try.py <<'PY'
import json
import sqlite3
from datetime import UTC, datetime

import msgspec
import orjson
import pydantic

WRITERS = {
    "msgspec": msgspec.json.encode,
    "pydantic": pydantic.TypeAdapter(datetime).dump_json,
    "orjson with OPT_UTC_Z": lambda time: orjson.dumps(time, option=orjson.OPT_UTC_Z),
    "orjson": orjson.dumps,
}
TIMES = [datetime(2026, 1, 27, 10, 30, 0, microseconds, tzinfo=UTC) for microseconds in (0, 1, 500000)]

for name, write in WRITERS.items():
    first, *others = texts = [json.loads(write(time)) for time in TIMES]
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE notifications (created_at TEXT)")
    connection.executemany("INSERT INTO notifications VALUES (?)", [(text,) for text in texts])
    order = [text for (text,) in connection.execute("SELECT created_at FROM notifications ORDER BY created_at")]
    ((after,),) = connection.execute("SELECT count(*) FROM notifications WHERE created_at > ?", (first,))
    place = {0: "first", 2: "last"}[order.index(first)]
    print(f"{name}: {first.partition('T')[2]} sorts {place}, {after or 'no'} row{'s' * (after > 1)} after the cursor")
PY

timeout 60 venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
msgspec: 10:30:00Z sorts last, no row after the cursor
pydantic: 10:30:00Z sorts last, no row after the cursor
orjson with OPT_UTC_Z: 10:30:00Z sorts last, no row after the cursor
orjson: 10:30:00+00:00 sorts first, 2 rows after the cursor
SEEN
