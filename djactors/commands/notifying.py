"""The command about notification types: `types`."""

from __future__ import annotations

import click

from djactors.commands.common import config_option, fail, settings_of
from djactors.config import SettingError


@click.command()
@config_option
def types(config: str | None) -> None:
    """Print the notification types as they are in effect, in the form of the file that changes them."""
    from djactors.config import load_rules
    from djactors.operations import notification_types

    try:
        rules = load_rules(settings_of(config))
    except SettingError as error:
        fail(str(error))
    for line in notification_types.lines(rules):
        click.echo(line)
