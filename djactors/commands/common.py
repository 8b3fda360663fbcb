"""What every command needs: its settings, the options that many have in common, and how it fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NoReturn

import click

from djactors.config import SettingError, Settings, load


def fail(message: str) -> NoReturn:
    """End the command with exit code 1 and one line on standard error."""
    click.echo(last_words(message), err=True)
    raise SystemExit(1)


def last_words(message: str) -> str:
    """The line that says why a command ends; it is one line that a terminal obeys nowhere, whatever the message holds,
    such as a name out of somebody else's file."""
    line = " ".join(message.splitlines())
    return "djactors: " + "".join(letter if letter.isprintable() else "\ufffd" for letter in line)


def settings_of(config: str | None, **flags: Any) -> Settings:
    """The settings from options, environment and file, in this order; a wrong one ends the command."""
    try:
        return load(flags, os.environ, config)
    except SettingError as error:
        fail(str(error))


def database_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--database`."""
    return click.option("--database", metavar="PLACE", help="The SQLite file, or postgresql://USER@HOST/NAME.")(command)


def upgrade_backup_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--upgrade-backup`."""
    return click.option(
        "--upgrade-backup",
        metavar="FOLDER",
        help="Where the copy goes that is made before an upgrade of an SQLite file; none for no copy.  "
        "[default: beside the file]",
    )(command)


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--config`."""
    return click.option("--config", metavar="FILE", help="A TOML file with settings.")(command)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that changes something the options `--url` and `--token`."""
    token = click.option(
        "--token",
        metavar="JWT",
        envvar="DJACTORS_TOKEN",
        help="An admin's or a service's token for the server; better in the environment as DJACTORS_TOKEN.",
    )
    url = click.option("--url", metavar="URL", help="The server to ask. Without it the database is changed directly.")
    return url(token(command))


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group and of the groups in it."""
    error = group.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error


def sentence_of(error: BaseException) -> str:
    """The sentence to print for an error.

    An error of the system names no setting, so `--database` is added: only the files of the database are opened.
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"--database: {error.filename}: {error.strerror}: check the path and the rights"
    return str(error)
