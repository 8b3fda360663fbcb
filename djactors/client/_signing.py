"""A service's tokens, for a backend that has the secret and no service that signs tokens."""

import time
from collections.abc import Callable
from typing import Final

import jwt

from djactors.client._errors import DjactorsError

TOKEN_SECONDS: Final = 3600
"""The life of a token that `signed_by` signs. The client has it sign another one when this one is refused."""

MIN_SECRET_BYTES: Final = 32
"""The shortest secret that the server takes, as RFC 7518 (3.2) demands of HS256."""


def signed_by(secret: str, tenant_id: int | None = None, *, now: Callable[[], float] = time.time) -> Callable[[], str]:
    """A function that signs a service's tokens, to be given to `Client` as its token.

    Args:
        secret: the server's `JWT_SECRET`. Who has it can sign a token for anybody, so keep it where only your backend
            can read it.
        tenant_id: the only tenant that the tokens are good for; all tenants without it.
        now: the wall clock, in seconds of Unix time.

    Raises:
        DjactorsError: the secret is none that the server takes. The message does not show it.
    """
    if len(secret.encode(errors="replace")) < MIN_SECRET_BYTES:
        raise DjactorsError(f"secret: must have at least {MIN_SECRET_BYTES} bytes: give the server's JWT_SECRET")

    def token() -> str:
        moment = int(now())
        claims = {"role": "service", "tenantId": tenant_id, "iat": moment, "exp": moment + TOKEN_SECONDS}
        return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, "HS256")

    return token
