"""Signs tokens for the command line, the demo and the tests. A DJ System backend signs its own."""

from __future__ import annotations

import time

import jwt

from djactors.config import SettingError, Settings, check_keys


def sign(
    settings: Settings,
    *,
    tenant_id: int | None = None,
    user_id: int | None = None,
    role: str = "user",
    name: str | None = None,
    ttl: int = 3600,
    now: float | None = None,
) -> str:
    """A JWT with the contract's claims, signed with `JWT_SECRET`. It expires `ttl` seconds after `now` (Unix time).

    Raises:
        SettingError: there is no secret to sign with, or the server would verify tokens with a public key.
    """
    if settings.jwt_public_key_file:
        raise SettingError(
            "DJACTORS_JWT_PUBLIC_KEY_FILE: is set, so that a token signed with JWT_SECRET would be refused: "
            "sign it where the private key is"
        )
    if not settings.jwt_secret:
        raise SettingError("JWT_SECRET: is not set: a token cannot be signed without it")
    check_keys(settings)
    claims = {
        "userId": user_id,
        "tenantId": tenant_id,
        "role": role,
        "name": name,
        "exp": int(time.time() if now is None else now) + ttl,
    }
    secret = settings.jwt_secret.encode(errors="surrogateescape")
    return jwt.encode({key: value for key, value in claims.items() if value is not None}, secret, "HS256")
