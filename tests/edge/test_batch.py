"""The items of a batch reach the router in order, and none passes another one that the router had no room for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from djactors.domain.commands import Publish, Published
from djactors.domain.errors import Code, Refused
from djactors.domain.events import JobCompleted
from djactors.edge.batch import Batch
from djactors.kernel import MailboxFull


class Router:
    """A router whose mailbox is full now and then."""

    def __init__(self, *full_at: int) -> None:
        self._full_at = full_at
        self.asked: list[int] = []

    def request_nowait(self, command: Publish, settle: Callable[[Published], None]) -> None:
        assert isinstance(command.event, JobCompleted)
        number = command.event.job_id
        self.asked.append(number)
        if number in self._full_at:
            raise MailboxFull
        settle(Published(number, b'{"eventId":%d}' % number))


def publish(number: int) -> Publish:
    return Publish(JobCompleted(tenant_id=1, job_id=number), None)


async def test_no_item_passes_one_that_the_router_had_no_room_for() -> None:
    router, errors = Router(3), list[Exception]()
    batch = Batch(cast("Any", router), errors.append)
    batch.extend([publish(1), Refused(Code.INVALID, "bad"), publish(2)])
    batch.extend([publish(3), publish(4), Refused(Code.INVALID, "bad"), publish(5)])
    results = msgspec.json.decode(await batch.results(1))["results"]
    assert [result.get("eventId") or result["error"]["code"] for result in results] == [
        *(1, "invalid", 2),
        *("unavailable", "unavailable", "invalid", "unavailable"),
    ]
    assert router.asked == [1, 2, 3]
    assert len(errors) == 5
