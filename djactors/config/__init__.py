"""Settings: the table, the sources that they are read from, and what is checked. They are read once at the start and
passed on from there.

A command line flag goes before the environment, the environment before the TOML file, and the file before the default.
`JWT_SECRET` and `SOCKET_PORT` have the names that the seed gives them. Every other setting is `DJACTORS_<NAME>` in the
environment and `<name>` in the file. A wrong setting raises `SettingError`, whose one line names the setting, says what
is wrong, and says how to mend it. The line never shows a secret.
"""

from djactors.config._checks import (
    MIN_SECRET_BYTES,
    check_keys,
    check_proxies,
    exposed_secrets,
    readable_by_all,
    weak_secrets,
)
from djactors.config._notification_types import load_rules
from djactors.config._settings import SettingError, Settings, environment_name
from djactors.config._sources import load

__all__ = [
    "MIN_SECRET_BYTES",
    "SettingError",
    "Settings",
    "check_keys",
    "check_proxies",
    "environment_name",
    "exposed_secrets",
    "load",
    "load_rules",
    "readable_by_all",
    "weak_secrets",
]
