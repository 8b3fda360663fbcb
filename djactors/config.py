"""Settings: what each is, its bounds and its reason, read once at the start and passed in.

Order: command line flag > environment > TOML file > default. `JWT_SECRET` and `SOCKET_PORT` have the names that the
seed gives them; every other setting is `DJACTORS_<NAME>` in the environment and `<name>` in the file. A wrong one
raises `SettingError`, whose one line names the setting, what is wrong and the mend. A secret is never part of it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIN_SECRET_BYTES = 32
"""HS256 wants a key as long as its hash (RFC 7518, section 3.2)."""

MIN_SECRET_VARIETY = 8
"""Different bytes in a secret. Random ones have more: 32 bytes about 30, their 64 hexadecimal digits about 16."""

_SHOWN = 60
"""Characters of a wrong value that a message repeats."""

_ORIGIN = re.compile(r"\*|null|https?://(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+)(:[0-9]{1,5})?/?", re.ASCII)
"""What browsers send as `Origin` (RFC 6454, section 6.1), or any."""


class SettingError(Exception):
    """A setting is wrong; the message is the one line that the person who started the program sees."""


def _setting(default: Any, doc: str, *, low: float | None = None, high: float | None = None, env: str = "") -> Any:
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high, "env": env})


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """Every setting with its default. Times are seconds, sizes bytes."""

    jwt_secret: str = _setting("", "signs and verifies tokens (HS256); at least 32 bytes", env="JWT_SECRET")
    jwt_public_key_file: str = _setting("", "PEM file; tokens are then RS256, ES256 or EdDSA, by the kind of key")
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(3000, "port to listen on; 0 picks a free one", low=0, high=65535, env="SOCKET_PORT")
    database: str = _setting("djactors.db", "the SQLite file")
    log_format: str = _setting("auto", "auto (readable on a terminal, else JSON), json or console")
    log_level: str = _setting("info", "debug, info, warning or error")
    allowed_origins: tuple[str, ...] = _setting(
        (), "origins of browser pages, beside the server's own, that may connect; comma-separated; * allows any"
    )
    metrics_addresses: tuple[str, ...] = _setting(
        ("127.0.0.0/8", "::1/128"), "networks that may read /metrics; comma-separated; 0.0.0.0/0 opens it"
    )
    test_events: bool = _setting(False, "accept the test: events on sockets")

    ping_interval: float = _setting(25.0, "seconds between heartbeats (Socket.IO's own default)", low=0.1, high=300)
    ping_timeout: float = _setting(20.0, "seconds a client has to answer one", low=0.1, high=300)
    connect_timeout: float = _setting(
        20.0,
        "seconds from the handshake to a CONNECT, which stock clients send at once; times admit_rate it must stay "
        "below max_connections, or clients that never connect could hold every session",
        low=0.1,
        high=300,
    )
    upgrade_timeout: float = _setting(10.0, "seconds for the upgrade to WebSocket", low=0.1, high=300)
    expiry_warning: float = _setting(
        60.0, "seconds before its end at which a token's holder is warned", low=0, high=86400
    )
    expiry_grace: float = _setting(30.0, "seconds after it at which the socket is closed", low=0, high=86400)
    max_payload: int = _setting(1_000_000, "bytes of one packet or poll from a client", low=1000, high=2**26)
    max_body: int = _setting(2 * 2**20, "bytes of an HTTP body; a batch of 1,000 events fits", low=1000, high=2**28)
    max_connections: int = _setting(
        12_000, "sockets in all; a poll and a WebSocket of one upgrading client are two", low=1, high=1_000_000
    )
    max_connections_per_address: int = _setting(
        10_000,
        "sockets of one address, and sessions; offices stand behind one, so lower it only without a proxy",
        low=1,
        high=1_000_000,
    )
    admit_rate: float = _setting(
        400.0, "new sessions a second, so that a rush of them does not slow others", low=1, high=1_000_000
    )
    admit_burst: int = _setting(
        1000, "new sessions at once after a quiet time: an office comes in", low=1, high=1_000_000
    )
    max_sockets_per_user: int = _setting(50, "sockets of one user: tabs and devices", low=1, high=10_000)

    router_mailbox: int = _setting(4096, "commands that may wait for a commit; beyond it 503", low=1, high=1_000_000)
    commit_batch: int = _setting(
        1024, "commands in one commit: a whole batch post, and a bound on its time", low=1, high=10_000
    )
    commit_delay: float = _setting(
        0.002, "seconds that a commit may wait for more commands while they come together; 0: never", low=0, high=1
    )
    user_mailbox: int = _setting(
        256, "batches that may wait for a user actor; beyond it the actor reloads", low=1, high=1_000_000
    )
    outbox_packets: int = _setting(
        4096,
        "packets waiting for a client that polls; beyond it the session is closed; two slices of a replay must fit",
        low=200,
        high=1_000_000,
    )
    outbox_bytes: int = _setting(
        4 * 2**20,
        "bytes waiting for one socket; beyond it the socket is closed; two slices of a replay must fit",
        low=2**20,
        high=2**30,
    )
    passivate_after: float = _setting(
        30.0, "seconds a user actor outlives its last socket: covers a reload", low=0, high=86400
    )
    command_timeout: float = _setting(15.0, "seconds a request waits for its commit; then 503", low=0.1, high=300)
    drain_timeout: float = _setting(10.0, "seconds that SIGTERM leaves for finishing", low=0, high=600)
    daily_limit: int = _setting(100, "notifications for one user in one day (seed)", low=1, high=1_000_000_000)
    critical_beyond_limit: bool = _setting(True, "CRITICAL ones pass beyond daily_limit; false holds them back, too")
    collapse_bursts: bool = _setting(
        False, "a notification replaces the unread one of the same type and job before it, and counts"
    )
    history_days: int = _setting(
        7, "days that changes, and what has left an inbox, are kept for clients that come back", low=1, high=3650
    )
    event_days: int = _setting(
        30, "days that domain events are kept; idempotency keys, which are theirs, need 30", low=30, high=3650
    )
    suppression_days: int = _setting(30, "days that is kept why somebody was not notified", low=1, high=3650)
    emit_rate: float = _setting(
        20.0, "events a second from one socket: more than a person clicks", low=0.1, high=1_000_000
    )
    emit_burst: int = _setting(
        60, "events at once from one socket: what a page does when it comes back", low=1, high=1_000_000
    )
    post_rate: float = _setting(
        10_000.0, "events posted a second from one address: all that one core commits", low=0.1, high=1_000_000
    )
    post_burst: int = _setting(20_000, "events posted at once from one address: twenty full batches", low=1, high=10**9)

    replay_limit: int = _setting(
        1000,
        "missed changes up to which a socket is resumed; beyond it: reload",
        low=1,
        high=100_000,
    )
    busy_timeout: float = _setting(
        5.0, "seconds to wait for a database that another process has locked", low=0, high=300
    )

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "jwt_secret"}
        return f"Settings({shown})"


def environment_name(name: str) -> str:
    """What a setting is called in the environment."""
    field = _FIELDS[name]
    return str(field.metadata["env"]) or f"DJACTORS_{name.upper()}"


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ, file: str | Path | None = None
) -> Settings:
    """Settings from all sources, checked.

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
    for name in _FIELDS:
        text = environment.get(environment_name(name))
        if text is not None:
            values[name] = _parse(name, text)
    values.update({name: _check(name, value) for name, value in flags.items() if value is not None})
    settings = Settings(**values)
    _check_texts(settings)
    return settings


