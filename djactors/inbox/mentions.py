"""Finds whom a comment mentions: those whom the event names by id, and those whom the text names."""

from __future__ import annotations

from djactors.domain.mentions import MAX_MENTIONS, mentions_in
from djactors.domain.names import MAX_TEXT
from djactors.inbox.names import WHOLE
from djactors.inbox.unit import UnitOfWork

# Served by the primary keys. Two rows tell that a name is not unique.
SELECT_NAMED = """SELECT u.id FROM people_names n JOIN users u ON u.tenant_id = n.tenant_id AND u.id = n.user_id
    WHERE n.tenant_id = ? AND n.part = ? AND n.text = ? AND n.until IS NULL AND u.deactivated_at IS NULL LIMIT 2"""


def mentioned(unit: UnitOfWork, tenant_id: int, text: str, named: tuple[int, ...]) -> tuple[int, ...]:
    """The people whom a text mentions, after those who are `named` by id: each once, at most `MAX_MENTIONS`.

    They are in the order of their ids, as a thread lists them.
    """
    people = dict.fromkeys([*named, *_in_text(unit, tenant_id, text)])
    return tuple(sorted([*people][:MAX_MENTIONS]))


def _in_text(unit: UnitOfWork, tenant_id: int, text: str) -> list[int]:
    """The active people of the tenant whom a text mentions by their names.

    Of the names that a mention may mean, the longest that somebody has is the one. If several people have it, the
    mention names nobody, and the event has to name the right one by id.
    """
    found: list[int] = []
    if "@" not in text:
        return found
    # Somebody may have got a name a moment ago.
    unit.flush()
    for names in mentions_in(text):
        for name in names:
            # Names that are longer may be stored alike up to here.
            if len(name) >= MAX_TEXT:
                continue
            people = unit.connection.execute(SELECT_NAMED, (tenant_id, WHOLE, name)).fetchall()
            if people:
                found += people[0] if len(people) == 1 else ()
                break
    return found
