"""Judges sessions that had to end: nothing that was posted afterwards may reach them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.history.findings import Finding
from tests.history.records import Answered, Barred, Connected, History, Opened, Received, Sent


def judge_barred(history: History) -> Iterator[Finding]:
    """Rule "isolation", for histories whose records are in the order in which they happened between devices as well."""
    posted: dict[tuple[int, str], int] = {}
    # Where an old database was put back, an id may have been given to several.
    posted_as: dict[tuple[int, int], set[int]] = defaultdict(set)
    for place, record in enumerate(history):
        match record:
            case Sent():
                posted.setdefault((record.tenant_id, record.key), place)
            case Answered():
                for entry in record.body.get("notifications", ()):
                    posted_as[record.tenant_id, entry["id"]].add(posted.get((record.tenant_id, record.key), -1))
    devices: dict[str, Opened] = {}
    barred: dict[str, int] = {}
    for place, record in enumerate(history):
        match record:
            case Opened():
                devices[record.device] = record
            case Connected():
                barred.pop(record.device, None)
            case Barred():
                for name, opened in devices.items():
                    is_theirs = (opened.tenant_id, opened.user_id) == (record.tenant_id, record.user_id)
                    if is_theirs and record.device in (None, name):
                        barred.setdefault(name, place)
            case Received(event="notification:new") if record.device in barred:
                opened, since = devices[record.device], barred[record.device]
                places = posted_as.get((opened.tenant_id, record.data["id"]))
                if places and min(places) > since:
                    text = f"was told of {record.data['id']}, which was posted after its session had to end"
                    yield Finding("isolation", f"{record.device} (user {opened.user_id})", text)
