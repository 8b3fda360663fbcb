"""Fixtures of the whole suite, each made when the first test wants it; and signals that programs can be ended by."""

import signal

from tests.engines import connection as connection  # noqa: PLC0414
from tests.engines import fresh as fresh  # noqa: PLC0414
from tests.engines import migrated as migrated  # noqa: PLC0414
from tests.engines import migrated_url as migrated_url  # noqa: PLC0414
from tests.engines import opened as opened  # noqa: PLC0414
from tests.engines import path as path  # noqa: PLC0414
from tests.engines import place as place  # noqa: PLC0414
from tests.engines import pytest_generate_tests as pytest_generate_tests  # noqa: PLC0414
from tests.engines import sqlite_file as sqlite_file  # noqa: PLC0414
from tests.environment.fixtures import path_with_node as path_with_node  # noqa: PLC0414
from tests.environment.fixtures import postgres as postgres  # noqa: PLC0414
from tests.environment.fixtures import postgres_dsn as postgres_dsn  # noqa: PLC0414
from tests.environment.fixtures import postgres_url as postgres_url  # noqa: PLC0414
from tests.environment.fixtures import registered as registered  # noqa: PLC0414
from tests.simulation.suite import pytest_terminal_summary as pytest_terminal_summary  # noqa: PLC0414

# A script starts `command &` with SIGINT ignored (POSIX, 2.11), and `nohup` does so with SIGHUP. Programs inherit this,
# and what a test ends by Ctrl-C would run for ever. A handler is not inherited.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)
