"""Deliberate bugs of who may be here, and of what is left of who may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec

from djactors.actors.users import Users
from djactors.edge import api, auth, gateway
from djactors.edge.errors import TooManyRequests
from djactors.edge.gateway import Gateway
from djactors.inbox import erasure
from tests.simulation.instead import instead


@contextmanager
def _judging_otherwise(in_force: Any) -> Iterator[None]:
    with instead(gateway, "in_force", in_force), instead(api, "in_force", in_force):
        yield


def keep_whom_was_signed_out() -> AbstractContextManager[None]:
    """Sockets that are open stay open when their person is signed out."""
    original = Users._take_in

    def take_in(self: Users, accounts: Any) -> None:
        original(self, {key: msgspec.structs.replace(each, signed_out_at=None) for key, each in accounts.items()})

    return instead(Users, "_take_in", take_in)


def believe_tokens_from_before_a_sign_out() -> AbstractContextManager[None]:
    """A sign-out ends the sockets, and their clients come back with the same token."""

    def in_force(proved: Any, account: Any) -> Any:
        return auth.in_force(proved, msgspec.structs.replace(account, signed_out_at=None))

    return _judging_otherwise(in_force)


def keep_to_the_role_in_the_token() -> AbstractContextManager[None]:
    """Whom the tenant gave another role has the one in their token until it expires."""

    def in_force(proved: Any, account: Any) -> Any:
        return auth.in_force(proved, msgspec.structs.replace(account, role=None))

    return _judging_otherwise(in_force)


def keep_whose_token_has_expired() -> AbstractContextManager[None]:
    """A socket stays open however long ago its token has expired."""
    original = Gateway._check_expiry

    def check_expiry(self: Gateway, socket: Any, member: Any) -> None:
        if member.expires_at > self._services.now().timestamp():
            original(self, socket, member)

    return instead(Gateway, "_check_expiry", check_expiry)


def answer_a_flood_as_if_it_were_done() -> AbstractContextManager[None]:
    """A command that comes too fast is acknowledged, and not carried out."""
    original = Gateway._fail

    def fail(self: Gateway, socket: Any, event: Any, error: Exception) -> None:
        if isinstance(error, TooManyRequests):
            self._acknowledge(socket, event, {"count": 0, "unseen": 0})
        else:
            original(self, socket, event, error)

    return instead(Gateway, "_fail", fail)


def erase_and_leave_an_inbox() -> AbstractContextManager[None]:
    """Whoever is erased keeps the rows of their notifications."""
    return instead(erasure, "DELETE_NOTIFICATION", "DELETE FROM notifications WHERE id = ? AND id < 0")


def erase_and_leave_the_log() -> AbstractContextManager[None]:
    """Whoever is erased is still told of in the log."""

    def purge(*_: Any) -> None:
        pass

    return instead(erasure, "purge", purge)
