"""What every command needs: its settings, the options that many have in common, and how it fails."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from djactors.domain.ids import MAX_ID

if TYPE_CHECKING:
    import ssl

    from djactors.config import Settings


class Seconds(click.FloatRange):
    """A number of seconds between two bounds. NaN passes every comparison with a bound, so it is refused here."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType.convert`."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


def server_url(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The callback of `--url`. A wrong address is a wrong command line, whichever command it is given to."""
    from djactors.operations.address import NoAddressError, place_of

    try:
        if value is not None:
            place_of(value)
    except NoAddressError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    return value


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
    from djactors.config import SettingError, load

    try:
        return load(flags, os.environ, config)
    except SettingError as error:
        fail(str(error))


def database_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--database`."""
    return click.option(
        "--database",
        metavar="PLACE",
        type=click.Path(),
        help="The SQLite file, or postgresql://USER@HOST/NAME.  [default: djactors.db]",
    )(command)


def upgrade_backup_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--upgrade-backup`."""
    return click.option(
        "--upgrade-backup",
        metavar="FOLDER",
        type=click.Path(),
        help="Where the copy goes that is made before an upgrade of an SQLite file; none for no copy.  "
        "[default: beside the file]",
    )(command)


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--config`."""
    return click.option(
        "--config", metavar="FILE", type=click.Path(), help="A TOML file with settings; the environment goes before it."
    )(command)


def clients_url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that does what clients do the option `--url`, which is required."""
    return click.option(
        "--url",
        callback=server_url,
        metavar="URL",
        envvar="DJACTORS_URL",
        required=True,
        help="The address that clients use; it may be in the environment as DJACTORS_URL.",
    )(command)


def token_option(which: str, *, is_signed: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the option `--token`; without it, the command signs one if `is_signed`."""
    default = "  [default: one is signed]" if is_signed else ""
    return click.option(
        "--token",
        metavar="JWT",
        envvar="DJACTORS_TOKEN",
        help=f"{which}; better in the environment as DJACTORS_TOKEN.{default}",
    )


def ca_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--ca`."""
    return click.option(
        "--ca", metavar="FILE", type=click.Path(), help="The certificate of a CA to trust beside those of the system."
    )(command)


def trusting(ca: str | None) -> ssl.SSLContext | None:
    """What checks a server's certificate, where `--ca` names one; a file that cannot be read ends the command."""
    from djactors.operations.address import NoCertificateError, context_trusting

    try:
        return None if ca is None else context_trusting(ca)
    except NoCertificateError as error:
        fail(str(error))


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that changes something the options `--url`, `--token` and `--ca`."""
    url = click.option(
        "--url",
        callback=server_url,
        metavar="URL",
        help="The server to ask. Without it the database is changed directly.",
    )
    return url(token_option("An admin's or a service's token for the server")(ca_option(command)))


def person_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command about one person the options `--tenant` and `--user`, which both are required."""
    tenant = click.option(
        "--tenant", "tenant_id", type=click.IntRange(1, MAX_ID), required=True, help="The tenant of the person."
    )
    user = click.option(
        "--user", "user_id", type=click.IntRange(1, MAX_ID), required=True, help="The person's id in the tenant."
    )
    return tenant(user(command))


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
