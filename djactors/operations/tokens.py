"""Signs tokens for the command line, the demo and the tests. A DJ System backend signs its own."""

from __future__ import annotations

import time

import jwt

from djactors.config import SettingError, Settings, environment_name
from djactors.edge.keys import Key, load_keys


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
    """A JWT with the contract's claims, signed with `signing_key`. It expires `ttl` seconds after `now` (Unix time).

    It has `iat`, and `iss` and `aud` where the settings ask for them.

    Raises:
        SettingError: there is no secret to sign with, or the server would verify tokens with public keys only.
    """
    key = signing_key(settings)
    moment = int(time.time() if now is None else now)
    claims = {
        "userId": user_id,
        "tenantId": tenant_id,
        "role": role,
        "name": name,
        "iss": settings.jwt_issuer or None,
        "aud": settings.jwt_audience or None,
        "iat": moment,
        "exp": moment + ttl,
    }
    said = {claim: value for claim, value in claims.items() if value is not None}
    return jwt.encode(said, key.material, key.algorithm, headers=None if key.kid is None else {"kid": key.kid})


def signing_key(settings: Settings) -> Key:
    """The key that `sign` signs with: `JWT_SECRET`, or the first secret in the file of several keys.

    Raises:
        SettingError: there is none.
    """
    if not (settings.jwt_keys_file or settings.jwt_public_key_file or settings.jwt_secret):
        raise SettingError("JWT_SECRET: is not set: a token cannot be signed without it")
    key = load_keys(settings).signing
    if key is None:
        setting = "jwt_keys_file" if settings.jwt_keys_file else "jwt_public_key_file"
        raise SettingError(
            f"{environment_name(setting)}: is set and holds public keys only, so that a token signed with JWT_SECRET "
            "would be refused: sign it where the private key is"
        )
    return key
