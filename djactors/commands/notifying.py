"""The command about notification types: `types`."""

from __future__ import annotations

import click

from djactors.commands.common import config_option, fail, settings_of
from djactors.commands.manual import Manual
from djactors.config import SettingError


@click.command(
    cls=Manual,
    examples=[
        ("djactors types", "prints the types that come with djactors, as they are in effect."),
        ("DJACTORS_NOTIFICATION_TYPES_FILE=types.toml djactors types", "checks a file, and prints all types with it."),
    ],
    settings=["notification_types_file"],
)
@config_option
def types(config: str | None) -> None:
    """Print the notification types as they are in effect.

    They are printed in the form of the file that changes them, which is checked.
    """
    from djactors.config import load_rules
    from djactors.operations import notification_types

    try:
        rules = load_rules(settings_of(config))
    except SettingError as error:
        fail(str(error))
    for line in notification_types.lines(rules):
        click.echo(line)
