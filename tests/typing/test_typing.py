"""What mypy accepts, refuses and infers of the uses beside this file.

A line of a use that ends in `# error: CODE` is refused with this code, and one that ends in `# reveals: TYPE` has that
type; every other line is accepted. mypy runs once, as `mypy --strict` without a configuration.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from mypy import api

HERE = Path(__file__).parent
USES = sorted(HERE.glob("*_uses.py"))

EXPECTED = re.compile(r"# (?P<kind>error|reveals): (?P<what>.*)$")
ERROR = re.compile(r"(?P<path>[^:]+):(?P<line>\d+): error: .*\[(?P<what>[a-z-]+)\]")
REVEALED = re.compile(r'(?P<path>[^:]+):(?P<line>\d+): note: Revealed type is "(?P<what>.*)"')

Findings = dict[int, set[str]]
"""By line: the codes of errors, and types behind `reveals `."""


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Findings]:
    """What mypy finds, by the name of the file."""
    files = [str(path) for path in USES]
    cache = tmp_path_factory.mktemp("cache")
    limit = sys.getrecursionlimit()
    try:
        output, complaint, _ = api.run(["--strict", "--config-file=", f"--cache-dir={cache}", "--no-pretty", *files])
    finally:
        # mypy raises it for good, and a test that comes later would find deep JSON to be good.
        sys.setrecursionlimit(limit)
    assert complaint == ""
    found: dict[str, Findings] = {Path(file).name: defaultdict(set) for file in files}
    for line in output.splitlines():
        for pattern, prefix in ((ERROR, ""), (REVEALED, "reveals ")):
            match = pattern.match(line)
            if match is not None:
                found[Path(match["path"]).name][int(match["line"])].add(prefix + match["what"])
    return found


def expected(path: Path) -> Findings:
    """What the comments of a file say."""
    wanted: Findings = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        match = EXPECTED.search(line)
        if match is not None:
            wanted[number] = {match["what"] if match["kind"] == "error" else f"reveals {match['what']}"}
    return wanted


@pytest.mark.parametrize("uses", USES, ids=lambda path: path.stem)
def test_what_is_wrong_is_refused_and_nothing_else(uses: Path, findings: dict[str, Findings]) -> None:
    assert findings[uses.name] == expected(uses)
