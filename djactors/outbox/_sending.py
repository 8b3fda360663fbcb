"""Sends rows of an outbox in a request that the server takes, and judges what it says of each event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from djactors.client import ApiError, DjactorsError

if TYPE_CHECKING:
    # A program that only adds events imports no HTTP client.
    from djactors.client import Published

_IMPORTING = "tenant_importing"

_BUSY = frozenset({"too_many_requests", "unavailable", _IMPORTING, "unauthorized"})
"""Codes of one event's refusal that say nothing about the event."""

_NO_OBJECT = ApiError("invalid", "body: is no JSON object: it was not written by Outbox.add")

_any_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

_TOO_LARGE = 413
"""The one status of a proxy that an event can cause."""


class Sender(Protocol):
    """What events are sent with: `djactors.Client`."""

    def publish_json(self, bodies: Sequence[bytes]) -> Sequence[Published | DjactorsError]:
        """See `djactors.Client.publish_json`."""


class Row(msgspec.Struct, frozen=True):
    """What is read of an event that waits."""

    number: int
    tenant_id: int
    faults: int
    body: bytes


def send(client: Sender, rows: Sequence[Row]) -> list[tuple[Row, Published | DjactorsError]]:
    """Send the first of these rows in a request that the server takes; what became of each."""
    for place, row in enumerate(rows):
        if not _is_object(row.body):
            # Not even sent: in a list it could end the list, or be taken for two events.
            rows = rows[:place]
            if not rows:
                return [(row, _NO_OBJECT)]
            break
    while True:
        outcomes = client.publish_json([row.body for row in rows])
        if len(outcomes) == 1 or not _is_refused_request(outcomes[0]):
            return list(zip(rows, outcomes, strict=False))
        # One of them has the whole request refused. Half as many at a time, until that one is alone.
        rows = rows[: len(outcomes) // 2]


def _is_object(body: bytes) -> bool:
    try:
        _any_object.decode(body)
    except (ValueError, RecursionError):
        return False
    return True


def _is_refused_request(outcome: Published | DjactorsError) -> bool:
    """Whether a whole request was refused for what is in it, and not for its token, its address or a proxy."""
    return isinstance(outcome, ApiError) and (
        outcome.status == _TOO_LARGE or (outcome.status is not None and outcome.code == "invalid")
    )


def is_final(error: DjactorsError) -> bool:
    """Whether an event that has this error, alone in its request or by itself, would have it for ever."""
    if not isinstance(error, ApiError) or error.status is not None:
        return _is_refused_request(error)
    return error.code not in _BUSY and not is_fault(error)


def is_importing(fate: Published | DjactorsError) -> bool:
    """Whether an event has to wait until its tenant has been imported."""
    return isinstance(fate, ApiError) and fate.status is None and fate.code == _IMPORTING


def is_fault(error: DjactorsError) -> bool:
    """Whether the server failed on an event itself."""
    return isinstance(error, ApiError) and error.status is None and error.code == "internal"
