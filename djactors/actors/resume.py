"""From where a returning client goes on: what it says in its CONNECT. Whether the log leads on from there is the log's.

Rules:
  * `pid` and `offset` come from a stock client that this database once answered with the pid; they beat `since`, which
    an application keeps itself. A client that wants no offsets has no use for a pid.
  * Nothing that a client says here is an error: what cannot be resumed from is answered with `changes:reset`.

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
        since: the offset up to which it has everything; None where it named no point at all.
        pid: the pid it proved to have been given. Its older socket, should one be left, is superseded.
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
        # Cut off before its first event, it has its pid only.
        return Resume(issued.at, pid)
    offset = offset_of(text)
    # An older offset is one from before the pid: of an earlier connection, since when the client was told to reload.
    return Resume(None if offset is None or offset.seq < issued.at.seq else offset, pid)
