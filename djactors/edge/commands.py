"""What clients emit: each Socket.IO event with its payload's shape and what becomes of it. The table of the contract.

A payload is checked like an HTTP body: unknown fields are refused, ids are in range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from djactors.domain.commands import Command, Delete, MarkAllRead, MarkRead
from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.events import Id


class _Payload(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of all payloads."""


class _One(_Payload, frozen=True):
    notification_id: Id


class _All(_Payload, frozen=True):
    user_id: Id | None = None


class Refresh(_Payload, frozen=True):
    """The payload of `auth:refresh`."""

    token: str


def _read(payload: _One, tenant_id: int, user_id: int) -> Command:
    return MarkRead(tenant_id, user_id, payload.notification_id)


def _read_all(payload: _All, tenant_id: int, user_id: int) -> Command:
    if payload.user_id not in (None, user_id):
        raise not_found()
    return MarkAllRead(tenant_id, user_id)


def _delete(payload: _One, tenant_id: int, user_id: int) -> Command:
    return Delete(tenant_id, user_id, payload.notification_id)


COMMANDS: Mapping[str, tuple[type[_Payload], Callable[[Any, int, int], Command]]] = {
    "notification:read": (_One, _read),
    "notification:read-all": (_All, _read_all),
    "notification:delete": (_One, _delete),
}
"""Events that are a command to the inbox."""

REFRESH = "auth:refresh"
"""The event with which a client hands in a fresh token."""


def command_of(name: str, args: Sequence[Any], tenant_id: int, user_id: int) -> Command:
    """The command that an emitted event is.

    Raises:
        Refused: `invalid`, for an unknown event or a payload of the wrong shape; `not_found`, for somebody else's id.
    """
    found = COMMANDS.get(name)
    if found is None:
        raise Refused(Code.INVALID, f"unknown event {name[:50]!r}")
    shape, make = found
    return make(payload_of(shape, args), tenant_id, user_id)


def payload_of(shape: type[Any], args: Sequence[Any]) -> Any:
    """The one payload of an event; an event without one, or with null, as `undefined` arrives, has an empty one.

    Raises:
        Refused: `invalid`, naming the field.
    """
    if len(args) > 1:
        raise Refused(Code.INVALID, "an event takes one payload")
    try:
        return msgspec.convert({} if not args or args[0] is None else args[0], shape)
    except msgspec.ValidationError as error:
        raise Refused(Code.INVALID, str(error)) from None
