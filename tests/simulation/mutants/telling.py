"""Deliberate bugs of what connected people are told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import msgspec

from djactors.actors import announcer as announcer_module
from djactors.actors import user as user_module
from djactors.actors.deliveries import Deliver, Outgoing
from djactors.actors.presence import Presence
from djactors.actors.user import UserActor
from djactors.actors.users import Users
from djactors.domain.commands import Recorded
from djactors.edge.gateway import Gateway
from djactors.engine import Session
from djactors.kernel import ActorStopped, MailboxFull
from tests.history.device import RESET
from tests.simulation.instead import instead


def tell_another_user() -> AbstractContextManager[None]:
    """With a person's own changes somebody else of the tenant who is connected is told of them."""
    original = announcer_module.sort_out

    def sort_out(changes: Any, present: dict[int, Presence]) -> tuple[dict[int, list[Outgoing]], Sequence[Outgoing]]:
        own, shared = original(changes, present)
        for user_id in sorted(own):
            for other in sorted(present):
                if other not in own:
                    own[other] = list(own[user_id])
                    return own, shared
        return own, shared

    return instead(announcer_module, "sort_out", sort_out)


def forget_what_a_full_mailbox_missed() -> AbstractContextManager[None]:
    """A delivery that does not fit into an actor's mailbox is dropped, and the actor is not told to look."""

    def tell(self: Users, presence: Presence, delivery: Deliver) -> None:
        if presence.stale or not (presence.sockets or presence.attaching):
            self._make_look(presence)
            return
        with suppress(MailboxFull, ActorStopped):
            presence.ref.tell_nowait(delivery)

    return instead(Users, "_tell", tell)


def tell_what_the_snapshot_had() -> AbstractContextManager[None]:
    """An actor at rest writes what it is told without a look at the number that it has come to."""

    def on_tell_at_rest(self: UserActor, message: Any) -> bool:
        presence = self._presence
        if type(message) is not Deliver or presence.stale or not message.changes:
            return False
        presence.at = max(presence.at, message.changes[-1].at, key=lambda at: at.seq)
        self._write(message, message.counts)
        return True

    return instead(UserActor, "on_tell_at_rest", on_tell_at_rest)


def keep_sockets_over_a_crash() -> AbstractContextManager[None]:
    """A user's sockets stay when their actor has crashed, and are told of what comes from then on."""
    original = Presence.disconnect

    def disconnect(self: Presence, reason: str) -> None:
        if reason not in ("actor_restarted", "actor_crashed"):
            original(self, reason)

    return instead(Presence, "disconnect", disconnect)


def forget_a_commit_that_was_not_told() -> AbstractContextManager[None]:
    """A router that crashed between a commit and its telling has nobody look."""

    def reread(_: Users) -> None:
        pass

    return instead(Users, "reread", reread)


def lose_what_waits_for_a_poll() -> AbstractContextManager[None]:
    """A session that goes over to its WebSocket leaves behind what waited for the next poll."""
    original = Session._switch

    def switch(self: Session) -> None:
        assert self.outbox is not None
        self.outbox.clear()
        original(self)

    return instead(Session, "_switch", switch)


def tell_another_tenant() -> AbstractContextManager[None]:
    """What everybody in a tenant is told, everybody in another one is told as well."""
    original = Users.deliver

    async def deliver(self: Users, recorded: Recorded, committed_at: float, number: int) -> None:
        await original(self, recorded, committed_at, number)
        for tenant_id, changes in recorded.changes.items():
            shared = [Outgoing(each.name, each.body, each.offset) for each in changes if each.user_id is None]
            for presence in self.presences() if shared else ():
                if presence.tenant_id != tenant_id:
                    self._tell(presence, Deliver(shared, None, committed_at, number))

    return instead(Users, "deliver", deliver)


def tell_in_another_order() -> AbstractContextManager[None]:
    """What several commits have brought one person is told with the newest first."""
    original = announcer_module.in_order

    def in_order(own: list[Outgoing], shared: Sequence[Outgoing]) -> list[Outgoing]:
        return list(reversed(original(own, shared)))

    return instead(announcer_module, "in_order", in_order)


def keep_to_oneself_what_was_archived() -> AbstractContextManager[None]:
    """A person's other devices are not told of what one of them has archived."""
    original = announcer_module.sort_out

    def sort_out(changes: Any, present: dict[int, Presence]) -> tuple[dict[int, list[Outgoing]], Sequence[Outgoing]]:
        return original((each for each in changes if each.name != "notification:archived"), present)

    return instead(announcer_module, "sort_out", sort_out)


def reset_without_a_word() -> AbstractContextManager[None]:
    """Who cannot be given what they missed is not told to begin anew."""
    original = user_module.encoded

    def encoded(outgoing: Sequence[Outgoing], *, stamped: bool) -> Any:
        return original([each for each in outgoing if each.name != RESET], stamped=stamped)

    return instead(user_module, "encoded", encoded)


def look_and_say_nothing() -> AbstractContextManager[None]:
    """An actor that reads the store because it missed something gives nobody what it finds."""
    original = UserActor._look

    async def look(self: UserActor) -> None:
        behind = {socket for socket, seat in self._presence.sockets.items() if seat.position is not None}
        await original(self)
        for socket, seat in self._presence.sockets.items():
            if socket not in behind:
                seat.position = None

    return instead(UserActor, "_look", look)


def skip_a_change_between_slices() -> AbstractContextManager[None]:
    """Of what comes in several slices the last change of each is left out."""
    original = UserActor._slice

    def slice_(self: UserActor, socket: Any, seat: Any, replay: Any) -> Any:
        if replay is not None and replay.position.seq < self._presence.at.seq:
            replay = msgspec.structs.replace(replay, packets=replay.packets[:-1])
        return original(self, socket, seat, replay)

    return instead(UserActor, "_slice", slice_)


def lose_acks_while_polling() -> AbstractContextManager[None]:
    """A command is carried out, and who gave it by polling hears nothing of that."""
    original = Gateway._acknowledge

    def acknowledge(self: Gateway, *args: Any) -> None:
        if self.session.transport != "polling":
            original(self, *args)

    return instead(Gateway, "_acknowledge", acknowledge)


def drop_what_overflows() -> AbstractContextManager[None]:
    """A session whose client is too slow stays, and what did not fit is dropped."""
    original = Session.send

    def send(self: Session, packets: Any) -> None:
        if self._carrier is not None:
            full = self._carrier.buffered > self._settings.outbox_bytes // 2
        else:
            full = self.outbox is not None and len(self.outbox.packets) + len(packets) > self.outbox._max_packets
        if not (full and self.proven):
            original(self, packets)

    return instead(Session, "send", send)
