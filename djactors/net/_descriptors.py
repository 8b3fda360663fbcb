"""Descriptors: how many a process may have open, and how a listener shares out what is left.

Each connection is one. The database, its journal, the log and the certificates need some beside them, and so do the
connections over the caps, by which a health probe is still answered. Where descriptors are short, all three get less:
a server that has none to spare would stop answering, and would look dead to whoever watches it.
"""

import os
import resource
from contextlib import suppress
from typing import Final, NamedTuple

RESERVED: Final = 64
"""Descriptors left for the database, its journal, logs, certificates and standard streams."""

OVERFLOW: Final = 64
"""Over the caps this many connections are still heard, shortly: to answer a health probe, and to tell others 503."""

IN_USE: Final = 64
"""Descriptors that a server has open before the first connection comes, and some to spare; about 25 were counted."""

_UNLIMITED: Final = 2**31


class Shares(NamedTuple):
    """What the connections within the caps, and those over them, may have of the descriptors."""

    connections: int
    overflow: int


def share_out() -> Shares:
    """Share out what is left now, under the limit that is in force."""
    in_use = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else IN_USE
    spare = _limit() - in_use
    # A quarter each where there are too few for everybody.
    reserved, overflow = min(RESERVED, spare // 4), min(OVERFLOW, max(1, spare // 4))
    return Shares(max(1, spare - reserved - overflow), overflow)


def raise_descriptor_limit() -> None:
    """Raise the process's own limit to the highest that it may have.

    The lower limit, usually 1024, is only there for programs that use `select`.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptor_shortage(max_connections: int, *, raised: bool = False) -> str | None:
    """What is wrong with the limit for so many connections, and the mend; None if it is high enough.

    Args:
        max_connections: how many there are to be.
        raised: whether to judge the limit as `raise_descriptor_limit` would make it.
    """
    needed, limit = max_connections + IN_USE + RESERVED + OVERFLOW, _limit(raised=raised)
    if needed <= limit:
        return None
    return (
        f"{max_connections} connections need {needed} file descriptors, and this process may have {limit}: raise the "
        "limit, with LimitNOFILE in systemd or `ulimit -n` in a shell"
    )


def _limit(*, raised: bool = False) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if raised else soft
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit
