"""What the load process is told on stdin, and what it answers on stdout: a JSON document a line, one answer a command.

Times are seconds. A latency in a `Phase` counts from when its post was due: in a paced phase by the clock, in a flood
from when its producer was free, so what the server stalls is never left out.
"""

from typing import Literal

import msgspec

from bench.usage import Memory

Event = Literal["notification.requested", "job.assigned"]
Dialect = Literal["socket.io", "plain"]
"""How users speak: Socket.IO, or as mere WebSocket subscribers at ``/sub/USER`` (nchan)."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A server under test. `processes` names the roots of the process trees whose use is reported.

    `post_port` is where producers post, if that is another node than the one that users connect to. Everything that the
    load does is in the tenant `tenant`.
    """

    name: str
    host: str
    port: int
    secret: str
    processes: dict[str, int]
    dialect: Dialect = "socket.io"
    post_port: int | None = None
    tenant: int = 1


class Know(msgspec.Struct, frozen=True, tag=True):
    """Publish users 1 to `users`, and so many more jobs for `job.assigned`. Answered by `Done`."""

    users: int
    jobs: int = 0


class Connect(msgspec.Struct, frozen=True, tag=True):
    """Connect these users, so many at once. They stay. Answered by `Connected`."""

    first: int
    count: int
    at_once: int
    recovery: bool = True
    settle_seconds: float = 0.0
    """Before the memory is looked at."""


class Leave(msgspec.Struct, frozen=True, tag=True):
    """Close every user's connection. Answered by `Done`."""


class Pace(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Open loop: post at fixed times whatever the server does, to the connected users in turn. Answered by `Phase`."""

    event: Event
    rate: float
    seconds: float
    warmup_seconds: float
    producers: int


class Flood(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Closed loop: each producer posts again once it is answered, until the time is up. Answered by `Phase`.

    `batch` 1 posts single events; `count` ends it early, after so many events.
    """

    event: Event
    producers: int
    batch: int
    seconds: float
    count: int | None = None


class Miss(msgspec.Struct, frozen=True, tag=True):
    """Users 1 to `users` connect, leave, and are notified `missed` times each. Answered by `Done`."""

    users: int
    missed: int


class Return(msgspec.Struct, frozen=True, tag=True):
    """Those who left with `Miss` come back at once, and leave again once they have all. Answered by `Returned`."""


class During(msgspec.Struct, frozen=True, tag=True):
    """How the posts of the newest `Pace` were served that were due in this time. Answered by `Felt`.

    The times are those of the machine's monotonic clock, which is the same in all processes.
    """

    since: float
    until: float


class Rest(msgspec.Struct, frozen=True, tag=True):
    """Do nothing but answer pings for so long. Answered by `Rested`."""

    seconds: float


class Mix(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Everything that people do, at once and at these rates a second; see `mix.py`. Answered by `Mixed`.

    The users after those that are connected, as many as `movers`, come and go; they are connected by the first `Mix`.
    """

    seconds: float
    rate: float
    assigned_rate: float
    move_rate: float
    movers: int
    producers: int


class Ask(msgspec.Struct, frozen=True, tag=True):
    """GET a path as one user, one request after the other, `times` times. Answered by `Answered`."""

    path: str
    user: int
    times: int


Command = Know | Connect | Leave | Pace | Flood | Miss | Return | During | Rest | Mix | Ask


class Use(msgspec.Struct, frozen=True):
    """CPU seconds between two moments: of each process tree of the target, and of the load itself."""

    seconds: float
    cpu: dict[str, float]
    load: float

    @property
    def total(self) -> float:
        """Of the whole target."""
        return sum(self.cpu.values())


class Done(msgspec.Struct, tag=True):
    """It is done."""


class Failed(msgspec.Struct, tag=True):
    """The server did not play along; what it did instead."""

    reason: str


class Connected(msgspec.Struct, tag=True, kw_only=True):
    """`seconds` from each one's start to its CONNECT reply; `memory` by process, before and after."""

    seconds: list[float]
    failures: dict[str, int]
    use: Use
    before: dict[str, Memory]
    after: dict[str, Memory]


class Phase(msgspec.Struct, tag=True, kw_only=True):
    """What came of posting. `posted` counts events, `posts` requests; an acknowledgement is a request's.

    `delivered` has a time for each event: when its notification was at the user and, where it is told to everybody, at
    the last of them. `faults` says what was lost, doubled, refused or wrong; a sound server has none.
    """

    event: Event
    posted: int
    posts: int
    sockets: int
    sent_late: list[float]
    acknowledged: list[float]
    delivered: list[float]
    faults: dict[str, int]
    messages: int
    use: Use


class Felt(msgspec.Struct, tag=True):
    """Latencies of posts, until they were answered and until they had arrived."""

    acknowledged: list[float]
    delivered: list[float]


class Returned(msgspec.Struct, tag=True, kw_only=True):
    """`caught_up`: seconds from the common start until a client had all that it missed.

    `recovered` were given their pid back. `began` is the start, by the machine's monotonic clock.
    """

    caught_up: list[float]
    recovered: int
    replayed: int
    faults: dict[str, int]
    use: Use
    began: float


class Rested(msgspec.Struct, tag=True):
    """What doing nothing cost."""

    use: Use
    users: int


class Mixed(msgspec.Struct, tag=True, kw_only=True):
    """`notified` and `told` are of those who stay. Of the movers: `paged`, how long a page of the inbox took;
    `returned`, seconds from the start of the connection until it had what was missed."""

    notified: Phase
    told: Phase
    moves: int
    posts: int
    paged: list[float]
    returned: list[float]
    faults: dict[str, int]
    use: Use


class Answered(msgspec.Struct, tag=True):
    """Seconds of each request, and what they cost."""

    seconds: list[float]
    use: Use


Result = Done | Failed | Connected | Phase | Felt | Returned | Rested | Mixed | Answered
