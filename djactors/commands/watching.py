"""The command `watch`, which shows a user's notifications while they come."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click
import trio

from djactors.commands.common import (
    ca_option,
    clients_url_option,
    config_option,
    fail,
    settings_of,
    token_option,
    trusting,
)
from djactors.commands.ends import endless
from djactors.commands.manual import SERVER, SIGNING, Manual
from djactors.domain.ids import MAX_ID

OWN_TOKEN_SECONDS = 3600
"""The life of a token that the command signs for itself; the next one is signed when the server warns of its end."""


@click.command(
    cls=Manual,
    examples=[
        ("djactors watch --url http://127.0.0.1:3000 --tenant 1 --user 2", "with a token that is signed here."),
        (
            "DJACTORS_TOKEN=... djactors watch --url https://notify.example.com --json",
            "lines of JSON, with a token of your backend.",
        ),
    ],
    exits={
        0: "it was interrupted, or whoever read the lines has enough of them",
        1: "the server refuses the token, or something else is wrong",
    },
    settings=SIGNING,
    variables=SERVER,
)
@clients_url_option
@token_option("The user's token", is_signed=False)
@click.option(
    "--tenant",
    "tenant_id",
    type=click.IntRange(1, MAX_ID),
    help="The tenant for which a token is signed with JWT_SECRET; needs --user.",
)
@click.option(
    "--user", "user_id", type=click.IntRange(1, MAX_ID), help="The person for whom it is signed; needs --tenant."
)
@click.option("--since", metavar="OFFSET", help="Begin behind this offset of an earlier line.  [default: now]")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for everything that happens.")
@click.option("--desktop", is_flag=True, help="Show notes on the desktop, too, by notify-send.")
@ca_option
@config_option
@endless()
def watch(
    url: str,
    token: str | None,
    tenant_id: int | None,
    user_id: int | None,
    since: str | None,
    as_json: bool,
    desktop: bool,
    ca: str | None,
    config: str | None,
) -> None:
    """Show a user's notifications while they come, until Ctrl-C.

    A connection that breaks is made again, and what was missed is shown.
    """
    from djactors.client import DjactorsError
    from djactors.config import SettingError
    from djactors.operations import watching

    source = _token_source(token, tenant_id, user_id, config)
    context = trusting(ca)

    async def run() -> None:
        show: watching.Show = watching.JsonLines(sys.stdout) if as_json else watching.Lines(sys.stdout)
        if desktop:
            show = watching.Desktop(show)
        await watching.watch(url, source, show, since=since, ssl_context=context)

    try:
        trio.run(run)
    except (DjactorsError, SettingError, ValueError, watching.NoDesktopError) as error:
        fail(str(error))


def _token_source(
    token: str | None, tenant_id: int | None, user_id: int | None, config: str | None
) -> str | Callable[[], str]:
    if token is not None:
        return token
    if tenant_id is None or user_id is None:
        raise click.UsageError("give a --token, or DJACTORS_TOKEN, or --tenant and --user where JWT_SECRET is known")
    from djactors.operations.tokens import sign

    settings = settings_of(config)
    return lambda: sign(settings, tenant_id=tenant_id, user_id=user_id, ttl=OWN_TOKEN_SECONDS)
