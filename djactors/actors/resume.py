"""Reads from a CONNECT where a returning client wants to go on. Whether the log leads on from there is for the log to
say.

Rules:
  * `pid` and `offset` come from a stock client that this database once answered with the pid; they beat `since`, which
    an application keeps itself. A client that wants no offsets has no use for a pid.
  * Nothing that a client says here is an error. If the client cannot be resumed, it gets `changes:reset`.

Source: the contract's section "Offsets and recovery".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from djactors.actors.pid import PidIssuer
from djactors.domain.marks import Offset, offset_of


class Resume(msgspec.Struct, frozen=True):
    """The point that a client named.

    Attributes:
        since: the offset up to which the client has everything; None if it named none.
        pid: the client's earlier pid, which was verified. If its older socket is still open, it is superseded.
    """

    since: Offset | None
    pid: str | None = None


def resume_of(
    auth: Mapping[str, Any], tenant_id: int, user_id: int, *, recovery: bool, pids: PidIssuer
) -> Resume | None:
    """What the `auth` of a CONNECT asks for; None for a client that begins anew."""
    pid = auth.get("pid") if recovery else None
    if pid is None:
        since = auth.get("since")
        return None if since is None else Resume(offset_of(since))
    issued = pids.verify(pid, tenant_id, user_id)
    if issued is None:
        return Resume(None)
    text = auth.get("offset")
    if text is None and not issued.reload:
        # A client that was cut off before its first event has only its pid.
        return Resume(issued.at, pid)
    offset = offset_of(text)
    # An older offset is one from before the pid: of an earlier connection, since when the client was told to reload.
    return Resume(None if offset is None or offset.seq < issued.at.seq else offset, pid)
