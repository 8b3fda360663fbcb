"""GET /api/changes: what a client without a socket missed, page by page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from djactors.domain.commands import Delete, MarkAllRead, MarkRead, Publish, PurgeSlice
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.inbox.log import SLICE_BYTES
from djactors.store.errors import StoreUnavailable
from tests.edge.rooms import Answer, Rooms
from tests.offsets import invented, number_of

MARK = str(invented(1)).partition(".")[0]
NOTHING_KEPT = timedelta(0)
READ_AT = "2026-01-27T10:30:00.000000Z"


def note(user_id: int = 7, tenant_id: int = 1, message: str | None = None) -> Publish:
    return Publish(
        NotificationRequested(
            tenant_id=tenant_id,
            user_id=user_id,
            notification_type="note",
            priority="LOW",
            title=f"for {user_id}",
            message=message,
        )
    )


def job(tenant_id: int = 1) -> Publish:
    return Publish(JobCreated(tenant_id=tenant_id, title="Banner", requester_id=tenant_id * 1000))


async def ask(house: Rooms, query: str, *, tenant_id: int = 1, user_id: int = 7) -> Answer:
    return await house.request("GET", f"/api/changes{query}", token=house.token(tenant_id, user_id))


async def changes(house: Rooms, since: str, limit: int | None = None, **who: int) -> Any:
    answer = await ask(house, f"?since={since}" + ("" if limit is None else f"&limit={limit}"), **who)
    assert answer.status == 200, answer.body
    assert set(answer.json) == {"items", "offset", "reset"}
    return answer.json


async def paged(house: Rooms, since: str, limit: int | None = None, **who: int) -> list[list[Any]]:
    """The pages from an offset to the end, which is a page without items."""
    pages = []
    while True:
        page = await changes(house, since, limit, **who)
        assert page["reset"] is False
        pages.append(page["items"])
        if not page["items"]:
            assert page["offset"] == since
            return pages
        assert number_of(page["offset"]) >= number_of(page["items"][-1]["offset"]) > number_of(since)
        since = page["offset"]


def seqs(items: list[Any]) -> list[int]:
    return [number_of(item["offset"]) for item in items]


async def test_it_holds_what_sockets_were_sent_in_order_each_with_its_offset(house: Rooms) -> None:
    await house.store.record([note(), job()])
    await house.store.record([MarkRead(1, 7, 1), note(), MarkAllRead(1, 7), Delete(1, 7, 1)])
    page = await changes(house, house.at(0))
    assert (page["offset"], page["reset"]) == (house.at(6), False)
    assert [(item["offset"], item["event"]) for item in page["items"]] == [
        (house.at(1), "notification:new"),
        (house.at(2), "job:updated"),
        (house.at(3), "notification:read"),
        (house.at(4), "notification:new"),
        (house.at(5), "notification:read"),
        (house.at(6), "notification:deleted"),
    ]
    new, updated, read, _, read_all, deleted = [item["data"] for item in page["items"]]
    assert all(set(item) == {"offset", "event", "data"} for item in page["items"])
    assert new == {
        "id": 1,
        "type": "note",
        "priority": "LOW",
        "title": "for 7",
        "message": None,
        "data": None,
        "createdAt": READ_AT,
    }
    assert updated["job"]["title"] == "Banner"
    assert read == {"notificationIds": [1], "readAt": READ_AT}
    assert read_all == {"all": True, "readAt": READ_AT}
    assert deleted == {"notificationIds": [1]}


async def test_a_lists_offset_is_where_its_changes_begin(house: Rooms) -> None:
    await house.notify()
    listed = await house.inbox()
    assert (await changes(house, listed["offset"]))["items"] == []
    await house.notify()
    assert [item["data"]["id"] for item in (await changes(house, listed["offset"]))["items"]] == [2]


async def test_the_pages_lead_to_the_end_without_a_gap_or_a_repetition(house: Rooms) -> None:
    await house.store.record([command for _ in range(35) for command in (note(), note(8), job())])
    expected = [number for number in range(1, 106) if number % 3 != 2]
    for limit in (1, 7, 10, 69, 70, 71, 100):
        pages = await paged(house, house.at(0), limit)
        assert [number for page in pages for number in seqs(page)] == expected
        assert all(len(page) == limit for page in pages[:-2])
    assert [number for page in await paged(house, house.at(50), 10) for number in seqs(page)] == [
        number for number in expected if number > 50
    ]


async def test_what_happens_between_two_pages_comes_with_a_later_one(house: Rooms) -> None:
    await house.store.record([note() for _ in range(15)])
    first = await changes(house, house.at(0), 10)
    await house.store.record([note(8), job(), note()])
    pages = await paged(house, first["offset"], 10)
    assert [number for page in pages for number in seqs(page)] == [*range(11, 16), 17, 18]


async def test_a_page_of_large_changes_ends_early_and_leads_on(house: Rooms) -> None:
    await house.store.record([note(message="x" * 4000) for _ in range(150)])
    pages = await paged(house, house.at(0), 100)
    assert [number for page in pages for number in seqs(page)] == list(range(1, 151))
    assert 1 < len(pages[0]) < 100
    answer = await ask(house, f"?since={house.at(0)}&limit=100")
    assert len(answer.body) < SLICE_BYTES + 20_000


async def test_ten_thousand_changes_are_paged_to_the_end(house: Rooms) -> None:
    """However much is missing: only a socket, which is sent all of it at once, is told to reload instead."""
    for _ in range(20):
        await house.store.record([note() for _ in range(500)])
    pages = await paged(house, house.at(0))
    assert [len(page) for page in pages] == [100] * 100 + [0]
    assert [number for page in pages for number in seqs(page)] == list(range(1, 10_001))


async def test_nobody_elses_changes_are_seen(house: Rooms) -> None:
    await house.store.record([note(7), note(8), job(), note(9, 2), job(2), note(7)])
    for tenant_id, user_id, titles, last in ((1, 7, ["for 7"] * 2, 4), (1, 8, ["for 8"], 4), (2, 9, ["for 9"], 2)):
        page = await changes(house, house.at(0), tenant_id=tenant_id, user_id=user_id)
        new = [item["data"]["title"] for item in page["items"] if item["event"] == "notification:new"]
        assert new == titles
        assert page["offset"] == house.at(last, tenant_id)
    stranger = await changes(house, house.at(0), tenant_id=1, user_id=99)
    assert [item["event"] for item in stranger["items"]] == ["job:updated"]


async def test_a_tenant_of_whom_nothing_is_known_has_no_changes(house: Rooms) -> None:
    page = await changes(house, house.at(0), tenant_id=5, user_id=50)
    assert page == {"items": [], "offset": house.at(0), "reset": False}


# What is refused, and what is told to reload


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "ten", "", "1e2", "٣", "9" * 30])
async def test_a_limit_is_a_whole_number_up_to_a_hundred(house: Rooms, limit: str) -> None:
    answer = await ask(house, f"?since={house.at(0)}&limit={limit}")
    assert (answer.status, answer.error) == (400, "invalid")


@pytest.mark.parametrize("query", ["", "?limit=10", "?since=.0&until=.0", "?since=.0&userId=8"])
async def test_the_offset_is_needed_and_other_parameters_are_not_known(house: Rooms, query: str) -> None:
    answer = await ask(house, query)
    assert (answer.status, answer.error) == (400, "invalid")


async def test_a_token_is_needed(house: Rooms) -> None:
    answer = await house.request("GET", f"/api/changes?since={house.at(0)}")
    assert answer.status == 401
    answer = await house.request("GET", f"/api/changes?since={house.at(0)}", token=house.service(1))
    assert answer.status in (401, 403)


@pytest.mark.parametrize(
    "since",
    ["", "0", "2", "x", "another.2", MARK, f"{MARK}.", ".2", ".", f"{MARK}.-1", str(invented(2)), str(invented(4)),
     str(invented(9_999_999_999_999_999)), f"{MARK}.99999999999999999", f"{MARK}.0", f"{MARK}.02", f"{MARK}.2.2",
     f"{MARK}.²", f"{MARK}.٣", "x" * 50_000],
    ids=lambda since: since[:30],
)  # fmt: skip
async def test_an_offset_that_leads_nowhere_is_answered_with_where_to_go_on_after_reloading(
    house: Rooms, since: str
) -> None:
    await house.store.record([note(), note(8), note()])
    assert await changes(house, since) == {"items": [], "offset": house.at(3), "reset": True}


async def test_history_that_was_purged_is_told_to_reload(house: Rooms) -> None:
    await house.store.record([note() for _ in range(10)])
    page = await changes(house, house.at(0), 4)
    await house.store.record([PurgeSlice("changes", NOTHING_KEPT, 6)])
    assert await changes(house, page["offset"]) == {"items": [], "offset": house.at(10), "reset": True}
    assert seqs((await changes(house, house.at(6)))["items"]) == [7, 8, 9, 10]
    await house.store.record([PurgeSlice("changes", NOTHING_KEPT, 100)])
    assert await changes(house, house.at(10)) == {"items": [], "offset": house.at(10), "reset": False}


async def test_a_store_that_is_busy_is_unavailable_and_not_a_reset(house: Rooms) -> None:
    house.store.error = StoreUnavailable("the disk is slow")
    answer = await ask(house, f"?since={house.at(0)}")
    assert answer.status == 503
