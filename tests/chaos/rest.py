"""The end of a run: each user gets a last notification, and every device is waited for until it shows that one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

import trio

from tests.chaos.device import Device
from tests.chaos.publisher import Publisher
from tests.chaos.requests import Way
from tests.history import History
from tests.history.records import Marked

Waiting: TypeAlias = list[tuple[Device, int, int]]
"""Devices, each with the id of the last notification that it has to show and the number of the change with it."""


async def send_last(devices: Collection[Device], ways: Mapping[str, Way], history: History) -> Waiting:
    """Send each user of the devices a last notification, by the way of the tenant's news."""
    waiting: Waiting = []
    for tenant_id, user_id in sorted({(device.plan.tenant_id, device.plan.user_id) for device in devices}):
        event = {
            "type": "notification.requested",
            "tenantId": tenant_id,
            "userId": user_id,
            "notificationType": "marker",
            "priority": "CRITICAL",
            "title": "the last one",
        }
        answer = await Publisher(tenant_id, ways[f"news-{tenant_id}"], history).post(f"marker-{user_id}", event)
        [entry] = answer["notifications"]
        history.add(Marked(tenant_id, user_id, entry["id"]))
        waiting += [(device, entry["id"], answer["seq"]) for device in devices if device.plan.user_id == user_id]
    return waiting


async def late_ones(waiting: Waiting, *, patience: float, look: float) -> list[str]:
    """Wait until every device shows its last notification, at most `patience` seconds; the names of those that do not.

    They are looked at every `look` seconds.
    """
    with trio.move_on_after(patience):
        while any(not device.has_shown(id_, seq) for device, id_, seq in waiting):
            await trio.sleep(look)
    return [device.plan.name for device, id_, seq in waiting if not device.has_shown(id_, seq)]


async def reload_all(devices: Collection[Device], *, patience: float) -> None:
    """Have every device load its list once more, for at most `patience` seconds."""
    with trio.move_on_after(patience):
        async with trio.open_nursery() as lists:
            for device in devices:
                lists.start_soon(device.reload)
