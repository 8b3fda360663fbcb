"""A token in, an identity out.

Rules: the algorithms are fixed by the kind of key and never by the token; `exp` is required; ids are integers; the
`kid`, `jku` and similar headers are not looked at. Whatever a token holds, the only exception is `Unauthorized`, and
its message says nothing that the token's sender could not know.

PyJWT says what is a good token. For tokens under a secret it was a fifth of what a connect costs, most of it for checks
of the header, which nearly all tokens share; so once it has taken a token, others with the very same header are read
here. That is as safe: what PyJWT makes of a header depends on nothing else, the signature is over every byte of header
and payload, and only what passes everything is taken here. Whatever else comes up, such as a wrong signature, is for
PyJWT to judge.

Source: the contract's section "Identity", RFC 7519, RFC 8725.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import HMACAlgorithm
from msgspec import Meta

from djactors.config import SettingError, Settings
from djactors.domain.errors import Refused
from djactors.domain.events import Id, Name, Role, check_text
from djactors.domain.permissions import Person
from djactors.net import Request

MAX_TOKEN = 8192
"""The most characters of a token. A longer one would not fit into a request's header."""

VERIFIED_CACHE = 20_000
"""Tokens under a public key, verified and kept until they expire, so that a client's later requests cost no signature
check: two a user at 10,000 users, about 10 MB."""

HASHED_CACHE = 256
"""The same under a secret, where verifying costs little more than remembering: for services, which post on and on. One
for each connected user would be a thirtieth of what that user takes."""

GOOD_HEADERS = 16
"""Headers of tokens that are known again. Whoever knows the secret, and nobody else, can make one known: a few issuers,
each with its own library."""


class Unauthorized(Exception):  # noqa: N818 - the contract's own word
    """The token proves nothing. `code` is what the client is told."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Member(msgspec.Struct, frozen=True):
    """A person in a tenant, as proved by a token that ends at `expires_at` (Unix time)."""

    tenant_id: int
    user_id: int
    role: Role
    expires_at: int
    name: str | None = None

    def person(self) -> Person:
        """The person as the one who acts on a job."""
        return Person(self.user_id, self.role, self.name)


class Identity(msgspec.Struct, frozen=True):
    """Who a token speaks for. `user_id` and `tenant_id` are None only for a service; `expires_at` is Unix time."""

    user_id: int | None
    tenant_id: int | None
    role: Role
    expires_at: int
    name: str | None = None

    def member(self) -> Member:
        """The person whom the token names.

        Raises:
            Unauthorized: `token_without_user`; a service's token may name nobody.
        """
        if self.user_id is None or self.tenant_id is None:
            raise Unauthorized("token_without_user", "the token names no user")
        return Member(self.tenant_id, self.user_id, self.role, self.expires_at, self.name)


LAST_MOMENT = 253_402_300_799
"""The end of the year 9999 in Unix time: the last that can be told to a client as text."""

MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""


class _Claims(msgspec.Struct, rename="camel"):
    role: Role
    # RFC 7519 allows fractions: `time.time() + 3600` makes one.
    exp: Annotated[int, Meta(le=LAST_MOMENT)] | Annotated[float, Meta(le=LAST_MOMENT)]
    user_id: Id | None = None
    tenant_id: Id | None = None
    name: Name | None = None
    iat: Any = None
    nbf: Any = None
    # Of no use here, but PyJWT wants them to be texts (RFC 7519 sections 4.1.2 and 4.1.7).
    sub: str = ""
    jti: str = ""


_read_claims = msgspec.json.Decoder(_Claims).decode

_HS256 = ("HS256",)


class Authenticator:
    """Verifies tokens with one key.

    Args:
        key: the HS256 secret or a public key.
        algorithms: what the key may be used with.
        now: the wall clock, as an aware time.
    """

    def __init__(self, key: Any, algorithms: tuple[str, ...], now: Callable[[], datetime]) -> None:
        self._key = key
        self._algorithms = list(algorithms)
        self._hashes = algorithms == _HS256
        self._now = now
        self._decoder = jwt.PyJWT(options={"enforce_minimum_key_length": True})
        # The first parts of tokens under a secret that PyJWT has taken.
        self._good_headers: set[str] = set()
        self._verified: OrderedDict[str, Identity] = OrderedDict()

    def identify(self, token: object) -> Identity:
        """The identity that a token proves.

        Raises:
            Unauthorized: `token_missing`, `token_expired` or `token_invalid`.
        """
        if token is None or token == "":
            raise Unauthorized("token_missing", "a token is needed")
        if not isinstance(token, str) or len(token) > MAX_TOKEN:
            raise Unauthorized("token_invalid", "the token is not valid")
        identity = self._verified.get(token)
        if identity is None:
            identity = self._verify(token)
            self._verified[token] = identity
            if len(self._verified) > (HASHED_CACHE if self._hashes else VERIFIED_CACHE):
                self._verified.popitem(last=False)
        if identity.expires_at <= self._now().timestamp():
            self._verified.pop(token, None)
            raise Unauthorized("token_expired", "the token has expired")
        return identity

    def _verify(self, token: str) -> Identity:
        try:
            claims = self._ordinary(token) or self._decoded(token)
            expires_at = int(claims.exp)
            if claims.name is not None:
                check_text(claims.name, "name")
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError, Refused):
            raise Unauthorized("token_invalid", "the token is not valid") from None
        self._check_not_before(claims)
        if claims.role != "service" and (claims.user_id is None or claims.tenant_id is None):
            raise Unauthorized("token_invalid", "the token names no user or no tenant")
        return Identity(claims.user_id, claims.tenant_id, claims.role, expires_at, claims.name)

    def _decoded(self, token: str) -> _Claims:
        """What PyJWT makes of the token. Raises any of a great many errors."""
        payload = self._decoder.decode(
            token,
            self._key,
            algorithms=self._algorithms,
            # Times are checked against the injected clock, not against the machine's.
            options={
                "require": ["exp"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_aud": False,
            },
        )
        claims = msgspec.convert(payload, _Claims)
        if self._hashes and len(self._good_headers) < GOOD_HEADERS:
            self._good_headers.add(token.partition(".")[0])
        return claims

    def _ordinary(self, token: str) -> _Claims | None:
        """What a token says that PyJWT would take, as far as can be told cheaply; see the module. None for others."""
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        if header not in self._good_headers:
            return None
        try:
            proof = _base64url(hmac.digest(self._key, signed.encode("ascii"), "sha256"))
            if not hmac.compare_digest(proof, signature.encode("ascii")):
                return None
            data = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
            # There is one right way to write it.
            return _read_claims(data.decode()) if _base64url(data) == payload.encode("ascii") else None
        except (ValueError, msgspec.MsgspecError, RecursionError):
            return None

    def _check_not_before(self, claims: _Claims) -> None:
        for moment in (claims.iat, claims.nbf):
            if moment is None:
                continue
            # Put so that NaN, which is neither more nor less than anything, is refused.
            if type(moment) not in (int, float) or not moment <= self._now().timestamp() + CLOCK_SKEW:
                raise Unauthorized("token_invalid", "the token is not valid yet")


def bearer_of(request: Request, door: Authenticator) -> Identity:
    """The identity that the token in a request's `Authorization` header proves. Raises Unauthorized."""
    scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("token_missing", "send `Authorization: Bearer <token>`")
    return door.identify(token.strip())


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


