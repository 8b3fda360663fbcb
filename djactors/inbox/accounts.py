"""What the tenant says of a user beyond the user's token, as the table `users` has it: written and read here.

The role that `user.upserted` gives wins over a token's, and a sign-out makes all tokens worthless that were issued
before. Both are rows, so they hold over restarts and on every node.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

import msgspec

from djactors.domain.accounts import UNTOLD, Account
from djactors.domain.commands import SignedOut, SignOut
from djactors.domain.errors import not_found
from djactors.domain.permissions import Person
from djactors.inbox.unit import UnitOfWork

# The primary key.
SELECT_ACCOUNT = "SELECT role, role_given, signed_out_at FROM users WHERE tenant_id = ? AND id = ?"


def account(connection: sqlite3.Connection, tenant_id: int, user_id: int) -> Account:
    """What the tenant says of a user; nothing of one who is not known."""
    row = connection.execute(SELECT_ACCOUNT, (tenant_id, user_id)).fetchone()
    return UNTOLD if row is None else account_of(*row)


def account_of(role: Any, role_given: object, signed_out_at: str | None) -> Account:
    """An account of its columns."""
    if not role_given and signed_out_at is None:
        return UNTOLD
    moment = None if signed_out_at is None else datetime.fromisoformat(signed_out_at).timestamp()
    return Account(role if role_given else None, moment)


def in_office(unit: UnitOfWork, tenant_id: int, person: Person) -> Person:
    """A person with the role that the tenant gave them, at the very moment of the commit. A service stays a service."""
    user = None if person.role == "service" else unit.user(tenant_id, person.user_id)
    if user is None or not user.role_given or user.role == person.role:
        return person
    return msgspec.structs.replace(person, role=user.role)


def give_role(unit: UnitOfWork, tenant_id: int, user_id: int, role: str) -> None:
    """Have a role win over the one in the user's tokens. The user is known."""
    user = unit.ensure_user(tenant_id, user_id)
    if user.role != role or not user.role_given:
        user.role, user.role_given = role, True
        unit.touch(user)
        unit.tell_account(user, account_of(user.role, user.role_given, user.signed_out_at))


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
    unit.touch(user)
    unit.tell_account(user, account_of(user.role, user.role_given, user.signed_out_at))
    return SignedOut(user.signed_out_at)
