"""Keys that can be changed: a predecessor of the secret, several keys by `kid`, and what is asked of tokens besides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from djactors.config import SettingError, Settings
from djactors.edge.auth import Authenticator, Unauthorized, authenticator
from djactors.edge.keys import exposed_keys, load_keys
from djactors.operations.tokens import sign
from tests.edge.test_auth import BAD, CLAIMS, NOW, SECRET, Clock, claims, part, raw_token, token

OTHER = "another-secret-for-tests-only-9876543210"
THIRD = "a-third-secret-for-tests-only-0011223344"
RSA, EC, ED = (
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
)


def oct_key(secret: str, **more: Any) -> dict[str, Any]:
    return {"kty": "oct", "k": part(secret.encode()), **more}


def public(private: Any, **more: Any) -> dict[str, Any]:
    algorithm: Any = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}.get(
        next((kind for kind in (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey) if isinstance(private, kind)), int),
        OKPAlgorithm,
    )
    return {**algorithm.to_jwk(private.public_key(), as_dict=True), **more}


def key_file(folder: Path, *keys: Mapping[str, Any], name: str = "keys.json") -> Settings:
    path = folder / name
    path.write_text(json.dumps({"keys": keys}))
    return Settings(jwt_keys_file=str(path))


def refused(door: Authenticator, given: object) -> str:
    """Why, as the log has it."""
    with pytest.raises(Unauthorized) as caught:
        door.identify(given)
    assert isinstance(given, str)
    assert given not in caught.value.detail
    assert caught.value.detail.isprintable()
    return f"{caught.value.code}: {caught.value.detail}"


# A predecessor


def test_a15_tokens_of_the_secret_before_are_taken_while_it_is_named() -> None:
    door = authenticator(Settings(jwt_secret=OTHER, jwt_secret_previous=SECRET), Clock())
    for _ in range(2):
        assert door.identify(token()).user_id == 7
        assert door.identify(raw_token(json.dumps(CLAIMS).encode(), key=OTHER.encode())).user_id == 7
        assert refused(door, raw_token(json.dumps(CLAIMS).encode(), key=THIRD.encode())).startswith("token_invalid")
    after = authenticator(Settings(jwt_secret=OTHER), Clock())
    assert refused(after, token()) == "token_invalid: signature: it was not made with this key"


def test_a15_new_tokens_are_signed_with_the_new_secret() -> None:
    both = Settings(jwt_secret=OTHER, jwt_secret_previous=SECRET)
    assert authenticator(Settings(jwt_secret=OTHER), Clock()).identify(sign(both, role="service", now=NOW))


# Several keys


def test_a15_the_kid_of_a_token_names_its_key(tmp_path: Path) -> None:
    door = authenticator(
        key_file(
            tmp_path,
            oct_key(SECRET, kid="s"),
            public(RSA, kid="r", alg="RS256", use="sig"),
            public(EC, kid="e"),
            public(ED, kid="d", alg="EdDSA"),
        ),
        Clock(),
    )
    good: dict[str, tuple[Any, str]] = {
        "s": (SECRET, "HS256"),
        "r": (RSA, "RS256"),
        "e": (EC, "ES256"),
        "d": (ED, "EdDSA"),
    }
    for _ in range(2):
        for kid, (key, algorithm) in good.items():
            assert door.identify(jwt.encode(CLAIMS, key, algorithm, headers={"kid": kid})).user_id == 7
            for other in good.keys() - {kid}:
                assert refused(door, jwt.encode(CLAIMS, key, algorithm, headers={"kid": other}))
            for unknown in ("x", "", "../../dev/null", "s' OR 1", "S", "s\0"):
                said = refused(door, jwt.encode(CLAIMS, key, algorithm, headers={"kid": unknown}))
                assert said == f"token_invalid: kid: no key is called {unknown!r}"
            missing = "token_invalid: kid: is missing, and there are several keys"
            assert refused(door, jwt.encode(CLAIMS, key, algorithm)) == missing
    # The old attack: a public key, known to all, as the secret of a symmetric signature.
    for kid in good:
        assert refused(door, raw_token(json.dumps(CLAIMS).encode(), {"alg": "HS256", "kid": kid}, key=b"x" * 40))
        header = {"alg": "none", "kid": kid}
        assert refused(door, f"{part(json.dumps(header).encode())}.{part(json.dumps(CLAIMS).encode())}.")
    for kid in (5, None, ["s"], {"s": 1}, True):
        assert refused(door, raw_token(json.dumps(CLAIMS).encode(), {"alg": "HS256", "kid": kid}))


def test_a15_a_token_without_a_kid_is_of_the_only_key_or_of_the_one_without_a_kid(tmp_path: Path) -> None:
    assert authenticator(key_file(tmp_path, oct_key(SECRET, kid="s")), Clock()).identify(token()).user_id == 7
    door = authenticator(key_file(tmp_path, oct_key(SECRET), oct_key(OTHER, kid="o")), Clock())
    assert door.identify(token()).user_id == 7
    assert refused(door, raw_token(json.dumps(CLAIMS).encode(), key=OTHER.encode()))
    with_kid = raw_token(json.dumps(CLAIMS).encode(), {"alg": "HS256", "kid": "o"}, key=OTHER.encode())
    assert door.identify(with_kid).user_id == 7


def test_a15_keys_that_are_not_taken_are_passed_over(tmp_path: Path) -> None:
    p384 = ec.generate_private_key(ec.SECP384R1())
    keys = load_keys(
        key_file(
            tmp_path,
            {"kty": "future", "kid": "a"},
            {"kid": "b"},
            public(RSA, kid="c", use="enc"),
            public(RSA, kid="d", alg="RS512"),
            public(p384, kid="e"),
            oct_key(SECRET, kid="f", alg="HS512"),
            public(ed448.Ed448PrivateKey.generate(), kid="g"),
        )
    )
    assert keys.kids == ["kid 'g'"]
    assert len(keys.passed_over) == 6


WRONG: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "cannot be read"),
    "empty": (b"", "is no JSON"),
    "PEM": (b"-----BEGIN PUBLIC KEY-----\nMIIB\n", "is no JSON"),
    "half": (b'{"keys":[{"kty":"oc', "is no JSON"),
    "deep": (b"[" * 5000 + b"]" * 5000, "is no JSON"),
    "a list": (b"[]", "is no JWK Set"),
    "a key": (json.dumps(oct_key(SECRET)).encode(), "is no JWK Set"),
    "an object of keys": (b'{"keys":{}}', "is no JWK Set"),
    "no keys": (b'{"keys":[]}', "holds no key"),
    "none that is taken": (b'{"keys":[{"kty":"x"}]}', "holds no key"),
    "not an object": (b'{"keys":[5]}', "no key at keys[0]"),
    "kid a number": (b'{"keys":[{"kty":"oct","kid":5}]}', "kid at keys[0]"),
    "short": (json.dumps({"keys": [oct_key("x" * 31, kid="k")]}).encode(), "fewer than 32 bytes"),
    "not base64": (b'{"keys":[{"kty":"oct","k":"\xc3\xa9"}]}', "cannot be read"),
    "k a number": (b'{"keys":[{"kty":"oct","k":5}]}', "cannot be read"),
    "no k": (b'{"keys":[{"kty":"oct"}]}', "cannot be read"),
    "RSA without n": (b'{"keys":[{"kty":"RSA","e":"AQAB"}]}', "cannot be read"),
    "EC off the curve": (b'{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}', "cannot be read"),
    "a public key as the secret": (
        json.dumps({"keys": [oct_key("-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----")]}).encode(),
        "cannot be read",
    ),
    "private": (
        json.dumps({"keys": [json.loads(OKPAlgorithm.to_jwk(ED, as_dict=False))]}).encode(),
        "holds a private key",
    ),
    "short RSA": (
        json.dumps({"keys": [public(rsa.generate_private_key(65537, 1024))]}).encode(),
        "RSA key of 1024 bits",
    ),
    "twice": (
        json.dumps({"keys": [oct_key(SECRET, kid="k"), oct_key(OTHER, kid="k")]}).encode(),
        "two keys with the kid 'k'",
    ),
    "two without": (json.dumps({"keys": [oct_key(SECRET), oct_key(OTHER)]}).encode(), "two keys without a kid"),
    "too many": (json.dumps({"keys": [oct_key(SECRET, kid=str(n)) for n in range(101)]}).encode(), "holds 101 keys"),
    "too large": (b" " * 300_000, "larger than"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a15_a_wrong_file_of_keys_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    content, said = WRONG[kind]
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError) as caught:
        load_keys(Settings(jwt_keys_file=str(path)))
    message = str(caught.value)
    assert message.startswith(f"DJACTORS_JWT_KEYS_FILE: {path} ")
    assert said in message
    assert message.isprintable()
    assert not any(secret in message for secret in (part(SECRET.encode()), part(OTHER.encode()), SECRET, "MCow"))


def test_a19_a_file_with_a_secret_that_all_may_read_is_found(tmp_path: Path) -> None:
    secret, none = key_file(tmp_path, oct_key(SECRET)), key_file(tmp_path, public(ED), name="public.json")
    for configured in (secret, none):
        Path(configured.jwt_keys_file).chmod(0o644)
    found = exposed_keys(secret)
    assert found is not None
    assert found.startswith(f"DJACTORS_JWT_KEYS_FILE: {secret.jwt_keys_file} holds a secret, and every user of this")
    assert exposed_keys(none) is None
    Path(secret.jwt_keys_file).chmod(0o640)
    assert exposed_keys(secret) is None
    assert exposed_keys(Settings(jwt_secret=SECRET)) is None


def test_a15_a_token_is_signed_with_the_first_secret_of_the_file_and_carries_what_is_asked_for(tmp_path: Path) -> None:
    configured = key_file(tmp_path, public(ED, kid="p"), oct_key(SECRET, kid="s"), oct_key(OTHER, kid="o"))
    asking = {"jwt_issuer": "us", "jwt_audience": "here", "jwt_max_age": 60.0}
    signed = sign(Settings(jwt_keys_file=configured.jwt_keys_file, **asking), role="service", now=NOW)  # type: ignore[arg-type]
    assert jwt.get_unverified_header(signed)["kid"] == "s"
    door = authenticator(Settings(jwt_keys_file=configured.jwt_keys_file, **asking), Clock())  # type: ignore[arg-type]
    assert door.identify(signed).expires_at == NOW + 60
    with pytest.raises(SettingError, match=r"DJACTORS_JWT_KEYS_FILE: is set and holds public keys only.*private key"):
        sign(key_file(tmp_path, public(ED, kid="p")), role="service")


# Issuer, audience, age


def asking(**more: Any) -> Authenticator:
    return authenticator(Settings(jwt_secret=SECRET, **more), Clock())


def test_a15_a_foreign_issuer_or_audience_is_refused_where_one_is_set() -> None:
    door = asking(jwt_issuer="us", jwt_audience="here")
    for _ in range(2):
        assert door.identify(token(iss="us", aud="here")).user_id == 7
        assert door.identify(token(iss="us", aud=["there", "here"])).user_id == 7
        assert refused(door, token(aud="here")) == "token_invalid: iss: is missing"
        assert refused(door, token(iss="them", aud="here")) == "token_invalid: iss: is not DJACTORS_JWT_ISSUER"
        assert refused(door, token(iss="us")) == "token_invalid: aud: is missing"
        for other in ("there", [], ["here", 5], {"here": 1}, 5, "", "her", "here "):
            assert refused(door, token(iss="us", aud=other)) == (
                "token_invalid: aud: DJACTORS_JWT_AUDIENCE is not in it"
            )
    assert asking().identify(token(iss=["them"], aud={"there": 1})).user_id == 7, "claims that are not used"


def test_a15_a_token_older_than_the_greatest_age_has_expired_whatever_its_exp() -> None:
    clock = Clock()
    door = authenticator(Settings(jwt_secret=SECRET, jwt_max_age=600), clock)
    assert door.identify(token(iat=NOW)).expires_at == NOW + 600
    assert door.identify(token(iat=NOW, exp=NOW + 5)).expires_at == NOW + 5
    assert refused(door, token()) == "token_invalid: iat: is missing, and DJACTORS_JWT_MAX_AGE is set"
    assert refused(door, token(iat=NOW - 600)) == ("token_expired: iat: the token is older than DJACTORS_JWT_MAX_AGE")
    assert refused(door, token(iat=-1e300)).startswith("token_expired: iat")
    given = token(iat=NOW)
    clock.now += 600
    assert refused(door, given).startswith("token_expired: iat")
    assert refused(door, token(iat=NOW + 600, exp=NOW + 600)) == "token_expired: exp: the token has expired"


# What is not used is not judged, and the log says why


@pytest.mark.parametrize("claim", ["sub", "jti", "iss", "aud", "azp", "scope"])
@pytest.mark.parametrize("value", [2, 7.5, "x", None, [], {"a": 1}, True])
def test_a16_claims_that_are_not_used_are_not_judged(claim: str, value: object) -> None:
    door = asking()
    for _ in range(2):
        assert door.identify(token(**{claim: value})).user_id == 7


def test_a16_ids_as_decimal_text_are_the_numbers_that_they_are() -> None:
    door = asking()
    for _ in range(2):
        identity = door.identify(token(userId="2", tenantId=str(2**53 - 1)))
        assert (identity.user_id, identity.tenant_id) == (2, 2**53 - 1)
        assert door.identify(token(role="service", userId=..., tenantId="3")).tenant_id == 3


REASONS = {
    "userId 0": "userId",
    "userId text with a leading 0": "userId",
    "userId text 2^53": "userId: is no id",
    "no userId": "userId: is missing",
    "tenantId true": "tenantId",
    "no tenantId": "tenantId: is missing",
    "no role": "role: is missing",
    "role superuser": "role: Invalid enum value",
    "no exp": "exp: is missing",
    "exp text": "exp: Expected",
    "iat text": "iat: is no time",
    "iat in the future": "iat: is more than 60 s in the future",
    "nbf in the future": "nbf: is more than 60 s in the future",
    "a name with NUL": "name: name holds a NUL",
    "another secret": "signature: it was not made",
    "alg none": "alg: is not the key's",
    "HS512, rightly signed": "alg: is not the key's",
    "one part": "the token is no JWT",
    "100 kB": "the token has more than 8192 characters",
}


@pytest.mark.parametrize("kind", REASONS)
def test_a16_the_reason_of_a_refusal_names_the_claim(kind: str) -> None:
    door, given = asking(), BAD[kind]
    assert refused(door, given).startswith(f"token_invalid: {REASONS[kind]}")
    door.identify(token())
    assert refused(door, given).startswith(f"token_invalid: {REASONS[kind]}"), "behind a good one as well"


@pytest.mark.parametrize("given", BAD.values(), ids=BAD.keys())
def test_a16_every_refusal_has_a_reason(given: object) -> None:
    with pytest.raises(Unauthorized) as caught:
        asking().identify(given)
    assert caught.value.detail
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) <= 200


# The lean reading, against PyJWT

ASKED = [
    {},
    {"jwt_issuer": "us"},
    {"jwt_audience": "us"},
    {"jwt_max_age": 3600.0},
    {"jwt_issuer": "us", "jwt_audience": "us", "jwt_max_age": 60.0, "jwt_secret_previous": OTHER},
]


def outcome(door: Authenticator, given: str) -> object:
    try:
        return door.identify(given)
    except Unauthorized as refusal:
        return refusal.code, refusal.detail


@given(
    claims.map(lambda some: {**CLAIMS, **some}),
    st.sampled_from([SECRET, OTHER, THIRD]),
    st.sampled_from(ASKED),
    st.sampled_from([None, "k", "x", 5]),
)
@settings(deadline=None, max_examples=400)
def test_a_door_that_has_seen_good_tokens_judges_the_next_alike_whatever_is_asked_of_it(
    said: dict[str, Any], secret: str, asked: dict[str, Any], kid: object
) -> None:
    header = {"alg": "HS256", "typ": "JWT", **({} if kid is None else {"kid": kid})}
    given = raw_token(json.dumps(said).encode(), header, key=secret.encode())
    new, seasoned = asking(**asked), asking(**asked)
    for key in (SECRET, OTHER):
        outcome(
            seasoned,
            raw_token(json.dumps({**CLAIMS, "iat": NOW, "iss": "us", "aud": "us"}).encode(), header, key=key.encode()),
        )
    assert outcome(seasoned, given) == outcome(new, given)


class FixedNow(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> FixedNow:
        return cls.fromtimestamp(NOW, tz)


USUAL = st.fixed_dictionaries(
    {},
    optional={
        "exp": st.sampled_from([NOW + 60, NOW + 60.5, NOW, NOW - 1, ...]),
        "iat": st.sampled_from([NOW, NOW + 59, NOW + 62, NOW - 5000]),
        "nbf": st.sampled_from([NOW - 0.5, NOW + 59, NOW + 62]),
        "iss": st.sampled_from(["us", "them", "", 5, None, ["us"]]),
        "aud": st.sampled_from(["us", "them", ["us"], ["them", "us"], ["us", 5], [], {"us": 1}, "", 5, None]),
    },
)


@given(USUAL, st.sampled_from(["", "us"]), st.sampled_from(["", "us"]), st.booleans())
@settings(deadline=None, max_examples=400)
def test_what_is_asked_of_claims_is_asked_as_pyjwt_would(
    said: dict[str, Any], issuer: str, audience: str, seen: bool
) -> None:
    """PyJWT with its own judgement of each claim turned on, against both ways of reading here."""
    given = token(**said)
    door = asking(jwt_issuer=issuer, jwt_audience=audience)
    if seen:
        door.identify(token(iss="us", aud="us"))
    options: Any = {"require": ["exp"], "verify_aud": bool(audience), "verify_exp": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jwt.api_jwt.datetime", FixedNow)
        try:
            payload = jwt.decode(
                given,
                SECRET,
                ["HS256"],
                options=options,
                issuer=issuer or None,
                audience=audience or None,
                leeway=60,
            )
            # The leeway is for the clocks of those who issue; an exp has none here.
            expected = "token_expired" if payload["exp"] <= NOW else "taken"
        except jwt.PyJWTError:
            expected = "token_invalid"
    try:
        door.identify(given)
        found = "taken"
    except Unauthorized as refusal:
        found = refusal.code
    assert found == expected


@pytest.mark.parametrize("claim", ["iat", "-iat", "nbf", "exp", "-exp"])
def test_a16_a_moment_of_hundreds_of_digits_is_refused_whatever_is_asked_of_tokens(claim: str) -> None:
    name, digits = claim.removeprefix("-"), f"{'-' * claim.startswith('-')}1{'0' * 400}"
    text = json.dumps({**CLAIMS, "iat": NOW, name: 0}).replace(f'"{name}": 0', f'"{name}": {digits}')
    assert f" {name}" in refused(asking(jwt_max_age=3600.0), raw_token(text.encode()))


def test_the_clock_of_these_tests_is_the_doors() -> None:
    assert FixedNow.now(UTC).timestamp() == Clock()().timestamp() == NOW
