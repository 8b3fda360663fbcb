"""Runs the commands that end by themselves, and reads what they say."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click
import pytest
from click.testing import CliRunner, Result

from djactors.cli import COMMANDS, main

EVERY_COMMAND = {name: command for name in COMMANDS if (command := main.get_command(click.Context(main), name))}
"""The commands by their names."""

SECRET = "a-secret-for-tests-only-0123456789abcdef"


def run(*arguments: str, secret: str | None = SECRET, environment: Mapping[str, str] | None = None) -> Result:
    variables = {**({} if secret is None else {"JWT_SECRET": secret}), **(environment or {})}
    with pytest.MonkeyPatch.context() as patch:
        # `backup` makes its process give way to others, which must not last for all tests that follow in this one.
        patch.setattr(os, "nice", lambda _: 0)
        result = CliRunner(env=variables).invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert SECRET not in result.output
    return result


def complaint(result: Result, code: int = 1) -> str:
    """The one line that says what is wrong."""
    assert result.exit_code == code, result.output
    lines = result.stderr.splitlines()
    if code == 1:
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("djactors: ")
    return lines[-1]


def findings(result: Result) -> dict[str, str]:
    assert result.exit_code in (0, 1), result.output
    lines = result.stdout.splitlines()
    assert all(line[:5] in ("ok   ", "FAIL ") for line in lines), result.stdout
    wrong = dict(line[5:].split(": ", 1) for line in lines if line.startswith("FAIL "))
    assert result.exit_code == (1 if wrong else 0)
    return wrong
