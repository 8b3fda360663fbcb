"""People as others look for them: plain functions of a connection, for `Database.read`.

Rules:
  * A list is in the order of the folded text that was found: of the whole name without a query, otherwise of the first
    of the words on (in that order) that begins with it.
  * A list is read as the names were when its first page was read. So nobody is on it twice, and nobody is missing,
    however names change between its pages. What is shown of a person is as of now. Who comes meanwhile may be on it.
  * The place that the next page goes on from, `Place`, can be sent to anybody: it says nothing that the page before did
    not, and a forged one shows other people of the same tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from djactors.domain import folding, names
from djactors.domain.errors import Code, Refused
from djactors.domain.events import Role
from djactors.domain.ids import MAX_ID
from djactors.domain.url_safe import from_url_safe, url_safe
from djactors.inbox.names import LIST_LIFE, WHOLE, WORDS
from djactors.store.connection import Connection

_HEAD = """SELECT n.text, n.user_id, u.name, u.role, u.deactivated_at IS NULL FROM people_names n
    JOIN users u ON u.tenant_id = n.tenant_id AND u.id = n.user_id
    WHERE n.tenant_id = :tenant AND n.part = :part AND (n.text, n.user_id) > (:text, :id)"""
_BELOW = "AND n.text < :above"
_THEN = "AND n.since <= :version AND (n.until IS NULL OR n.until > :version)"
# Only the first of a person's texts that begin with what is wanted, found by idx_people_names_user. "+" keeps SQLite
# from looking through the whole range instead: without statistics it takes that for the cheaper way.
_ONCE = """AND NOT EXISTS (SELECT 1 FROM people_names o WHERE o.tenant_id = n.tenant_id AND o.user_id = n.user_id
    AND +o.part = n.part AND o.text >= :wanted AND o.text < n.text
    AND o.since <= :version AND (o.until IS NULL OR o.until > :version))"""
_ORDER = "ORDER BY n.text, n.user_id LIMIT :limit"

# Served by the primary key of people_names, in its order.
SELECT_ALL = f"{_HEAD} {_THEN} {_ORDER}"
SELECT_FOUND = f"{_HEAD} {_BELOW} {_THEN} {_ONCE} {_ORDER}"
# Where no text is above: what is wanted consists of nothing but the last character of Unicode.
SELECT_LAST = f"{_HEAD} {_THEN} {_ONCE} {_ORDER}"
# The primary keys.
SELECT_VERSION = "SELECT names_version FROM tenants WHERE id = ?"
SELECT_NAME = "SELECT name FROM users WHERE tenant_id = ? AND id = ?"

HOT_QUERIES: Mapping[str, str] = MappingProxyType(
    {"people": SELECT_ALL, "people_found": SELECT_FOUND, "people_last": SELECT_LAST}
)
"""The statements of a page, by name."""


class Found(msgspec.Struct, frozen=True, rename="camel"):
    """A person on a list. `connected` is told by whoever knows it."""

    id: int
    name: str
    role: Role
    active: bool
    connected: bool | msgspec.UnsetType = msgspec.UNSET


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where the next page goes on: when and with which names the list was begun, what is wanted, and who was last."""

    begun: int
    version: int
    rules: str
    wanted: str
    text: str
    user_id: int


class PeoplePage(msgspec.Struct, frozen=True):
    """A page of people. `next_before` is the `before` that gets the next page; None if this page is the last."""

    items: list[Found]
    next_before: str | None


_decoder = msgspec.json.Decoder(Place)


def page(
    connection: Connection, *, tenant_id: int, query: str, before: str | None, limit: int, now: float
) -> PeoplePage:
    """People of the tenant whose name, or a word of it, begins with the query; everybody if that is empty.

    Args:
        connection: a reader's.
        tenant_id: whose people.
        query: as somebody has typed it.
        before: the `next_before` of the page before; None for the first page.
        limit: the number of people on a page.
        now: Unix time, in seconds.

    Raises:
        Refused: `invalid`; `before` is of another list, or too old.
    """
    wanted = names.wanted(query)
    if before is None:
        row = connection.execute(SELECT_VERSION, (tenant_id,)).fetchone()
        # Nothing is before the empty text of user 0.
        place = Place(int(now), 0 if row is None else row[0], folding.RULES, wanted, wanted, 0)
    else:
        place = _place_of(before, wanted, now)
    above = names.above(wanted)
    statement = SELECT_ALL if not wanted else SELECT_LAST if above is None else SELECT_FOUND
    values = {
        "tenant": tenant_id,
        "part": WORDS if wanted else WHOLE,
        "wanted": wanted,
        "above": above,
        "version": place.version,
        "text": place.text,
        "id": place.user_id,
        "limit": limit + 1,
    }
    rows = connection.execute(statement, values).fetchall()
    items = [Found(user_id, name, role, bool(active)) for _, user_id, name, role, active in rows[:limit]]
    if len(rows) <= limit:
        return PeoplePage(items, None)
    text, user_id, *_ = rows[limit - 1]
    return PeoplePage(items, _before(msgspec.structs.replace(place, text=text, user_id=user_id)))


def names_of(connection: Connection, tenant_id: int, user_ids: Iterable[int]) -> dict[int, str]:
    """The names of the tenant's users who are known among these."""
    found: dict[int, str] = {}
    for user_id in user_ids:
        row = connection.execute(SELECT_NAME, (tenant_id, user_id)).fetchone()
        if row is not None:
            found[user_id] = row[0]
    return found


def _before(place: Place) -> str:
    return url_safe(msgspec.json.encode(place)).decode()


def _place_of(before: str, wanted: str, now: float) -> Place:
    try:
        place = _decoder.decode(from_url_safe(before.encode("ascii")))
    except (ValueError, msgspec.MsgspecError):
        raise Refused(Code.INVALID, "before: is not the nextBefore of a page of people: send that, or none") from None
    numbers = place.begun, place.version, place.user_id
    is_one = all(0 <= number <= MAX_ID for number in numbers) and _is_text(place.text)
    if not is_one or place.wanted != wanted or not place.text.startswith(wanted):
        raise Refused(Code.INVALID, "before: belongs to a list of another query: send it with that, or none")
    if place.rules != folding.RULES or not -60 <= now - place.begun <= LIST_LIFE.total_seconds():
        raise Refused(Code.INVALID, "before: its list was begun too long ago: send none, and begin anew")
    return place


def _is_text(text: str) -> bool:
    """Whether a text may have come from a row. PostgreSQL takes no NUL, and neither engine half a surrogate pair."""
    return len(text) <= names.MAX_TEXT and "\0" not in text and text.isprintable()
