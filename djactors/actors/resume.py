"""From where a returning client goes on: what it says in its CONNECT, checked against this database and this user.

Rules:
  * `pid` and `offset` come from a stock client that this server once answered with the pid; they beat `since`, which
    an application keeps itself. A client that wants no offsets has no use for a pid.
  * Nothing that a client says here is an error: what cannot be resumed from is answered with `changes:reset`.

Source: the contract's section "Offsets and recovery".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from djactors.actors.pid import PidIssuer

_OFFSET = re.compile(r"(?P<epoch>[A-Za-z0-9_-]{1,32})\.(?P<seq>[0-9]{1,16})")


class Resume(msgspec.Struct, frozen=True):
    """The point that a client named.

    Attributes:
        since: the sequence number up to which it has everything; None where it named no point of this history.
        pid: the pid it proved to have been given. Its older socket, should one be left, is superseded.
    """

    since: int | None
    pid: str | None = None


def resume_of(
    auth: Mapping[str, Any], tenant_id: int, user_id: int, *, recovery: bool, epoch: str, pids: PidIssuer
) -> Resume | None:
    """What the `auth` of a CONNECT asks for; None for a client that begins anew."""
    pid = auth.get("pid") if recovery else None
    if pid is None:
        since = auth.get("since")
        return None if since is None else Resume(seq_of(since, epoch))
    issued = pids.verify(pid, tenant_id, user_id)
    if issued is None:
        return Resume(None)
    offset = auth.get("offset")
    if offset is None and not issued.reload:
        # Cut off before its first event, it has its pid only.
        return Resume(issued.seq, pid)
    seq = seq_of(offset, epoch)
    # An older offset is one from before the pid: of an earlier connection, since when the client was told to reload.
    return Resume(None if seq is None or seq < issued.seq else seq, pid)


def seq_of(offset: object, epoch: str) -> int | None:
    """The sequence number of an offset of this epoch; None for anything else."""
    match = _OFFSET.fullmatch(offset) if isinstance(offset, str) else None
    return int(match["seq"]) if match is not None and match["epoch"] == epoch else None
