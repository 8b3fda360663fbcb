"""The table of settings: what each one is, its bounds and its reason.

Where a setting is a bound of one room, the room has the default and the reason, and the setting refers to them, so that
each default stands once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from djactors.domain.limits import Limits
from djactors.engine import EngineSettings
from djactors.net import UNPROVEN_BYTES, ListenerLimits
from djactors.store.engines import shown
from djactors.store.sqlite.connections import BUSY_TIMEOUT

SHOWN = 60
"""The most characters of a wrong value that a message repeats."""


class SettingError(Exception):
    """A setting is wrong; the message is the one line that the person who started the program sees."""


def _setting(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    env: str = "",
    secret: bool = False,
) -> Any:
    metadata = {"doc": doc, "low": low, "high": high, "env": env, "secret": secret}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """Every setting with its default. Times are seconds, sizes bytes."""

    jwt_secret: str = _setting(
        "",
        "The secret with which tokens are signed and verified (HS256). It needs at least 32 bytes, so that nobody can"
        " guess it.",
        env="JWT_SECRET",
        secret=True,
    )
    jwt_secret_previous: str = _setting(
        "",
        "The secret that was JWT_SECRET before. While one is replaced by the other, tokens that are signed with either "
        "of them are taken.",
        secret=True,
    )
    jwt_public_key_file: str = _setting(
        "",
        "A PEM file with a public key. If it is set, tokens are verified with this key instead of the secret, by "
        "RS256, ES256 or EdDSA, depending on the kind of key.",
    )
    jwt_keys_file: str = _setting(
        "",
        "A file with several keys, in the form of a JWK Set. If it is set, tokens are verified with these keys instead "
        "of the secret; the kid of a token says with which one.",
    )
    jwt_issuer: str = _setting("", "If it is set, only tokens whose iss is this text are taken.")
    jwt_audience: str = _setting("", "If it is set, only tokens whose aud is this text, or has it, are taken.")
    jwt_max_age: float = _setting(
        0.0,
        "The time in seconds after its iat at which a token expires, even if its exp is later. 0 for no such time; "
        "otherwise a token without iat is refused.",
        low=0,
        high=10 * 365 * 86400,
    )
    probe_token: str = _setting(
        "",
        "The token with which `djactors probe` connects. Without it, the probe signs one with the secret of the "
        "settings, where there is one.",
        secret=True,
    )
    host: str = _setting(
        "127.0.0.1",
        "The address to listen on, or several, separated by commas; :: alone takes IPv4 as well. The default can be "
        "reached from this machine only.",
    )
    port: int = _setting(
        3000,
        "The port to listen on. With 0 the system picks a free port, and the server prints which one.",
        low=0,
        high=65535,
        env="SOCKET_PORT",
    )
    unix_socket: str = _setting(
        "",
        "The path of a Unix socket to listen on instead of host and port, for a proxy on this machine. Clients then "
        "have no address and count as one, unless trusted_proxies has the word unix.",
    )
    unix_socket_mode: str = _setting(
        "660", "The rights of the Unix socket, as chmod takes them in digits. Whoever may write to it may connect."
    )
    tls_cert: str = _setting(
        "",
        "A PEM file with the server's certificate, and behind it those that lead from it to the authority's. If it is "
        "set, the server speaks TLS (HTTPS) on its port, and nothing else.",
    )
    tls_key: str = _setting("", "The PEM file with the private key of tls_cert, without a password.")
    database: str = _setting(
        "djactors.db",
        "The SQLite file that holds all data, which is created if it does not exist; or the URL of a PostgreSQL "
        "database, such as postgresql://user@host/name, which several nodes share. Better put the password into "
        "`~/.pgpass`.",
    )
    database_limit: int = _setting(
        0,
        "The bytes that the database may take, where a quota or a plan sets a limit below the end of the disk. The "
        "server warns before it is reached. With 0, it warns before the disk of an SQLite file is full.",
        low=0,
        high=2**50,
    )
    upgrade_backup: str = _setting(
        "",
        "The folder for the copy of the SQLite file that is made before its schema is upgraded. If it is empty, the "
        "copy goes beside the file; with none, no copy is made.",
    )
    node: str = _setting(
        "",
        "What this server is called among those that serve the same PostgreSQL database, in the log and in the tree of "
        "actors. The server adds a part to it that is drawn anew at each start.",
    )
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
        "The addresses and networks of your reverse proxies, and unix for whoever comes by a Unix socket. For "
        "connections from them, the client's address is the rightmost one in X-Forwarded-For that is not a trusted "
        "proxy's. Separate them by commas. Never name networks from which clients connect directly, because such "
        "clients could then claim any address.",
    )
    proxy_protocol: bool = _setting(
        False,
        "If this is true, connections from trusted_proxies must begin with a header of version 2 of the PROXY protocol,"
        " which names the client. From all other addresses the header is refused.",
    )
    metrics_addresses: tuple[str, ...] = _setting(
        ("127.0.0.0/8", "::1/128"),
        "Only clients from these networks may read /metrics, because it shows how busy the installation is. Separate "
        "them by commas; 0.0.0.0/0,::/0 allows everybody, and unix whoever comes by a Unix socket.",
    )
    test_events: bool = _setting(
        False,
        "If this is true, a socket may create and assign jobs with the two test: events, so that a frontend can be "
        "tried without a backend.",
    )
    presence: bool = _setting(
        True,
        "If this is true, people see which others of their tenant are connected now.",
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
    unproven_bytes: int = _setting(
        UNPROVEN_BYTES,
        "The most bytes that the server holds for all clients together that have not proved who they are: unfinished "
        "requests and messages, and what they leave unread. Beyond that, those who hold most are refused.",
        low=2**16,
        high=2**34,
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
    notification_types_file: str = _setting(
        "",
        "A TOML file with the notification types of this installation: what differs from those that come with the "
        "server, and its own. It is read at the start.",
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
        "The time in seconds that the server waits for a database that another process has locked. On PostgreSQL it is "
        "the time for which a commit waits for another node, at most 2, for each of five tries.",
        low=0,
        high=300,
    )

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)
        told = {field.name: getattr(self, field.name) for field in fields if not field.metadata["secret"]}
        return f"Settings({told | {'database': shown(self.database)}})"


FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
"""The settings by name. The metadata has the `doc`, the bounds `low` and `high`, and whether it is a `secret`."""


def environment_name(name: str) -> str:
    """The name of a setting in the environment."""
    return str(FIELDS[name].metadata["env"]) or f"DJACTORS_{name.upper()}"
