#!/usr/bin/env bash
# Software:  rich 15.0.0
# Surprise:  Addresses and keys lose characters to emoji, although they were escaped or printed without markup.
#
# A text from outside goes through `rich.markup.escape`, or is printed with `markup=False`, so that rich shows it as it
# is. Brackets are safe then, but emoji are not markup to rich: a name between two colons is still replaced. There are
# 3,600 such names, and a, b, x, ab, cd, 100, 1234, id, key, lock, new and ok are among them. So it hits what is written
# with colons, namely some MAC addresses, some IPv6 addresses, and keys such as those of Redis. What is copied from the
# output is another text. Cells of tables and `Console.log` do the same. A text that stands in a list, or that rich's
# handler for logging writes, is left alone.
#
# One would expect that an escaped text is shown as it is. Pass `emoji=False` to Console, or put the text into
# `rich.text.Text`.
#
# Output seen (escaped; the same with markup=False):
#   02:ab:00:5e:10:01 is printed as 02🆎00:5e:10:01
#   fe80::a:b:1 is printed as fe80::a🅱1
#   tenant:100:inbox is printed as tenant💯inbox
#   job:id:7 is printed as job🆔7
#   with emoji=False, in Text, in a list and by RichHandler: as it is
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check rich==15.0.0

cat >try.py <<'PY'
import io
import logging

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table
from rich.text import Text


def console(**options):
    return Console(file=io.StringIO(), width=100, **options)


def printed(*things, to=None, **options):
    to = to or console()
    to.print(*things, **options)
    return to.file.getvalue().rstrip("\n")


def logged(text):
    to = console()
    handler = RichHandler(console=to, show_time=False, show_level=False, show_path=False)
    handler.emit(logging.LogRecord("try", logging.INFO, "try.py", 1, text, None, None))
    return to.file.getvalue().strip()


def in_a_cell(text):
    table = Table.grid()
    table.add_row(text)
    return printed(table).strip()


def written_by_log(text):
    to = console(log_time=False, log_path=False)
    to.log(text)
    return to.file.getvalue().strip()


unchanged = []
for text in ("02:ab:00:5e:10:01", "fe80::a:b:1", "tenant:100:inbox", "job:id:7"):
    shown = printed(escape(text))
    print(f"{text} is printed as {shown}")
    assert printed(text, markup=False) == in_a_cell(escape(text)) == written_by_log(escape(text)) == shown
    unchanged.append(printed(text, to=console(emoji=False)) == printed(Text(text)) == logged(text) == text)
    unchanged.append(printed([text]) == repr([text]))
print("with emoji=False, in Text, in a list and by RichHandler:", "as it is" if all(unchanged) else "changed")
PY

export PYTHONIOENCODING=utf-8
timeout 60 venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
02:ab:00:5e:10:01 is printed as 02🆎00:5e:10:01
fe80::a:b:1 is printed as fe80::a🅱1
tenant:100:inbox is printed as tenant💯inbox
job:id:7 is printed as job🆔7
with emoji=False, in Text, in a list and by RichHandler: as it is
SEEN
