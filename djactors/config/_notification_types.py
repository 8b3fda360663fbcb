"""Reads the notification types of an installation: those of the file that the settings name, and those that a program
which embeds the server has registered. Both are checked alike."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from djactors.config._settings import SettingError, Settings, environment_name

if TYPE_CHECKING:
    from djactors.domain.notification_rules import Rules
    from djactors.domain.notification_types import NotificationType


def load_rules(settings: Settings, registered: Iterable[NotificationType] = ()) -> Rules:
    """Who is notified of what in this installation.

    Args:
        settings: name the file, if there is one. What it says wins over what is registered, field by field, because it
            is the installation's own.
        registered: the types of a program that embeds the server.

    Raises:
        SettingError: a type is wrong, or the file cannot be read.
    """
    # Not needed for --help, which is to be quick.
    from djactors.domain.notification_rules import BUILT_IN_RULES, Rules
    from djactors.domain.notification_types import NotificationTypeError, from_fields

    registered = tuple(registered)
    try:
        rules = Rules(registered) if registered else BUILT_IN_RULES
    except NotificationTypeError as error:
        raise SettingError(f"types: {error}") from None
    if not settings.notification_types_file:
        return rules
    where = f"{environment_name('notification_types_file')}: {settings.notification_types_file}"
    try:
        content = tomllib.loads(Path(settings.notification_types_file).read_text(encoding="utf-8"))
        return Rules((*registered, *(from_fields(name, fields) for name, fields in content.items())))
    except NotificationTypeError as error:
        raise SettingError(f"{where}: {error}") from None
    except OSError as error:
        raise SettingError(f"{where} cannot be read: {error.strerror}: check the path and the rights") from None
    except UnicodeDecodeError:
        raise SettingError(f"{where} is not UTF-8: save it as that") from None
    except (ValueError, RecursionError) as error:
        # Also a number of too many digits, which no type has.
        raise SettingError(f"{where} is not TOML: {error}") from None
