"""A queue that is served in turns: whoever has put much into it keeps nobody else waiting.

Rules:
  * Each item belongs to a *turn*: a group and a member of it, such as a tenant and one of its users. The groups are
    served one after the other, an item each, and so are the members within a group.
  * Whoever comes anew goes before the one that was served last, even if that one was alone until then.
  * What belongs to one turn is served in the order in which it came.
  * Whoever uses the queue bounds how much waits: `waiting` and `waiting_in` say how much it is.

Nothing here waits, and everything happens on one thread. Taking an item costs about a microsecond whatever waits.

Source: "Fair Queueing" (J. Nagle, RFC 970), in two levels, with an item as the unit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
V = TypeVar("V")

Turn: TypeAlias = tuple[int, int]
"""A group and a member of it."""


class Turns(Generic[T]):
    """See the module for the rules."""

    __slots__ = ("_groups", "_length", "_lengths", "_served", "_served_of")

    def __init__(self) -> None:
        # The next group, and the next member of each group, come first.
        self._groups: OrderedDict[int, OrderedDict[int, deque[T]]] = OrderedDict()
        # How many items wait in each group, and in all.
        self._lengths: dict[int, int] = {}
        self._length = 0
        # The group that was served last, and the member of each group.
        self._served: int | None = None
        self._served_of: dict[int, int] = {}

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        """All that waits, in no particular order."""
        for members in self._groups.values():
            for items in members.values():
                yield from items

    def __contains__(self, item: object) -> bool:
        return any(each == item for each in self)

    def waiting(self, turn: Turn) -> int:
        """How many items wait for this turn."""
        group, member = turn
        members = self._groups.get(group)
        return 0 if members is None else len(members.get(member, ()))

    def waiting_in(self, group: int) -> int:
        """How many items wait for all turns of a group."""
        return self._lengths.get(group, 0)

    def add(self, turn: Turn, item: T) -> None:
        """Put an item behind the others of its turn. A turn that had none comes last."""
        self._items(turn).append(item)

    def give_back(self, turn: Turn, item: T) -> None:
        """Put an item that was taken back before the others of its turn, which is the next one then."""
        self._served = None
        self._served_of.pop(turn[0], None)
        self._items(turn).appendleft(item)
        self._groups[turn[0]].move_to_end(turn[1], last=False)
        self._groups.move_to_end(turn[0], last=False)

    def take(self, besides: Collection[Turn] = ()) -> T:
        """Take the next item; its turn, and its group, come last then. The turns `besides` are passed over.

        Raises:
            LookupError: nothing waits, or only what is passed over.
        """
        group, member = self._next(besides)
        members = self._groups[group]
        self._served = group
        self._served_of[group] = member
        items = members[member]
        item = items.popleft()
        self._note_gone(group, member)
        if items:
            members.move_to_end(member)
        if members:
            self._groups.move_to_end(group)
        return item

    def remove(self, turn: Turn, item: T) -> None:
        """Take out an item whose turn has not come.

        Raises:
            ValueError: it does not wait.
        """
        if not self.waiting(turn):
            raise ValueError(f"nothing waits for {turn}")
        group, member = turn
        self._groups[group][member].remove(item)
        self._note_gone(group, member)

    def _next(self, besides: Collection[Turn]) -> Turn:
        for group in _in_turn(self._groups, self._served):
            for member in _in_turn(self._groups[group], self._served_of.get(group)):
                if (group, member) not in besides:
                    return group, member
        raise LookupError("nothing waits")

    def _items(self, turn: Turn) -> deque[T]:
        """The items of a turn, to which one is about to be added."""
        group, member = turn
        members = self._groups.get(group)
        if members is None:
            members = self._groups[group] = OrderedDict()
        items = members.get(member)
        if items is None:
            items = members[member] = deque()
        self._lengths[group] = self._lengths.get(group, 0) + 1
        self._length += 1
        return items

    def _note_gone(self, group: int, member: int) -> None:
        """An item of a turn was taken out: forget what is empty then."""
        self._length -= 1
        self._lengths[group] -= 1
        members = self._groups[group]
        if not members[member]:
            del members[member]
        if not members:
            del self._groups[group], self._lengths[group]
            self._served_of.pop(group, None)


def _in_turn(waiting: OrderedDict[int, V], served: int | None) -> Iterable[int]:
    """All in their order; the one that was served last is not the first unless it is alone."""
    if len(waiting) > 1 and next(iter(waiting)) == served:
        waiting.move_to_end(served)
    return waiting
