"""Puts the rules together: a history and a ledger in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.history.barred import judge_barred
from tests.history.device import DeviceJudge
from tests.history.findings import Finding, report
from tests.history.ledger import Ledger
from tests.history.records import Answered, Barred, History, Marked, Note, Opened, Sent
from tests.history.stored import judge_log, judge_stored

__all__ = ["Finding", "judge", "report"]


def judge(history: History, ledger: Ledger, lost: Sequence[Ledger] = ()) -> list[Finding]:
    """Everything that is wrong, empty if nothing is.

    `lost` is what the database held each time that an older copy was put in its place, the first time first.

    Raises:
        ValueError: the history itself is broken: a record of a device that was never opened.
    """
    pasts = [*lost, ledger]
    logs = [finding for past in pasts for finding in judge_log(past)]
    return [*logs, *judge_stored(history, pasts), *_judge_devices(history, pasts), *judge_barred(history)]


def _judge_devices(history: History, pasts: Sequence[Ledger]) -> Iterator[Finding]:
    judges: dict[str, tuple[Opened, DeviceJudge]] = {}
    markers: dict[tuple[int, int], int] = {}
    for record in history:
        match record:
            case Sent() | Answered() | Barred() | Note():
                pass
            case Marked():
                markers[record.tenant_id, record.user_id] = record.notification_id
            case Opened():
                judges[record.device] = record, DeviceJudge(record, pasts)
            case _:
                if record.device not in judges:
                    raise ValueError(f"{record.device} was never opened")
                yield from judges[record.device][1].take(record)
    for opened, device in judges.values():
        owner = (opened.tenant_id, opened.user_id)
        marker = None
        if owner in markers:
            marker = pasts[-1].view(*owner).brought.get(markers[owner])
            if marker is None:
                yield Finding("stored once", device.name, f"notification {markers[owner]} is not in the log")
        yield from device.finish(marker)
