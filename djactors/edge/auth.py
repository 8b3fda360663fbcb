"""A token in, an identity out.

Rules: the algorithms are fixed by the kind of key and never by the token; `exp` is required; `nbf` and `iat` are judged
where they are present; ids are integers, as numbers or as decimal text; claims that are not used are not judged; the
`jku` and similar headers are not looked at, and `kid` only chooses among the keys of a file. Whatever a token holds,
the only exception is `Unauthorized`, and its message says nothing that the token's sender could not know. Its `reason`
is for the log and names the claim.

PyJWT says what is a good token. For tokens under a secret it was a fifth of what a connect costs, most of it for checks
of the header, which nearly all tokens share; so once it has taken a token, others with the very same header are read
here. That is as safe: what PyJWT makes of a header depends on nothing else, the signature is over every byte of header
and payload, and only what passes everything is taken here. Whatever else comes up, such as a wrong signature, is for
PyJWT to judge.

Source: the contract's section "Identity", RFC 7519, RFC 8725.
"""

from __future__ import annotations

import hmac
import math
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import jwt
import msgspec
from msgspec import Meta

from djactors.config import Settings
from djactors.domain.accounts import Account
from djactors.domain.errors import Refused
from djactors.domain.events import Name, Role, check_text
from djactors.domain.ids import IdOrText, id_of
from djactors.domain.permissions import Person
from djactors.domain.url_safe import from_url_safe, url_safe
from djactors.edge.keys import HS256, Key, Keys, load_keys
from djactors.net import Request

MAX_TOKEN = 8192
"""The most characters of a token. A longer one would not fit into a request's header."""

VERIFIED_CACHE = 20_000
"""Tokens under a public key, verified and kept until they expire, so that a client's later requests cost no signature
check: two a user at 10,000 users, about 10 MB."""

HASHED_CACHE = 256
"""The same where all keys are secrets, and verifying costs little more than remembering: for services, which post on
and on. One for each connected user would be a thirtieth of what that user takes."""

GOOD_HEADERS = 16
"""Headers of tokens that are known again. Whoever knows a secret, and nobody else, can make one known: a few issuers,
each with its own library."""

CLOCK_SKEW = 60
"""Seconds by which the clock of who issued a token may be ahead of ours."""


