"""What a tenant says of a user beyond what the user's token says: the role that a backend gave, a sign-out, and
whether the user is active."""

from __future__ import annotations

import msgspec

from djactors.domain.events import Role


class Account(msgspec.Struct, frozen=True, gc=False):
    """See the module.

    Attributes:
        role: what the last `user.upserted` gave; it wins over the token's. None where none came yet.
        signed_out_at: Unix time. Tokens that were issued before are worth nothing. None where nobody signed the user
            out.
        active: False of somebody who was deactivated. No token of theirs is worth anything then.
    """

    role: Role | None = None
    signed_out_at: float | None = None
    active: bool = True


UNTOLD = Account()
"""Of a user of whom the tenant has said nothing."""
