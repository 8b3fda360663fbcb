"""Reads over HTTP take turns: whoever sends many at once is told so, and nobody else notices."""

from collections import Counter
from pathlib import Path

import trio

from djactors.store.threads import TURN_LIMIT
from tests.edge.rooms import rooms

PATHS = ("/api/notifications", "/api/notifications/unread-count", "/api/jobs", "/api/changes?since=0", "/api/jobs/1")

CROWD = 5 * TURN_LIMIT


async def test_a14_a_person_whose_reads_pile_up_is_told_429_and_other_tenants_are_answered(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with rooms(tmp_path) as house:
        await house.introduce(1, 11, 12)
        await house.introduce(2, 11)
        answers: dict[str, Counter[int]] = {}

        async def read(who: str, tenant_id: int, user_id: int, path: str) -> None:
            answer = await house.request("GET", path, token=house.token(tenant_id, user_id))
            answers.setdefault(who, Counter())[answer.status] += 1
            if answer.status == 429:
                assert answer.error == "too_many_requests"
                assert answer.headers["retry-after"] == "1"

        for path in PATHS:
            answers.clear()
            async with trio.open_nursery() as nursery:
                for _ in range(CROWD):
                    nursery.start_soon(read, "crowd", 1, 11, path)
                nursery.start_soon(read, "colleague", 1, 12, path)
                nursery.start_soon(read, "other", 2, 11, path)
            # How many are told so depends on how fast the readers are meanwhile.
            assert answers["crowd"].total() == CROWD
            assert 0 < answers["crowd"][429] <= CROWD - TURN_LIMIT, path
            assert answers["colleague"].keys() <= {200, 404}, path
            assert answers["other"].keys() <= {200, 404}, path
