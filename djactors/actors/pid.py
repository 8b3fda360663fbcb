"""A pid proves whom it was given to: the tenant, the user, the database's epoch and the sequence number at its issue.

It is signed with a key that lives in the database, so it needs no table, outlives restarts, and says nothing to a
server with another database. A nonce makes it one socket's own. Source: the contract's section "Offsets and recovery".
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable

NONCE_BYTES = 9
MAC_BYTES = 18
"""144 bits: nobody guesses one."""


class PidIssuer:
    """Issues pids.

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

    def _mac(self, claim: str) -> str:
        return urlsafe_b64encode(hmac.digest(self._key, claim.encode(), "sha256")[:MAC_BYTES]).decode()
