"""A pid proves whom it was given to: the tenant, the user, the database's epoch and the sequence number at its issue.

It is signed with a key that lives in the database, so it needs no table, outlives restarts, and says nothing to a
server with another database. A nonce makes it one socket's own. Source: the contract's section "Offsets and recovery".
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable

NONCE_BYTES = 9
MAC_BYTES = 18
"""144 bits: nobody guesses one."""


_PID = re.compile(
    r"(?P<claim>[A-Za-z0-9_=-]{12}\.(?P<tenant>[0-9]{1,16})\.(?P<user>[0-9]{1,16})\.(?P<epoch>[A-Za-z0-9_-]{1,32})"
    r"\.(?P<seq>[0-9]{1,16}))\.(?P<mac>[A-Za-z0-9_=-]{24})"
)


class PidIssuer:
    """Issues pids and knows its own again.

    Args:
        epoch: the database's mark.
        key: the database's secret.
        random_bytes: a source of randomness that cannot be foreseen.
    """

    def __init__(self, epoch: str, key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._epoch = epoch
        self._key = key
        self._random_bytes = random_bytes

    def issue(self, tenant_id: int, user_id: int, seq: int) -> str:
        """A new pid for a socket of this user, given out at this sequence number."""
        nonce = urlsafe_b64encode(self._random_bytes(NONCE_BYTES)).decode()
        claim = f"{nonce}.{tenant_id}.{user_id}.{self._epoch}.{seq}"
        return f"{claim}.{self._mac(claim)}"

    def verify(self, pid: object, tenant_id: int, user_id: int) -> int | None:
        """The sequence number at which a pid was given to a socket of this user; None if it never was.

        Whatever the client sent may be given: anything else than a pid of this database's and this user's is None.
        """
        match = _PID.fullmatch(pid) if isinstance(pid, str) else None
        # The MAC first: what is read from a claim that nobody signed says nothing.
        if match is None or not hmac.compare_digest(self._mac(match["claim"]), match["mac"]):
            return None
        if (int(match["tenant"]), int(match["user"]), match["epoch"]) != (tenant_id, user_id, self._epoch):
            return None
        return int(match["seq"])

    def _mac(self, claim: str) -> str:
        return urlsafe_b64encode(hmac.digest(self._key, claim.encode(), "sha256")[:MAC_BYTES]).decode()
