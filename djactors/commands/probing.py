"""The command `probe`, which looks at an installation from outside."""

from __future__ import annotations

import click
import trio

from djactors.commands.common import (
    Seconds,
    ca_option,
    clients_url_option,
    config_option,
    last_words,
    settings_of,
    token_option,
)
from djactors.commands.manual import SERVER, SIGNING, Manual

LONGEST_IDLE = 24 * 3600
"""Seconds: a day. A proxy that keeps a quiet connection for so long is not what cuts it."""


@click.command(
    cls=Manual,
    examples=[
        (
            "djactors probe --url https://notify.example.com",
            "goes through the real door; the token is signed with the secret of the settings.",
        ),
        (
            "djactors probe --url https://notify.example.com --idle 120 --json",
            "also sees whether a proxy cuts quiet connections; for a monitor.",
        ),
    ],
    exits={0: "all is well", 1: "something was found", 2: "the command line is wrong, or nothing could be tried"},
    settings=["probe_token", *SIGNING],
    variables=SERVER,
)
@clients_url_option
@token_option("The probe's token")
@click.option("--origin", "origins", metavar="ORIGIN", multiple=True, help="A page that must be allowed; repeatable.")
@click.option(
    "--idle",
    type=Seconds(0, LONGEST_IDLE),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Also keep quiet connections open for this long; 0 leaves that out.",
)
@ca_option
@click.option("--metrics", is_flag=True, help="Print samples for Prometheus instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead.")
@config_option
def probe(
    url: str,
    token: str | None,
    origins: tuple[str, ...],
    idle: float,
    ca: str | None,
    metrics: bool,
    as_json: bool,
    config: str | None,
) -> None:
    """Connect, post and receive as clients do, through every proxy; name what is wrong and the mend.

    It acts as a user of its own, in a tenant that is reserved for it, so nobody else is notified.
    """
    import msgspec

    from djactors.operations.probe import NotTriedError, Plan, Report, token_for
    from djactors.operations.probe import probe as results

    report = Report(url)

    async def look() -> None:
        plan = Plan(url, token_for(settings_of(config), token, idle), origins, idle, ca)
        async for result in results(plan, report):
            if not (metrics or as_json):
                click.echo(result.line())

    try:
        trio.run(look)
    except NotTriedError as error:
        click.echo(last_words(str(error)), err=True)
        raise SystemExit(2) from None
    if metrics:
        for sample in report.metrics():
            click.echo(sample)
    elif as_json:
        click.echo(msgspec.json.encode(report))
    if not report.ok:
        raise SystemExit(1)
