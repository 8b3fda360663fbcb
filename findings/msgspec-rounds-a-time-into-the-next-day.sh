#!/usr/bin/env bash
# Software:  msgspec 0.22.0; pydantic 2.14.4 and Python 3.11 (datetime.fromisoformat) for comparison
# Surprise:  A time with nanoseconds is another one in msgspec than in pydantic, and can be in the future or tomorrow.
#
# Services in Go, Java and Rust write times with up to nine digits after the second. Python keeps six of them. msgspec
# rounds to the nearest microsecond. pydantic and the standard library cut the rest off. So two services that read one
# message disagree about its time in half of all messages. Whoever looks a row up by this time, uses it as a cursor or
# as part of a key for repeats, finds nothing. msgspec can carry over into the next second, day or year, so the last
# event of a day is counted on the next one. A time that was taken just now can lie after the clock's own.
#
# One would expect that a parser drops the digits that do not fit, as a clock does, or at least that all do the same.
# Have the sender write six digits, or keep the time as a text where it has to be equal.
#
# Output seen:
#   12:00:00.123456400, msgspec: 2026-11-30 12:00:00.123456
#   12:00:00.123456400, pydantic and fromisoformat: 2026-11-30 12:00:00.123456
#   12:00:00.123456700, msgspec: 2026-11-30 12:00:00.123457
#   12:00:00.123456700, pydantic and fromisoformat: 2026-11-30 12:00:00.123456
#   23:59:59.999999700, msgspec: 2026-12-01 00:00:00.000000
#   23:59:59.999999700, pydantic and fromisoformat: 2026-11-30 23:59:59.999999
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check msgspec==0.22.0 pydantic==2.14.4

cat >try.py <<'PY'
from datetime import datetime

import msgspec
from pydantic import TypeAdapter

pydantic = TypeAdapter(datetime)


def show(time):
    return time.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


for clock in ("12:00:00.123456400", "12:00:00.123456700", "23:59:59.999999700"):
    text = f"2026-11-30T{clock}Z"
    rounded = msgspec.json.decode(f'"{text}"', type=datetime)
    cut = pydantic.validate_json(f'"{text}"')
    assert msgspec.convert(text, datetime) == rounded
    assert datetime.fromisoformat(text) == cut
    print(f"{clock}, msgspec: {show(rounded)}")
    print(f"{clock}, pydantic and fromisoformat: {show(cut)}")
PY

timeout 60 venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
12:00:00.123456400, msgspec: 2026-11-30 12:00:00.123456
12:00:00.123456400, pydantic and fromisoformat: 2026-11-30 12:00:00.123456
12:00:00.123456700, msgspec: 2026-11-30 12:00:00.123457
12:00:00.123456700, pydantic and fromisoformat: 2026-11-30 12:00:00.123456
23:59:59.999999700, msgspec: 2026-12-01 00:00:00.000000
23:59:59.999999700, pydantic and fromisoformat: 2026-11-30 23:59:59.999999
SEEN