def _check_texts(settings: Settings) -> None:
    _check_choice("log_format", settings.log_format, ("auto", "json", "console"))
    _check_choice("log_level", settings.log_level, ("debug", "info", "warning", "error"))
    for network in settings.metrics_addresses:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise SettingError(
                f"{environment_name('metrics_addresses')}: {network[:_SHOWN]!r} is no network: write it like 10.0.0.0/8"
            ) from None
    for origin in settings.allowed_origins:
        if _ORIGIN.fullmatch(origin) is None:
            raise SettingError(
                f"{environment_name('allowed_origins')}: {origin[:_SHOWN]!r} is no origin: write it like https://app.example.com"
            )
    for name in ("host", "database"):
        if not getattr(settings, name):
            raise SettingError(f"{environment_name(name)}: is empty: name one, or leave the setting out")


def check_keys(settings: Settings) -> None:
    """Refuse to serve without a way to verify tokens.

    Raises:
        SettingError: no secret and no public key, or a secret that is too short or too plain.
    """
    if settings.jwt_public_key_file:
        return
    if not settings.jwt_secret:
        raise SettingError(
            "JWT_SECRET: is not set: set it to at least 32 random bytes, for example from `openssl rand -hex 32`, "
            "or name a public key in DJACTORS_JWT_PUBLIC_KEY_FILE"
        )
    secret = settings.jwt_secret.encode(errors="surrogateescape")
    if len(set(secret)) < MIN_SECRET_VARIETY:
        raise SettingError("JWT_SECRET: is easy to guess: take random bytes, such as from `openssl rand -hex 32`")
    if len(secret) < MIN_SECRET_BYTES:
        raise SettingError("JWT_SECRET: is shorter than 32 bytes: take a longer one, such as `openssl rand -hex 32`")


_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


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
        if name not in _FIELDS:
            raise SettingError(f"{name[:_SHOWN]!r}: {path} has a setting of this name, which does not exist: remove it")
    return {name: _check(name, tuple(v) if isinstance(v, list) else v) for name, v in content.items()}


def _parse(name: str, text: str) -> Any:
    default = _FIELDS[name].default
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
            raise SettingError(f"{shown}: {text[:_SHOWN]!r} is not {kind}") from None
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return _check(name, text)


def _check(name: str, value: Any) -> Any:
    field = _FIELDS[name]
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
        raise SettingError(f"{shown}: {str(value)[:_SHOWN]} is out of bounds: it must be {bounds}")
    if "\0" in (value if kind is str else "".join(value) if kind is tuple else ""):
        raise SettingError(f"{shown}: holds a NUL character: leave it out")
    return float(value) if is_number else value


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(f"{environment_name(name)}: {value[:_SHOWN]!r} is not one of {', '.join(choices)}")
