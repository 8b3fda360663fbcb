"""Every example is complete: the README lists it, and it says what it installs."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

import pytest

from tests.examples.example import EXAMPLES, two_lines
from tests.project.test_readme import section

NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_lists_an_example_that_has_two_lines(name: str) -> None:
    assert f"](djactors/examples/{name}/README.md)" in section("Examples")
    assert all(two_lines(name))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_names_all_packages_that_it_imports(name: str) -> None:
    asked = EXAMPLES / name / "requirements.txt"
    named = re.findall(r"^[\w-]+", asked.read_text(), re.MULTILINE) if asked.is_file() else []
    own = {path.stem for path in (EXAMPLES / name).rglob("*")}
    assert {module for module in imported(name) if module not in own | sys.stdlib_module_names} <= set(named)


def imported(name: str) -> Iterator[str]:
    for path in (EXAMPLES / name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    yield from (alias.name.partition(".")[0] for alias in names)
                case ast.ImportFrom(module=str(module), level=0):
                    yield module.partition(".")[0]
