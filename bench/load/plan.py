"""What the load process is told on stdin, and what it answers on stdout; both one JSON document."""

from typing import Literal

import msgspec

Event = Literal["notification.requested", "job.assigned"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run. `rate` is events a second, posted at fixed distances whatever the server does.

    `recovery` is what the users say in their handshake: whether each event shall carry an offset.
    """

    host: str
    port: int
    secret: str
    server_pid: int
    users: int
    connecting_users: int
    events: list[Event]
    rate: float
    seconds: float
    warmup_seconds: float
    publishers: int
    recovery: bool


class Phase(msgspec.Struct, kw_only=True):
    """One kind of event at the full rate. Seconds; every latency counts from when its post was due."""

    event: Event
    posted: int
    sent_late: list[float]
    acknowledged: list[float]
    delivered: list[float]
    failures: dict[str, int]
    undelivered: int
    frames_received: int
    server_cpu_seconds: float
    load_cpu_seconds: float


class Result(msgspec.Struct, kw_only=True):
    """What was measured. `connected` are seconds from the common start of all to each one's CONNECT reply."""

    server_mib_idle: float
    server_mib_connected: float = 0.0
    server_mib_end: float = 0.0
    connected: list[float] = []
    connect_failures: int = 0
    connect_server_cpu_seconds: float = 0.0
    load_cpu_seconds: float = 0.0
    phases: list[Phase] = []