CLOCK_SKEW = 60
"""Seconds by which the clock of who issued a token may be ahead of ours."""


def authenticator(settings: Settings, now: Callable[[], datetime]) -> Authenticator:
    """The authenticator that the settings ask for.

    Raises:
        SettingError: the public key cannot be read or is of a kind that is not supported.
    """
    if not settings.jwt_public_key_file:
        return Authenticator(_secret(settings), ("HS256",), now)
    path = Path(settings.jwt_public_key_file)
    name = "DJACTORS_JWT_PUBLIC_KEY_FILE"
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise SettingError(f"{name}: {path} cannot be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingError(f"{name}: {path} holds no public key in PEM form: export one with openssl") from None
    match key:
        case rsa.RSAPublicKey(key_size=bits) if bits < MIN_RSA_BITS:
            raise SettingError(f"{name}: {path} holds an RSA key of {bits} bits: make one of {MIN_RSA_BITS} or more")
        case rsa.RSAPublicKey():
            return Authenticator(key, ("RS256",), now)
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return Authenticator(key, ("ES256",), now)
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return Authenticator(key, ("EdDSA",), now)
        case _:
            raise SettingError(f"{name}: {path} holds a key that is neither RSA, P-256 nor Ed25519: make one of these")


def _secret(settings: Settings) -> bytes:
    # The environment's bytes, whatever their encoding: what is not UTF-8 arrives as surrogates.
    secret = settings.jwt_secret.encode(errors="surrogateescape")
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError:
        raise SettingError(
            "JWT_SECRET: is a PEM key or certificate, which is no secret: "
            "put a public key into a file and name that in DJACTORS_JWT_PUBLIC_KEY_FILE"
        ) from None
    return secret
