"""What mypy accepts, refuses and infers: of the programs that the texts show, and of the uses beside this file.

A line of a use that ends in `# error: CODE` is refused with this code, and one that ends in `# reveals: TYPE` has that
type; every other line is accepted. mypy runs once, as `mypy --strict` without a configuration.
"""

import re
from collections import defaultdict
from pathlib import Path
from textwrap import dedent

import pytest
from mypy import api

import djactors.kernel

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
USES = sorted(HERE.glob("*_uses.py"))

EXPECTED = re.compile(r"# (?P<kind>error|reveals): (?P<what>.*)$")
ERROR = re.compile(r"(?P<path>[^:]+):(?P<line>\d+): error: .*\[(?P<what>[a-z-]+)\]")
REVEALED = re.compile(r'(?P<path>[^:]+):(?P<line>\d+): note: Revealed type is "(?P<what>.*)"')

Findings = dict[int, set[str]]
"""By line: the codes of errors, and types behind `reveals `."""


def shown_programs() -> dict[str, str]:
    """The complete programs of the README and of the kernel's front door, by the name of a file."""
    readme = (ROOT / "README.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert programs
    shown = {f"readme_{number}.py": program for number, program in enumerate(programs)}
    shown["kernel_door.py"] = kernel_program()
    return shown


def kernel_program() -> str:
    """The program in the docstring of `djactors.kernel`: its indented lines behind the one that ends in two colons."""
    program = (djactors.kernel.__doc__ or "").partition("::\n\n")[2]
    return dedent(program[: re.search(r"^\S", program, re.MULTILINE).start()])  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Findings]:
    """What mypy finds, by the name of the file."""
    folder = tmp_path_factory.mktemp("shown")
    for name, program in shown_programs().items():
        (folder / name).write_text(program)
    files = [*map(str, USES), *map(str, folder.iterdir())]
    cache = tmp_path_factory.mktemp("cache")
    output, complaint, _ = api.run(["--strict", "--config-file=", f"--cache-dir={cache}", "--no-pretty", *files])
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


@pytest.mark.parametrize("name", shown_programs())
def test_a_program_that_is_shown_is_typed(name: str, findings: dict[str, Findings]) -> None:
    assert findings[name] == {}
