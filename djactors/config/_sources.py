"""Reads the settings from flags, the environment and a TOML file.

A name that is no setting is refused wherever it comes from, with the nearest one: a setting that silently does nothing
is found out when it is missed.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from djactors.config._checks import check_texts
from djactors.config._settings import FIELDS, SHOWN, SettingError, Settings, environment_name
from djactors.domain.nearest import nearest, plain

_OURS = re.compile(r"DJ_?ACTORS?_?", re.ASCII | re.IGNORECASE)
"""How the names of our settings begin in the environment, and how they do with a typing error."""

_CLIENTS = ("DJACTORS_URL", "DJACTORS_TOKEN", "DJACTORS_OUTBOX_DATABASE")
"""Names in the environment that commands and tools read which talk to a server; the server has no use for them."""

_WITHOUT_PREFIX = frozenset({"jwtsecret", "jwtsecretprevious", "socketport"})
"""Plain names of settings that have no prefix, or that look as if they had none beside one that has none. No program
that is known writes them in another way than we do, and a key that was not heard of would cost every client's token."""

_SERVICE_LINK = re.compile(
    r"DJACTORS_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)
"""What Kubernetes puts into the environment of every container beside a service of the name `djactors`; with them comes
a `DJACTORS_PORT`, which is then a URL. Nobody wrote them as settings.
https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables"""


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ, file: str | Path | None = None
) -> Settings:
    """Read the settings from all sources and check them.

    Args:
        flags: by setting name; None means that the flag was not given.
        environment: usually `os.environ`.
        file: a TOML file, or None.

    Raises:
        SettingError: something is wrong; the message names the setting and the mend.
    """
    values: dict[str, Any] = {}
    if file is not None:
        values.update(_read_file(Path(file)))
    values.update(_read_environment(environment))
    for name, value in flags.items():
        if name not in FIELDS:
            raise SettingError(f"{_shown(name)}: is no setting: the nearest one is {_nearest(name)}")
        if value is not None:
            values[name] = _check(name, value)
    settings = Settings(**values)
    check_texts(settings)
    return settings


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {environment_name(name): name for name in FIELDS}
    for shown, text in environment.items():
        if shown not in (*known, *_CLIENTS) and _is_ours(shown) and not _is_service_link(shown, text):
            nearest = environment_name(_nearest(shown))
            raise SettingError(f"{_shown(shown)}: is no setting: the nearest one is {nearest}; correct or remove it")
    return {name: _parse(name, environment[shown]) for shown, name in known.items() if shown in environment}


def _is_ours(name: str) -> bool:
    return _OURS.match(name) is not None or plain(name) in _WITHOUT_PREFIX


def _is_service_link(name: str, text: str) -> bool:
    return _SERVICE_LINK.fullmatch(name) is not None or (name == "DJACTORS_PORT" and "://" in text)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"--config: {path} cannot be read: {error}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingError(f"--config: {path} is not TOML: {error}") from None
    except ValueError:
        raise SettingError(f"--config: {path} holds a number of too many digits: write a smaller one") from None
    for name in content:
        if name not in FIELDS:
            raise SettingError(
                f"{name[:SHOWN]!r}: {path} has a setting of this name, which does not exist: the nearest one is "
                f"{_nearest(name)}; correct or remove it"
            )
    return {name: _check(name, tuple(v) if isinstance(v, list) else v) for name, v in content.items()}


def _nearest(name: object) -> str:
    """The setting whose name, here or in the environment, is the most like this one."""
    names = {_own(form): setting for setting in FIELDS for form in (setting, environment_name(setting))}
    return names[nearest(_own(str(name)), names, 0.0) or next(iter(names))]


def _own(name: str) -> str:
    """A name without what all settings begin with in the environment."""
    return _OURS.sub("", name, count=1)


def _shown(name: object) -> str:
    text = str(name)[:SHOWN]
    return text if text.isprintable() else repr(text)


def _parse(name: str, text: str) -> Any:
    default = FIELDS[name].default
    shown = environment_name(name)
    if isinstance(default, bool):
        if text.lower() not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
            raise SettingError(f"{shown}: must be true or false")
        return text.lower() in ("1", "true", "yes", "on")
    if isinstance(default, (int, float)):
        try:
            return _check(name, type(default)(text))
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise SettingError(f"{shown}: {text[:SHOWN]!r} is not {kind}") from None
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return _check(name, text)


def _check(name: str, value: Any) -> Any:
    field = FIELDS[name]
    shown = environment_name(name)
    kind: Any = type(field.default)
    is_number = kind is float and type(value) is int
    if (type(value) is not kind and not is_number) or (
        kind is tuple and not all(isinstance(part, str) for part in value)
    ):
        wanted = {
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            str: "text",
            tuple: "a list of texts",
        }
        raise SettingError(f"{shown}: must be {wanted[kind]}")
    low, high = field.metadata["low"], field.metadata["high"]
    if kind in (int, float) and not ((low is None or value >= low) and (high is None or value <= high)):
        bounds = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
        raise SettingError(f"{shown}: {str(value)[:SHOWN]} is out of bounds: it must be {bounds}")
    if "\0" in (value if kind is str else "".join(value) if kind is tuple else ""):
        raise SettingError(f"{shown}: holds a NUL character: leave it out")
    return float(value) if is_number else value
