"""The programs in the docstrings of the packages that are for others run as they stand, and are typed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.project.examples import example_of

PACKAGES = ("djactors.protocol",)


def run(package: str, printed: list[str]) -> dict[str, Any]:
    """Run a package's example up to, and without, what it does as a main program; `printed` gets its lines."""

    def note(*words: object, **options: object) -> None:
        printed.append(" ".join(map(str, words)))

    program: dict[str, Any] = {"__name__": "example", "print": note}
    exec(compile(example_of(package), f"<example of {package}>", "exec"), program)
    return program


def test_mypy_finds_nothing_in_any_of_them(tmp_path: Path) -> None:
    names = [f"{package.rpartition('.')[2]}_example.py" for package in PACKAGES]
    for package, name in zip(PACKAGES, names, strict=True):
        (tmp_path / name).write_text(example_of(package))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_client_and_a_server_talk_to_each_other_without_a_network() -> None:
    printed: list[str] = []
    run("djactors.protocol", printed)
    assert [line.partition("(")[0] for line in printed] == [
        "client: Opened",
        "server: ConnectRequested",
        "client: Connected",
        "server: EventReceived",
        "client: AckReceived",
        "client: EventReceived",
    ]
    assert printed[1].endswith("auth={'token': 'let me in'})")
    assert printed[4].endswith("args=[{'ok': True}])")
    assert printed[5].endswith("args=[['for', 'everybody']], ack_id=None)")
