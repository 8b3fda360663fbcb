"""The commands that show a running installation: `top` on a terminal, `monitoring` for Prometheus and Grafana."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from importlib.resources import files

import click
import trio

from djactors.commands.common import Seconds, ca_option, config_option, fail, server_url, settings_of, token_option
from djactors.commands.ends import endless
from djactors.commands.manual import SERVER, SIGNING, Manual
from djactors.domain.ids import MAX_ID

PATIENCE = 5.0
"""Seconds in which each answer must come. A server that takes longer is shown as one that does not answer."""

SHORTEST, LONGEST = 0.5, 60.0
"""Seconds between two looks. One answer of the server is shared for half a second."""

FILES = {"alerts": "alerts.yml", "dashboard": "dashboard.json"}
"""What `monitoring` prints, by its name."""


@click.command(
    cls=Manual,
    examples=[
        ("djactors top", "looks at the server on this machine."),
        ("djactors top --url http://10.0.0.5:3000 --once", "prints one picture of another."),
    ],
    exits={1: "the server does not answer, or refuses the token"},
    settings=["host", "port", *SIGNING],
    variables=SERVER,
)
@click.option(
    "--url",
    callback=server_url,
    metavar="URL",
    envvar="DJACTORS_URL",
    help="The server itself, not a proxy before several; it may be in the environment as DJACTORS_URL.  "
    "[default: where the settings have it listen]",
)
@token_option("An admin's token")
@click.option(
    "--tenant",
    "tenant_id",
    type=click.IntRange(1, MAX_ID),
    help="The tenant whose users are named, if a token is signed.  [default: none]",
)
@click.option(
    "--interval",
    type=Seconds(SHORTEST, LONGEST),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="The time between two looks.",
)
@click.option("--once", is_flag=True, help="Print one picture; so it is without a terminal.")
@ca_option
@config_option
def top(
    url: str | None,
    token: str | None,
    tenant_id: int | None,
    interval: float,
    once: bool,
    ca: str | None,
    config: str | None,
) -> None:
    """Show actors, users, rates and latencies, live, trouble first.

    q quits. Without a terminal it prints one picture, as with --once.
    """
    from djactors.operations.probe.door import Door, NotTriedError
    from djactors.operations.top import Looker, NoLookError, Source, address_of, is_live, show

    settings = settings_of(config)
    try:
        url = address_of(settings) if url is None else url
        door = Door(url, patience=PATIENCE, ca=ca, clock=trio.current_time, agent="djactors-top")
    except (NotTriedError, NoLookError) as error:
        fail(str(error))
    once = once or not is_live(sys.stdout, os.environ)
    looker = Looker(Source(door, settings, token, tenant_id), trio.current_time)

    async def run() -> None:
        await show(looker, door.url, once=once, interval=interval)

    try:
        with nullcontext() if once else endless():
            trio.run(run)
    except NoLookError as error:
        fail(f"{door.url}: {error}")
    except BaseExceptionGroup as group:
        refused, others = group.split(NoLookError)
        if refused is None or others is not None:
            raise
        fail(f"{door.url}: {refused.exceptions[0]}")


@click.command(
    cls=Manual,
    examples=[
        ("djactors monitoring --alerts > alerts.yml", "for `rule_files` of Prometheus."),
        ("djactors monitoring --dashboard > dashboard.json", "to import in Grafana."),
    ],
)
@click.option("--alerts", is_flag=True, help="The alert rules for Prometheus.")
@click.option("--dashboard", is_flag=True, help="The dashboard for Grafana.")
def monitoring(alerts: bool, dashboard: bool) -> None:
    """Print the alert rules for Prometheus, or the dashboard for Grafana.

    Both know the metrics at /metrics of this version.
    """
    if alerts == dashboard:
        raise click.UsageError("say which one: --alerts or --dashboard")
    what = "alerts" if alerts else "dashboard"
    click.echo((files("djactors.monitoring") / FILES[what]).read_text(encoding="utf-8"), nl=False)