class Unauthorized(Exception):  # noqa: N818 - the contract's own word
    """The token proves nothing. The client is told `code` and `message`; `detail` is for the log alone."""

    def __init__(self, code: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


class Member(msgspec.Struct, frozen=True):
    """A person in a tenant, as proved by a token that ends at `expires_at` (Unix time).

    `issued_at` is Unix time; None if the token does not say. `key` is the name of the key that has verified it.
    """

    tenant_id: int
    user_id: int
    role: Role
    expires_at: int
    name: str | None = None
    issued_at: float | None = None
    key: str = ""

    def person(self) -> Person:
        """The person as the one who acts on a job."""
        return Person(self.user_id, self.role, self.name)


class Identity(msgspec.Struct, frozen=True):
    """Who a token speaks for. `user_id` and `tenant_id` are None only for a service; the rest is as for a `Member`."""

    user_id: int | None
    tenant_id: int | None
    role: Role
    expires_at: int
    name: str | None = None
    issued_at: float | None = None
    key: str = ""

    def member(self) -> Member:
        """The person whom the token names.

        Raises:
            Unauthorized: `token_without_user`; a service's token may name nobody.
        """
        if self.user_id is None or self.tenant_id is None:
            raise Unauthorized("token_without_user", "the token names no user")
        return Member(self.tenant_id, self.user_id, self.role, self.expires_at, self.name, self.issued_at, self.key)


Proved = TypeVar("Proved", Identity, Member)


def in_force(proved: Proved, account: Account) -> Proved:
    """What a token proves, with what is known of the user besides: the role that the tenant gave them wins.

    A service stays a service. Its token is a backend's, even if it names a user, and the role is not that user's.

    Raises:
        Unauthorized: `user_deactivated`; or `token_revoked`, if the user was signed out after the token was issued.
    """
    if not account.active:
        raise Unauthorized("user_deactivated", "the user is deactivated: ask an admin", "the user is deactivated")
    if account.signed_out_at is not None and not (
        proved.issued_at is not None and proved.issued_at >= account.signed_out_at
    ):
        reason = "iat: is before the user was signed out"
        if proved.issued_at is None:
            reason = "iat: is missing, and the user was signed out"
        raise Unauthorized("token_revoked", "the user was signed out: sign in again", reason)
    if account.role is not None and proved.role not in (account.role, "service"):
        return msgspec.structs.replace(proved, role=account.role)
    return proved


LAST_MOMENT = 253_402_300_799
"""The end of the year 9999 in Unix time: the last that can be told to a client as text."""


class _Claims(msgspec.Struct, rename="camel"):
    role: Role
    # RFC 7519 allows fractions: `time.time() + 3600` makes one.
    exp: Annotated[int, Meta(le=LAST_MOMENT)] | Annotated[float, Meta(le=LAST_MOMENT)]
    user_id: IdOrText | None = None
    tenant_id: IdOrText | None = None
    name: Name | None = None
    iat: Any = None
    nbf: Any = None
    iss: Any = None
    aud: Any = None


_read_claims = msgspec.json.Decoder(_Claims).decode

# Each claim that is used is judged here, by the injected clock, and alike for both ways of reading.
_OPTIONS: Any = {
    "require": ["exp"],
    **{f"verify_{claim}": False for claim in ("exp", "iat", "nbf", "aud", "iss", "sub", "jti")},
}


class Rules(msgspec.Struct, frozen=True):
    """What is asked of tokens beyond being good. An empty text and a 0 ask for nothing; ages are seconds."""

    issuer: str = ""
    audience: str = ""
    max_age: float = 0.0


class Authenticator:
    """Verifies tokens.

    Args:
        keys: what they are verified with.
        now: the wall clock, as an aware time.
        rules: what is asked of them besides.
    """

    def __init__(self, keys: Keys, now: Callable[[], datetime], rules: Rules | None = None) -> None:
        self._wall = now
        self._seconds: Callable[[], float] = lambda: now().timestamp()
        self._rules = Rules() if rules is None else rules
        self._decoder = jwt.PyJWT(options={"enforce_minimum_key_length": True})
        # The first parts of tokens that PyJWT has taken, with the secrets that these tokens may be signed with.
        self._good_headers: dict[str, tuple[Key, ...]] = {}
        self._verified: OrderedDict[str, Identity] = OrderedDict()
        self.replace(keys)

    def keep_time(self, seconds: Callable[[], float]) -> None:
        """Have tokens expire by another clock than the wall clock, one that does not believe its jumps.

        A wall clock that is wrong for a minute must sign nobody out. One that was set right is ahead of the other for a
        while, and so are tokens that are issued then, so a token is valid once it was issued by either.

        Args:
            seconds: the other clock, in Unix time.
        """
        self._seconds = seconds

    @property
    def keys(self) -> Keys:
        """What tokens are verified with."""
        return self._keys

    def replace(self, keys: Keys) -> None:
        """Verify with other keys from now on."""
        self._keys = keys
        self._capacity = HASHED_CACHE if all(key.algorithm == HS256 for key in keys.all) else VERIFIED_CACHE
        self._good_headers.clear()
        self._verified.clear()

    def identify(self, token: object) -> Identity:
        """The identity that a token proves.

        Raises:
            Unauthorized: `token_missing`, `token_expired` or `token_invalid`.
        """
        if token is None or token == "":
            raise Unauthorized("token_missing", "a token is needed")
        if not isinstance(token, str):
            raise _invalid("the token is no text")
        if len(token) > MAX_TOKEN:
            raise _invalid(f"the token has more than {MAX_TOKEN} characters")
        identity = self._verified.get(token)
        if identity is None:
            identity = self._verify(token)
            self._verified[token] = identity
            if len(self._verified) > self._capacity:
                self._verified.popitem(last=False)
        if identity.expires_at <= self._seconds():
            self._verified.pop(token, None)
            raise Unauthorized("token_expired", "the token has expired", self._why_expired(identity))
        return identity

    def _verify(self, token: str) -> Identity:
        try:
            claims, key = self._ordinary(token) or self._decoded(token)
            expires_at = int(claims.exp)
            if claims.name is not None:
                check_text(claims.name, "name")
            user_id, tenant_id = _id("userId", claims.user_id), _id("tenantId", claims.tenant_id)
        except jwt.PyJWTError as error:
            raise _invalid(_reason(error)) from None
        except msgspec.ValidationError as error:
            raise _invalid(_claim_and_reason(str(error))) from None
        except Refused as refused:
            raise _invalid(f"name: {refused.message}") from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise _invalid("the token is no JWT") from None
        issued_at = self._check_moments(claims)
        self._check_rules(claims, issued_at)
        if self._rules.max_age and issued_at is not None:
            expires_at = min(expires_at, math.floor(issued_at + self._rules.max_age))
        if claims.role != "service":
            for name, value in (("userId", user_id), ("tenantId", tenant_id)):
                if value is None:
                    reason = f"{name}: is missing, and only a service's token may do without it"
                    raise Unauthorized("token_invalid", "the token names no user or no tenant", reason)
        return Identity(user_id, tenant_id, claims.role, expires_at, claims.name, issued_at, key.name)

    def _decoded(self, token: str) -> tuple[_Claims, Key]:
        """What PyJWT makes of the token. Raises any of a great many errors."""
        keys = self._candidates(token)
        for key in keys:
            try:
                payload = self._decoder.decode(token, key.material, algorithms=[key.algorithm], options=_OPTIONS)
            except jwt.InvalidSignatureError:
                if key is keys[-1]:
                    raise
                continue
            claims = msgspec.convert(payload, _Claims)
            hashed = tuple(key for key in keys if key.algorithm == HS256)
            if hashed and len(self._good_headers) < GOOD_HEADERS:
                self._good_headers[token.partition(".")[0]] = hashed
            return claims, key
        raise AssertionError("there is always a key")

    def _candidates(self, token: str) -> tuple[Key, ...]:
        """The keys that the token may be signed with, by the `kid` of its header."""
        kid = jwt.get_unverified_header(token).get("kid")
        keys = self._keys.of(kid)
        if not keys:
            named = "is missing, and there are several keys" if kid is None else f"no key is called {kid[:60]!r}"
            raise _invalid(f"kid: {named}")
        return keys

    def _ordinary(self, token: str) -> tuple[_Claims, Key] | None:
        """What a token says that PyJWT would take, as far as can be told cheaply; see the module. None for others."""
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        keys = self._good_headers.get(header)
        if keys is None:
            return None
        try:
            given = signature.encode("ascii")
            for key in keys:
                if hmac.compare_digest(url_safe(hmac.digest(key.material, signed.encode("ascii"), "sha256")), given):
                    break
            else:
                return None
            letters = payload.encode("ascii")
            data = from_url_safe(letters)
            # There is one right way to write it.
            return (_read_claims(data.decode()), key) if url_safe(data) == letters else None
        except (ValueError, msgspec.MsgspecError, RecursionError):
            return None

    def _check_moments(self, claims: _Claims) -> float | None:
        """Refuse what is not valid yet; return when it was issued, if it says so."""
        for name, moment in (("iat", claims.iat), ("nbf", claims.nbf)):
            if moment is None:
                continue
            # Put so that NaN, which is neither more nor less than anything, is refused.
            if type(moment) not in (int, float) or not -math.inf < moment <= LAST_MOMENT:
                raise Unauthorized("token_invalid", "the token is not valid yet", f"{name}: is no time in seconds")
            earliest = moment - CLOCK_SKEW
            if earliest > self._wall().timestamp() and earliest > self._seconds():
                reason = f"{name}: is more than {CLOCK_SKEW} s in the future: compare the issuer's clock with this one"
                raise Unauthorized("token_invalid", "the token is not valid yet", reason)
        issued_at: float | None = claims.iat
        # An integer may have hundreds of digits, and nobody can add seconds to that.
        return None if issued_at is None else max(issued_at, -LAST_MOMENT)

    def _check_rules(self, claims: _Claims, issued_at: float | None) -> None:
        rules = self._rules
        if rules.max_age and issued_at is None:
            raise _invalid("iat: is missing, and DJACTORS_JWT_MAX_AGE is set")
        if rules.issuer and claims.iss != rules.issuer:
            raise _invalid("iss: is missing" if claims.iss is None else "iss: is not DJACTORS_JWT_ISSUER")
        if rules.audience and not _is_for(claims.aud, rules.audience):
            raise _invalid("aud: is missing" if claims.aud is None else "aud: DJACTORS_JWT_AUDIENCE is not in it")

    def _why_expired(self, identity: Identity) -> str:
        max_age, issued_at = self._rules.max_age, identity.issued_at
        if max_age and issued_at is not None and identity.expires_at == math.floor(issued_at + max_age):
            return "iat: the token is older than DJACTORS_JWT_MAX_AGE"
        return "exp: the token has expired"


def _invalid(reason: str) -> Unauthorized:
    return Unauthorized("token_invalid", "the token is not valid", reason)


def _id(claim: str, value: int | str | None) -> int | None:
    if value is None or isinstance(value, int):
        return value  # Of the claims' type already.
    number = id_of(value)
    if number is None:
        raise _invalid(f"{claim}: is no id: ids are integers from 1 to 2^53 - 1")
    return number


def _is_for(audience: object, wanted: str) -> bool:
    """Whether an `aud` names us: RFC 7519, section 4.1.3."""
    if isinstance(audience, str):
        return audience == wanted
    return isinstance(audience, list) and all(isinstance(one, str) for one in audience) and wanted in audience


def _reason(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.InvalidSignatureError():
            return "signature: it was not made with this key"
        case jwt.InvalidAlgorithmError():
            return "alg: is not the key's"
        case jwt.MissingRequiredClaimError(claim=claim):
            return f"{claim}: is missing"
        case jwt.InvalidKeyError():
            return "the key does not verify tokens"
        case _:
            # What PyJWT says of a text that is no token; of the token itself that holds positions only.
            return f"the token is no JWT: {error}"


def _claim_and_reason(message: str) -> str:
    """msgspec's message, with the claim first."""
    what, _, place = message.partition(" - at `$")
    claim = place.strip("`.")
    if not claim:
        _, _, claim = what.partition("missing required field ")
        return f"{claim.strip('`')}: is missing" if claim else what
    return f"{claim}: {what}"


def bearer_of(request: Request, door: Authenticator) -> Identity:
    """The identity that the token in a request's `Authorization` header proves. Raises Unauthorized."""
    scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("token_missing", "send `Authorization: Bearer <token>`")
    return door.identify(token.strip())


def authenticator(settings: Settings, now: Callable[[], datetime]) -> Authenticator:
    """The authenticator that the settings ask for.

    Raises:
        SettingError: there is no key, or it cannot be read, or is of a kind that is not supported.
    """
    rules = Rules(settings.jwt_issuer, settings.jwt_audience, settings.jwt_max_age)
    return Authenticator(load_keys(settings), now, rules)
