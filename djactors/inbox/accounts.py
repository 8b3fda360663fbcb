"""What the tenant says of a user beyond the user's token, as the table `users` has it: written and read here.

The role that `user.upserted` gives wins over a token's, a sign-out makes all tokens worthless that were issued before,
and a deactivation makes all tokens worthless until it is taken back. All of them are rows, so they hold over restarts
and on every node.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from djactors.domain.accounts import UNTOLD, Account
from djactors.domain.commands import SignedOut, SignOut
from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.permissions import Person
from djactors.inbox.rows import User
from djactors.inbox.unit import UnitOfWork
from djactors.store.connection import Connection
from djactors.store.errors import StoreInPart

# The primary keys.
SELECT_ACCOUNT = """SELECT t.importing, u.role, u.role_given, u.signed_out_at, u.deactivated_at
    FROM tenants t LEFT JOIN users u ON u.tenant_id = t.id AND u.id = ? WHERE t.id = ?"""


def account(connection: Connection, tenant_id: int, user_id: int) -> Account:
    """What the tenant says of a user; nothing of one who is not known.

    Raises:
        StoreInPart: the tenant is being imported.
    """
    row = connection.execute(SELECT_ACCOUNT, (user_id, tenant_id)).fetchone()
    if row is None:
        return UNTOLD
    if row[0]:
        raise StoreInPart(f"tenant {tenant_id} is being imported")
    return account_of(*row[1:])


def account_of(role: Any, role_given: object, signed_out_at: str | None, deactivated_at: str | None) -> Account:
    """An account of its columns."""
    if not role_given and signed_out_at is None and deactivated_at is None:
        return UNTOLD
    moment = None if signed_out_at is None else datetime.fromisoformat(signed_out_at).timestamp()
    return Account(role if role_given else None, moment, deactivated_at is None)


def in_office(unit: UnitOfWork, tenant_id: int, person: Person) -> Person:
    """A person with the role that the tenant gave them, at the very moment of the commit. A service stays a service.

    Raises:
        Refused: `unauthorized`; the person is deactivated.
    """
    user = unit.user(tenant_id, person.user_id)
    if user is not None and user.deactivated_at is not None:
        raise Refused(Code.UNAUTHORIZED, "the user is deactivated: ask an admin")
    if person.role == "service":
        return person
    if user is None or not user.role_given or user.role == person.role:
        return person
    return msgspec.structs.replace(person, role=user.role)


def give_role(unit: UnitOfWork, tenant_id: int, user_id: int, role: str) -> None:
    """Have a role win over the one in the user's tokens. The user is known."""
    user = unit.ensure_user(tenant_id, user_id)
    if user.role != role or not user.role_given:
        user.role, user.role_given = role, True
        _changed(unit, user)


def set_active(unit: UnitOfWork, tenant_id: int, user_id: int, *, active: bool) -> None:
    """Activate or deactivate somebody who is known. The first deactivation is the one that is remembered."""
    user = unit.ensure_user(tenant_id, user_id)
    if active is not (user.deactivated_at is None):
        user.deactivated_at = None if active else unit.now
        _changed(unit, user)


def sign_out(unit: UnitOfWork, command: SignOut) -> SignedOut:
    """Make worthless what was issued before now.

    Raises:
        Refused: `not_found`; the user is not known, and the command is for a known one only.
    """
    tenant_id, user_id = command.tenant_id, command.user_id
    if unit.user(tenant_id, user_id) is None:
        if command.known_only:
            raise not_found()
        unit.ensure_tenant(tenant_id)
    user = unit.ensure_user(tenant_id, user_id)
    # A clock that was set back does not make tokens good again.
    user.signed_out_at = max(unit.now, user.signed_out_at or "")
    _changed(unit, user)
    return SignedOut(user.signed_out_at)


def end(unit: UnitOfWork, user: User) -> None:
    """Have somebody leave for good: no token is worth anything, and nothing new is meant for them."""
    user.deactivated_at = user.deactivated_at or unit.now
    user.signed_out_at = max(unit.now, user.signed_out_at or "")
    _changed(unit, user)


def _changed(unit: UnitOfWork, user: User) -> None:
    unit.touch(user)
    unit.tell_account(user, account_of(user.role, user.role_given, user.signed_out_at, user.deactivated_at))
