#!/usr/bin/env bash
# Software:  click 8.5.1
# Surprise:  A command whose arguments were parsed once without its group refuses `-h` from then on, also in its group.
#
# A group sets `help_option_names` to `-h` and `--help` for all of its commands. A command makes its help option when it
# is first needed, by the names in the context of that moment, and keeps it for good. So a test, or a program that makes
# pages of documentation, which parses arguments with `command.make_context` or looks at `command.get_params` changes
# what the command line takes afterwards, as long as the process lives: `-h` ends with "No such option".
#
# One would expect that the names come from the context in which the command runs, as `help_option_names` is a setting of
# the context. Give the context the parent that it has when the program runs.
#
# Output seen:
#   before: exit code 0
#   after make_context with the group as parent: exit code 0
#   after make_context alone: exit code 2
set -euo pipefail

folder=$(mktemp -d -p /tmp)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check click==8.5.1

cat >try.py <<'PY'
import click
from click.testing import CliRunner


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """A program."""


@main.command()
def go():
    """A command."""


@main.command()
def stay():
    """Another."""


def short_help(command):
    return CliRunner().invoke(main, [command.name, "-h"]).exit_code


# A command that nobody has looked at yet, for each case.
print("before: exit code", short_help(go))
with main.make_context("main", ["stay"]) as parent:
    go.make_context("go", [], parent=parent)
print("after make_context with the group as parent: exit code", short_help(go))
stay.make_context("stay", [])
print("after make_context alone: exit code", short_help(stay))
PY

venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
before: exit code 0
after make_context with the group as parent: exit code 0
after make_context alone: exit code 2
SEEN
