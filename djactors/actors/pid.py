"""A pid proves whom it was given to: the tenant, the user, and the offset at its issue.

A pid is signed with a key that is kept in the database. So pids need no table, outlive restarts, and mean nothing to a
server with another database. A copy of the database has the same key, so the client's offset, or else the offset in the
pid, says which past the client knows. A nonce makes each pid belong to one socket. A pid also says whether its socket
was told to reload, because the client may have been cut off before it heard so. Source: the contract's section "Offsets
and recovery".
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from djactors.domain.marks import TEXT, Offset, offset_of
from djactors.domain.seals import MAC, is_mac_of, mac_of
from djactors.domain.url_safe import url_safe

NONCE_BYTES = 9


_PID = re.compile(
    r"(?P<claim>[A-Za-z0-9_=-]{12}\.(?P<tenant>[0-9]{1,16})\.(?P<user>[0-9]{1,16})"
    rf"\.(?P<at>{TEXT})(?P<reload>r?))\.(?P<mac>{MAC})"
)


class Issue(msgspec.Struct, frozen=True):
    """What a pid says of the moment at which it was given out.

    Attributes:
        at: the socket is told everything that comes after this offset.
        reload: the client was told to reload, because it did not have everything before the offset.
    """

    at: Offset
    reload: bool


class PidIssuer:
    """Issues pids and knows its own again.

    Args:
        key: the database's secret.
        random_bytes: a source of randomness that cannot be foreseen.
    """

    def __init__(self, key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._key = key
        self._random_bytes = random_bytes

    def issue(self, tenant_id: int, user_id: int, at: Offset, *, reload: bool = False) -> str:
        """A new pid for a socket of this user, given out at this offset, with the word to reload or not."""
        nonce = url_safe(self._random_bytes(NONCE_BYTES)).decode()
        claim = f"{nonce}.{tenant_id}.{user_id}.{at}{'r' if reload else ''}"
        return f"{claim}.{mac_of(self._key, claim)}"

    def verify(self, pid: object, tenant_id: int, user_id: int) -> Issue | None:
        """What a pid says, or None if it was never given to a socket of this user.

        `pid` may be whatever the client sent.
        """
        match = _PID.fullmatch(pid) if isinstance(pid, str) else None
        # The MAC is checked first, because a claim that is not signed must not be read.
        if match is None or not is_mac_of(self._key, match["claim"], match["mac"]):
            return None
        at = offset_of(match["at"])
        if at is None or (int(match["tenant"]), int(match["user"])) != (tenant_id, user_id):
            return None
        return Issue(at, match["reload"] != "")
