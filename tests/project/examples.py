"""Finds the complete programs that the docstrings of packages show."""

from importlib import import_module
from textwrap import dedent


def example_of(package: str) -> str:
    """The program in a package's docstring: the indented lines behind the one that ends in two colons."""
    lines = iter((import_module(package).__doc__ or "").splitlines())
    for line in lines:
        if line.endswith("::"):
            break
    program: list[str] = []
    for line in lines:
        if line and not line.startswith(" "):
            break
        program.append(line)
    assert any(program), f"the docstring of {package} shows no program"
    return dedent("\n".join(program)).strip() + "\n"
