"""The help of a command, in the parts of a man page: what it does, options, examples, exit codes, and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from djactors.config import Settings, environment_name

WIDEST = 30
"""The widest first column of the two in a list; what is wider has its text in the next line."""

EVERY = "every setting"
"""Stands for all settings, where a command reads them all."""

SIGNING = ("jwt_secret", "jwt_keys_file", "jwt_issuer", "jwt_audience")
"""The settings with which a command signs a token of its own."""

TOKEN = {"DJACTORS_TOKEN": "the token, where --token is not given."}
SERVER = {"DJACTORS_URL": "the address, where --url is not given.", **TOKEN}
"""The variables of commands that ask a server."""

USUAL = "something is wrong, and one line on standard error says what"


class Manual(click.Command):
    """A command whose help has examples, exit codes and settings.

    Args:
        examples: command lines, each with what it does.
        exits: what the exit codes mean, beside 0 and 2; 1 has its usual meaning if it is not named.
        settings: the names of the settings that the command reads, as `Settings` has them; `EVERY` for all.
        variables: further variables of the environment that it reads, and what they are.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[tuple[str, str]],
        exits: Mapping[int, str] | None = None,
        settings: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples
        self.exits = {0: "it is done", 1: USUAL, 2: "the command line is wrong", **(exits or {})}
        self.settings = settings
        self.variables = variables or {}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command.format_epilog`."""
        with formatter.section("Examples"):
            for command, does in self.examples:
                # Not wrapped: a command line is for copying.
                formatter.write(f"{'':>{formatter.current_indent}}{command}\n")
                formatter.indent()
                formatter.write_text(_sentence(does))
                formatter.dedent()
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), _sentence(meaning)) for code, meaning in sorted(self.exits.items())])
        with formatter.section("Settings"):
            rows = [_row(name) for name in self.settings]
            rows += [(name, _sentence(text)) for name, text in self.variables.items()]
            if rows:
                formatter.write_dl(rows, col_max=WIDEST)
            else:
                formatter.write_text("None.")


def _row(name: str) -> tuple[str, str]:
    if name == EVERY:
        return EVERY, "They come from the environment or the file of --config. The README lists them."
    document = str(Settings.__dataclass_fields__[name].metadata["doc"])
    return environment_name(name), _sentence(document.partition(". ")[0])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
