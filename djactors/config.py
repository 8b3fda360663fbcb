"""Settings: what each one is, its bounds and its reason. They are read once at the start and passed on from there.

A command line flag goes before the environment, the environment before the TOML file, and the file before the default.
`JWT_SECRET` and `SOCKET_PORT` have the names that the seed gives them. Every other setting is `DJACTORS_<NAME>` in the
environment and `<name>` in the file. A wrong setting raises `SettingError`, whose one line names the setting, says what
is wrong, and says how to mend it. The line never shows a secret.

Where a setting is a bound of one room, the room has the default and the reason, and the setting refers to them, so that
each default stands once.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from djactors.domain.limits import Limits
from djactors.engine import EngineSettings, OriginPolicy
from djactors.net import ListenerLimits, TrustedProxies
from djactors.store.connections import BUSY_TIMEOUT

MIN_SECRET_BYTES = 32
"""HS256 needs a key that is at least as long as its hash (RFC 7518, section 3.2)."""

MIN_SECRET_VARIETY = 8
"""The least number of different bytes in a secret. Random secrets have more: 32 random bytes have about 30, and the 64
hexadecimal digits of these bytes about 16."""

_SHOWN = 60
"""The most characters of a wrong value that a message repeats."""


class SettingError(Exception):
    """A setting is wrong; the message is the one line that the person who started the program sees."""


def _setting(default: Any, doc: str, *, low: float | None = None, high: float | None = None, env: str = "") -> Any:
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high, "env": env})


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """Every setting with its default. Times are seconds, sizes bytes."""

    jwt_secret: str = _setting(
        "",
        "The secret with which tokens are signed and verified (HS256). It needs at least 32 bytes, so that nobody can"
        " guess it.",
        env="JWT_SECRET",
    )
    jwt_public_key_file: str = _setting(
        "",
        "A PEM file with a public key. If it is set, tokens are verified with this key instead of the secret, by "
        "RS256, ES256 or EdDSA, depending on the kind of key.",
    )
    host: str = _setting("127.0.0.1", "The address to listen on. The default can be reached from this machine only.")
    port: int = _setting(
        3000,
        "The port to listen on. With 0 the system picks a free port, and the server prints which one.",
        low=0,
        high=65535,
        env="SOCKET_PORT",
    )
    database: str = _setting("djactors.db", "The SQLite file that holds all data. It is created if it does not exist.")
    log_format: str = _setting(
        "auto",
        "The form of log entries: json, console (readable text), or auto, which is console on a terminal and json "
        "elsewhere.",
    )
    log_level: str = _setting("info", "The least severe entries that are logged: debug, info, warning or error.")
    allowed_origins: tuple[str, ...] = _setting(
        (),
        "Web pages from these origins may connect, in addition to the pages of this server. Separate them by commas; "
        "https://*.example.com allows hosts with one label more, capacitor://localhost the pages of an application, "
        "null sandboxed pages, and * all pages.",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (),
        "The addresses and networks of your reverse proxies. For connections from them, the client's address is the "
        "rightmost one in X-Forwarded-For that is not a trusted proxy's. Separate them by commas. Never name networks "
        "from which clients connect directly, because such clients could then claim any address.",
    )
    proxy_protocol: bool = _setting(
        False,
        "If this is true, connections from trusted_proxies must begin with a header of version 2 of the PROXY protocol,"
        " which names the client. From all other addresses the header is refused.",
    )
    metrics_addresses: tuple[str, ...] = _setting(
        ("127.0.0.0/8", "::1/128"),
        "Only clients from these networks may read /metrics, because it shows how busy the installation is. Separate "
        "them by commas; 0.0.0.0/0,::/0 allows everybody.",
    )
    test_events: bool = _setting(
        False,
        "If this is true, a socket may create and assign jobs with the two test: events, so that a frontend can be "
        "tried without a backend.",
    )

    ping_interval: float = _setting(
        EngineSettings.ping_interval,
        "The time in seconds between two heartbeats that the server sends to a client. The default is Socket.IO's own.",
        low=0.1,
        high=300,
    )
    ping_timeout: float = _setting(
        EngineSettings.ping_timeout,
        "The time in seconds within which a client must answer a heartbeat. A client that does not is disconnected.",
        low=0.1,
        high=300,
    )
    unproven_timeout: float = _setting(
        10.0,
        "The time in seconds that an idle connection stays open as long as no good token has come by it. If "
        "connections run short, the idle ones without a token are closed first.",
        low=0.1,
        high=75,
    )
    connect_timeout: float = _setting(
        EngineSettings.connect_timeout,
        "The time in seconds within which a new session must send its CONNECT; stock clients send it at once. This "
        "time multiplied by admit_rate must stay below max_connections, because otherwise clients that never connect "
        "could hold all sessions.",
        low=0.1,
        high=300,
    )
    upgrade_timeout: float = _setting(
        EngineSettings.upgrade_timeout,
        "The time in seconds within which a client must finish its upgrade from polling to WebSocket.",
        low=0.1,
        high=300,
    )
    expiry_warning: float = _setting(
        60.0,
        "The time in seconds before a token expires at which its client gets auth:expiring and can refresh the token.",
        low=0,
        high=86400,
    )
    expiry_grace: float = _setting(
        30.0,
        "The time in seconds for which a socket stays open after its token has expired, so that the client can still "
        "refresh the token.",
        low=0,
        high=86400,
    )
    max_payload: int = _setting(
        EngineSettings.max_payload,
        "The most bytes that a client may send in one packet or in one polling request.",
        low=1000,
        high=2**26,
    )
    max_body: int = _setting(
        2 * 2**20, "The most bytes in the body of a batch post. A batch of 1,000 events fits.", low=1000, high=2**28
    )
    max_connections: int = _setting(
        ListenerLimits.max_connections,
        "The most TCP connections, and also the most sessions, that may be open at a time. A client that is upgrading"
        " to WebSocket has two connections for a moment.",
        low=1,
        high=1_000_000,
    )
    max_connections_per_address: int = _setting(
        ListenerLimits.max_connections_per_address,
        "The most TCP connections, and also the most sessions, from one address; an IPv6 address counts as its /64. A "
        "whole office may share one address. Everybody behind a proxy would, so name your proxies in trusted_proxies.",
        low=1,
        high=1_000_000,
    )
    admit_rate: float = _setting(
        EngineSettings.admit_rate,
        "The number of new sessions that are admitted a second, so that a rush of newcomers does not slow down "
        "connected users.",
        low=1,
        high=1_000_000,
    )
    admit_burst: int = _setting(
        EngineSettings.admit_burst,
        "The number of new sessions that are admitted at once after a quiet time, for example when everybody in an "
        "office starts work.",
        low=1,
        high=1_000_000,
    )
    max_sockets_per_user: int = _setting(
        50,
        "The most sockets that one user may have open at a time. Each tab and each device has one.",
        low=1,
        high=10_000,
    )

    router_mailbox: int = _setting(
        4096,
        "The most commands that may wait to be committed. Beyond that, requests are answered 503.",
        low=1,
        high=1_000_000,
    )
    commit_batch: int = _setting(
        1024,
        "The most commands in one commit. A batch post of 1,000 events fits; a larger value makes others wait longer "
        "for their turn.",
        low=1,
        high=10_000,
    )
    commit_delay: float = _setting(
        0.002,
        "While many commands arrive, a commit waits up to this many seconds for more of them, because one large "
        "commit costs less than several small ones. 0 turns the waiting off.",
        low=0,
        high=1,
    )
    user_mailbox: int = _setting(
        256,
        "The most deliveries that may wait for one user's actor. Beyond that, the actor drops them and reads its "
        "state from the database again.",
        low=1,
        high=1_000_000,
    )
    outbox_packets: int = _setting(
        EngineSettings.outbox_packets,
        "The most packets that may wait for a client that polls. Beyond that, its session is closed, and the client "
        "resumes when it reconnects. Two slices of a replay must fit.",
        low=200,
        high=1_000_000,
    )
    outbox_bytes: int = _setting(
        EngineSettings.outbox_bytes,
        "The most bytes that may wait for one client. Beyond that, its connection is closed, and the client resumes "
        "when it reconnects. Two slices of a replay must fit.",
        low=2**20,
        high=2**30,
    )
    passivate_after: float = _setting(
        30.0,
        "The time in seconds for which a user's actor stays in memory after the user's last socket has closed, so "
        "that reloading a page does not start the actor anew.",
        low=0,
        high=86400,
    )
    command_timeout: float = _setting(
        15.0, "The time in seconds that a request waits for its commit before it is answered 503.", low=0.1, high=300
    )
    drain_timeout: float = _setting(
        10.0,
        "The time in seconds that the server has, after SIGTERM, to finish requests and close connections.",
        low=0,
        high=600,
    )
    daily_limit: int = _setting(
        Limits.daily_limit,
        "The most notifications that one user gets in one day, so that people are not flooded. The rest is summed up "
        "in one notification.",
        low=1,
        high=1_000_000_000,
    )
    critical_beyond_limit: bool = _setting(
        Limits.critical_beyond_limit,
        "If this is true, CRITICAL notifications are sent even when daily_limit is reached, so that an approval or a "
        "missed deadline is never held back.",
    )
    collapse_bursts: bool = _setting(
        Limits.collapse_bursts,
        "If this is true, a notification replaces the user's unread notification of the same type and job, and shows "
        "how many it stands for.",
    )
    history_days: int = _setting(
        7,
        "The number of days for which clients that come back get exactly what they missed. Changes, and notifications"
        " that have left an inbox, are purged after that.",
        low=1,
        high=3650,
    )
    event_days: int = _setting(
        30,
        "The number of days for which domain events and their idempotency keys are kept. At least 30 are needed, "
        "because keys are promised for that long.",
        low=30,
        high=3650,
    )
    suppression_days: int = _setting(
        30, "The number of days for which an admin can look up why somebody was not notified.", low=1, high=3650
    )
    emit_rate: float = _setting(
        20.0,
        "The most commands a second that one person may send over a longer time: events that are emitted and requests "
        "that change something, of all devices and tokens together. A person clicks less often.",
        low=0.1,
        high=1_000_000,
    )
    emit_burst: int = _setting(
        60,
        "The most commands that one person may send at once, for example when a page catches up after a lost "
        "connection.",
        low=1,
        high=1_000_000,
    )
    read_rate: float = _setting(
        50.0,
        "The most reads a second that one person may make over a longer time: lists, counts, jobs and connects, of all "
        "devices and tokens together.",
        low=0.1,
        high=1_000_000,
    )
    read_burst: int = _setting(
        200,
        "The most reads that one person may make at once. Fifty tabs that come back after a restart of the server fit.",
        low=1,
        high=1_000_000,
    )
    post_rate: float = _setting(
        10_000.0,
        "The most events a second that one backend may post over a longer time, with all its tokens and from all its "
        "addresses. A backend is that of a tenant or that of the installation. The default is about what one processor "
        "core can commit.",
        low=0.1,
        high=1_000_000,
    )
    post_burst: int = _setting(
        20_000, "The most events that one backend may post at once. Twenty full batches fit.", low=1, high=10**9
    )

    replay_limit: int = _setting(
        1000,
        "The most missed changes that a returning client gets one by one. A client that missed more is told to load "
        "the inbox again, which is quicker then.",
        low=1,
        high=100_000,
    )
    busy_timeout: float = _setting(
        BUSY_TIMEOUT,
        "The time in seconds that the server waits for a database that another process has locked.",
        low=0,
        high=300,
    )

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "jwt_secret"}
        return f"Settings({shown})"


def environment_name(name: str) -> str:
    """The name of a setting in the environment."""
    field = _FIELDS[name]
    return str(field.metadata["env"]) or f"DJACTORS_{name.upper()}"


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
    try:
        TrustedProxies(settings.trusted_proxies)
    except ValueError as error:
        raise SettingError(
            f"{environment_name('trusted_proxies')}: {str(error)[:_SHOWN]}: write addresses or networks like 10.0.0.0/8"
        ) from None
    for network in settings.metrics_addresses:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise SettingError(
                f"{environment_name('metrics_addresses')}: {network[:_SHOWN]!r} is no network: write it like 10.0.0.0/8"
            ) from None
    for origin in settings.allowed_origins:
        try:
            OriginPolicy([origin])
        except ValueError as error:
            raise SettingError(f"{environment_name('allowed_origins')}: {origin[:_SHOWN]!r} {error}") from None
    for name in ("host", "database"):
        if not getattr(settings, name):
            raise SettingError(f"{environment_name(name)}: is empty: name one, or leave the setting out")


def check_proxies(settings: Settings) -> None:
    """Refuse to expect headers of the PROXY protocol from nobody.

    Raises:
        SettingError: `proxy_protocol` is on, and no proxy is trusted.
    """
    if settings.proxy_protocol and not settings.trusted_proxies:
        raise SettingError(
            f"{environment_name('proxy_protocol')}: is on, but no proxy is trusted: name the proxies in "
            f"{environment_name('trusted_proxies')}"
        )


def check_keys(settings: Settings) -> None:
    """Refuse to serve without a way to verify tokens.

    Raises:
        SettingError: there is neither a secret nor a public key, or the secret is too short or easy to guess.
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
