"""What a token must be to prove anything. Every refusal is `Unauthorized`, whatever the token holds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from djactors.config import SettingError, Settings
from djactors.edge import auth
from djactors.edge.auth import Authenticator, Unauthorized, authenticator
from djactors.operations.tokens import sign

SECRET = "a-secret-for-tests-only-0123456789abcdef"
NOW = 1_750_000_000
CLAIMS: dict[str, Any] = {"userId": 7, "tenantId": 3, "role": "user", "exp": NOW + 3600}


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(clock: Clock) -> Authenticator:
    return authenticator(Settings(jwt_secret=SECRET), clock)


def part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def raw_token(payload: bytes, header: dict[str, Any] | None = None, key: bytes = SECRET.encode()) -> str:
    """A token with this payload byte for byte, and a right HS256 signature."""
    head = part(json.dumps({"alg": "HS256", "typ": "JWT"} if header is None else header).encode())
    signed = f"{head}.{part(payload)}"
    return f"{signed}.{part(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def token(header: dict[str, Any] | None = None, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}
    return raw_token(json.dumps(claims).encode(), header)


def unsigned(algorithm: str) -> str:
    return f"{part(json.dumps({'alg': algorithm}).encode())}.{part(json.dumps(CLAIMS).encode())}."


def refusal(door: Authenticator, given: object) -> str:
    with pytest.raises(Unauthorized) as caught:
        door.identify(given)
    if isinstance(given, str) and len(given) > 20:
        assert given not in caught.value.message
    return caught.value.code


def test_a_good_token_names_the_user(door: Authenticator) -> None:
    identity = door.identify(token(name="Somchai"))
    assert (identity.user_id, identity.tenant_id, identity.role, identity.name) == (7, 3, "user", "Somchai")
    assert identity.expires_at == NOW + 3600
    assert identity.member().user_id == 7


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_token_is_said_to_be_missing(door: Authenticator, nothing: object) -> None:
    assert refusal(door, nothing) == "token_missing"


BAD: dict[str, object] = {
    "a number": 5,
    "bytes": b"abc",
    "a list": ["a"],
    "an object": {"token": "x"},
    "true": True,
    "one part": "abc",
    "two parts": "abc.def",
    "four parts": token() + ".abc",
    "dots": "..",
    "a blank": " ",
    "lone surrogates": "\ud800.\udfff.\ud800",
    "a lone surrogate behind a good token": token() + "\ud800",
    "NUL": token() + "\0",
    "non-ASCII": "é" * 30,
    "100 kB": "a" * 100_000,
    "a signed token of 100 kB": token(name="x", padding="y" * 100_000),
    "a name with NUL": token(name="a\0b"),
    "another secret": raw_token(json.dumps(CLAIMS).encode(), key=b"x" * 40),
    "no signature": token().rsplit(".", 1)[0] + ".",
    "alg none": unsigned("none"),
    "alg None in capitals": unsigned("NONE"),
    "alg none with a right signature": token({"alg": "none"}),
    "alg HS384 over an HS256 signature": token({"alg": "HS384"}),
    "HS512, rightly signed": jwt.encode(CLAIMS, SECRET * 2, "HS512"),
    "no alg": token({"typ": "JWT"}),
    "alg a list": token({"alg": ["HS256"]}),
    "alg null": token({"alg": None}),
    "header a list": "W10.e30.eA",
    "header not JSON": "ew.e30.eA",
    "kid a path": token({"alg": "HS256", "kid": "../../../../dev/null"}, exp=...),
    "an extension that must be understood": token({"alg": "HS256", "crit": ["exp"], "exp": 1}),
    "no exp": token(exp=...),
    "exp null": token(exp=None),
    "exp text": token(exp=str(NOW + 3600)),
    "exp true": token(exp=True),
    "exp NaN": raw_token(b'{"userId":7,"tenantId":3,"role":"user","exp":NaN}'),
    "exp infinite": raw_token(b'{"userId":7,"tenantId":3,"role":"user","exp":Infinity}'),
    "exp 1e400": raw_token(b'{"userId":7,"tenantId":3,"role":"user","exp":1e400}'),
    "exp 10^30": token(exp=10**30),
    "exp past the year 9999": token(exp=253_402_300_800),
    "exp of 10,000 digits": raw_token(b'{"userId":7,"tenantId":3,"role":"user","exp":%s}' % (b"9" * 4000)),
    "exp a list": token(exp=[NOW + 60]),
    "exp an object": token(exp={"$gt": 0}),
    "iat in the future": token(iat=NOW + 3600),
    "iat text": token(iat="0"),
    "iat NaN": raw_token(b'{"userId":7,"tenantId":3,"role":"user","exp":1750003600,"iat":NaN}'),
    "iat true": token(iat=True),
    "nbf in the future": token(nbf=NOW + 3600),
    "nbf NaN": raw_token(b'{"userId":7,"tenantId":3,"role":"user","exp":1750003600,"nbf":NaN}'),
    "nbf text": token(nbf="x"),
    "userId text that is no number": token(userId="x"),
    "userId text with a blank": token(userId=" 7"),
    "userId text with a newline": token(userId="7\n"),
    "userId text with a leading 0": token(userId="07"),
    "userId text in Thai digits": token(userId="๗"),
    "userId text with a sign": token(userId="+7"),
    "userId text with a fraction": token(userId="7.0"),
    "userId text 0": token(userId="0"),
    "userId empty text": token(userId=""),
    "userId text 2^53": token(userId=str(2**53)),
    "userId text of 4,000 digits": raw_token(
        b'{"userId":"%s","tenantId":3,"role":"user","exp":1750003600}' % (b"9" * 4000)
    ),
    "userId true": token(userId=True),
    "userId 0": token(userId=0),
    "userId -1": token(userId=-1),
    "userId 2^53": token(userId=2**53),
    "userId 2^70": token(userId=2**70),
    "userId 7.0": token(userId=7.0),
    "userId NaN": raw_token(b'{"userId":NaN,"tenantId":3,"role":"user","exp":1750003600}'),
    "userId a list": token(userId=[7]),
    "no userId": token(userId=...),
    "userId null": token(userId=None),
    "tenantId text 2^53": token(tenantId=str(2**53)),
    "tenantId true": token(tenantId=True),
    "tenantId 0": token(tenantId=0),
    "tenantId 2^53": token(tenantId=2**53),
    "no tenantId": token(tenantId=...),
    "an admin without a tenant": token(role="admin", tenantId=...),
    "no role": token(role=...),
    "role null": token(role=None),
    "role superuser": token(role="superuser"),
    "role in capitals": token(role="USER"),
    "role a list": token(role=["user"]),
    "a name that is a number": token(name=5),
    "a name of 256 characters": token(name="x" * 256),
    "an empty name": token(name=""),
    "half a surrogate pair in the name": raw_token(
        b'{"userId":7,"tenantId":3,"role":"user","exp":1750003600,"name":"\\ud800"}'
    ),
    "a payload that is a list": raw_token(b"[1]"),
    "a payload that is text": raw_token(b'"x"'),
    "a payload that is null": raw_token(b"null"),
    "a payload that is not JSON": raw_token(b"{"),
    "a payload that is not UTF-8": raw_token(b"\xff\xfe"),
    "an empty payload": raw_token(b""),
    "a payload nested 3,000 deep": raw_token(b'{"a":' * 1000 + b"[" * 1000),
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD.keys())
def test_row_16_whatever_is_wrong_with_a_token_it_is_not_valid(door: Authenticator, given: object) -> None:
    assert refusal(door, given) == "token_invalid"


@pytest.mark.parametrize("given", BAD.values(), ids=BAD.keys())
def test_nor_is_it_behind_a_good_one_with_the_same_header(door: Authenticator, given: object) -> None:
    door.identify(token())
    assert refusal(door, given) == "token_invalid"


claims = st.fixed_dictionaries(
    {},
    optional={
        "userId": st.sampled_from([1, 7, 2**53 - 1, 0, 7.0, "7", "07", "x", None]),
        "tenantId": st.sampled_from([3, "3", str(2**53), True, None]),
        "role": st.sampled_from(["user", "service", "admin", "root"]),
        "exp": st.sampled_from([NOW + 60, NOW + 60.5, NOW - 1, 1e300, None]),
        "iat": st.sampled_from([NOW, NOW + 3600, "x", None, False]),
        "nbf": st.sampled_from([NOW - 0.5, NOW + 3600, [], None]),
        "name": st.sampled_from(["Ada", "", "a\0b", "\ud800", "é", 5, None]),
        "sub": st.sampled_from(["7", 7, None, [], {}, True]),
        "jti": st.sampled_from(["7", 7, None, [7]]),
        "iss": st.sampled_from(["us", "them", "", 5, None, ["us"]]),
        "aud": st.sampled_from(["us", "them", ["us"], ["them", "us"], ["us", 5], [], {"us": 1}, "", 5, None]),
        "more": st.sampled_from([float("nan"), 2**80, {"deep": [[{}]]}, "\ud800"]),
    },
)


@given(claims.map(lambda some: {**CLAIMS, **some}), st.sampled_from(["", "A", "=", ".", "x"]), st.booleans())
@settings(deadline=None, max_examples=300)
def test_a_door_that_has_seen_a_good_token_judges_the_next_like_one_that_has_not(
    said: dict[str, Any], more: str, spoil: bool
) -> None:
    given = raw_token(json.dumps(said).encode()) + more
    if spoil:
        given = given.replace("e", "f", 1)

    assert judged(given, seen=True) == judged(given, seen=False)


def judged(given: str, *, seen: bool) -> object:
    """What a new door makes of a token; by the lean way if it has `seen` a good one with the same header."""
    door = authenticator(Settings(jwt_secret=SECRET), Clock())
    if seen:
        door.identify(token())
    try:
        return door.identify(given)
    except Unauthorized as refused:
        return refused.code


# As they stand in a payload: a parser may take what another refuses, or read it as something else.
values = st.sampled_from(
    [
        *("7", "7.0", "7e0", "70e-1", "-0", "01", "+1", ".5", "5.", "true", "null", "tru", "[]", "{}", "[1,]", "[1"),
        *("1750003600.5", "175000360e1", "253402300799.5", "1e400", "-1e400", "9007199254740991.0", "9007199254740992"),
        *("NaN", "[NaN]", "-Infinity", "18446744073709551616", "-9223372036854775809", "1" + "0" * 309, "9" * 400),
        *(
            '"user"',
            '"us\\u0065r"',
            '"service"',
            '""',
            '"\\ud800"',
            '"\\udc00\\ud800"',
            '"\\ud83d\\ude00"',
            '"\\u0000"',
        ),
        *('"\x01"', '{"\x02":1}', '"\n"', '"\x7f"', '"\\x"', '[" \\q"]', '"\\u00zz"', '"\\/"', "'a'", "{1:2}"),
        *("[" * 600 + "]" * 600, '"' + "😀" * 255 + '"'),
    ]
)
names = st.sampled_from(["userId", "tenantId", "role", "exp", "iat", "nbf", "name", "sub", "jti", "x", "user\\u0049d"])
blanks = st.sampled_from(["", "", "", " ", "\n", "\x0b", "\ufeff", "\0"])


@given(
    st.lists(st.tuples(names, values), max_size=3),
    st.booleans(),
    blanks,
    blanks,
    blanks | st.just("{}"),
    st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "utf-32", "latin-1"]),
)
@settings(deadline=None, max_examples=300)
def test_so_it_does_whatever_a_payload_says_byte_for_byte(
    said: list[tuple[str, str]], first: bool, before: str, between: str, behind: str, encoding: str
) -> None:
    usual = [(name, json.dumps(value)) for name, value in CLAIMS.items()]
    pairs = [f'"{name}"{between}:{value}' for name, value in (said + usual if first else usual + said)]
    given = raw_token(f"{before}{{{','.join(pairs)}}}{behind}".encode(encoding, "replace"))
    assert judged(given, seen=True) == judged(given, seen=False)


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 2), st.sampled_from([*"AZ09-_+/=. ", "==", "\n", "\0", "é", ""])),
        max_size=2,
    ),
    st.sampled_from(["", "=", "==", ".", "\n", " ", "A", "-"]),
)
@settings(deadline=None, max_examples=300)
def test_so_it_does_wherever_a_token_is_changed_before_or_after_it_is_signed(
    changes: list[tuple[int, int, str]], more: str
) -> None:
    signed = token().rpartition(".")[0] + more
    given = f"{signed}.{part(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"
    for place, removed, put in changes:
        given = given[:place] + put + given[place + removed :]
    assert judged(given, seen=True) == judged(given, seen=False)


def test_row_16_headers_that_name_a_key_are_not_looked_at(door: Authenticator) -> None:
    header = {
        "alg": "HS256",
        "kid": "x' UNION SELECT 'k",
        "jku": "http://127.0.0.1:1/keys",
        "x5u": "http://127.0.0.1:1",
    }
    own_key = {"kty": "oct", "k": part(b"attacker" * 5)}
    assert door.identify(token({**header, "jwk": own_key})).user_id == 7
    forged = raw_token(json.dumps(CLAIMS).encode(), {**header, "jwk": own_key}, key=b"attacker" * 5)
    assert refusal(door, forged) == "token_invalid"


def test_the_last_of_duplicate_claims_counts_and_is_checked(door: Authenticator) -> None:
    assert door.identify(raw_token(b'{"userId":1,"userId":7,"tenantId":3,"role":"user","exp":1750003600}')).user_id == 7
    assert refusal(door, raw_token(b'{"exp":1750003600,"userId":1,"tenantId":3,"role":"user","exp":"x"}'))


def test_a_fraction_of_a_second_in_exp_is_cut_off(door: Authenticator) -> None:
    """RFC 7519 allows it, and `time.time() + 3600` makes one."""
    assert door.identify(token(exp=NOW + 10.75)).expires_at == NOW + 10


def test_a_token_ends_exactly_at_its_exp(door: Authenticator, clock: Clock) -> None:
    given = token(exp=NOW + 10)
    clock.now = NOW + 9.999
    assert door.identify(given).expires_at == NOW + 10
    clock.now = NOW + 10
    assert refusal(door, given) == "token_expired"
    assert refusal(door, token(exp=NOW)) == "token_expired"
    assert refusal(door, token(exp=0)) == "token_expired"
    assert refusal(door, token(exp=-1)) == "token_expired"


def test_a_verified_token_is_refused_once_it_has_expired_even_if_the_clock_is_then_set_back(
    door: Authenticator, clock: Clock
) -> None:
    given = token(exp=NOW + 10)
    for _ in range(3):
        door.identify(given)
    clock.now = NOW + 11
    for _ in range(3):
        assert refusal(door, given) == "token_expired"


def test_an_issuer_whose_clock_is_a_little_ahead_is_believed(door: Authenticator) -> None:
    assert door.identify(token(iat=NOW + auth.CLOCK_SKEW, nbf=NOW + 1)).user_id == 7
    assert refusal(door, token(iat=NOW + auth.CLOCK_SKEW + 1)) == "token_invalid"


def test_where_two_clocks_disagree_a_token_expires_by_one_and_is_valid_once_issued_by_either() -> None:
    steady, wall = Clock(), Clock()
    door = authenticator(Settings(jwt_secret=SECRET), wall)
    door.keep_time(lambda: steady().timestamp())
    for ahead in (0, 40 * 86400, -40 * 86400):
        wall.now = NOW + ahead
        assert door.identify(token(iat=NOW)).user_id == 7
        latest = max(NOW, wall.now)
        assert door.identify(token(iat=latest, exp=latest + 3600)).user_id == 7
        assert refusal(door, token(iat=latest + auth.CLOCK_SKEW + 1, exp=latest + 3600)) == "token_invalid"
        assert refusal(door, token(exp=NOW)) == "token_expired"


def test_few_verified_tokens_are_remembered_and_no_refused_one(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "HASHED_CACHE", 10)
    door = authenticator(Settings(jwt_secret=SECRET), clock)
    for number in range(1, 40):
        assert door.identify(token(userId=number)).user_id == number
        refusal(door, f"garbage{number}")
    assert len(door._verified) <= 10
    assert door.identify(token(userId=1)).user_id == 1


def test_a_service_may_name_nobody_but_is_then_no_member(door: Authenticator) -> None:
    identity = door.identify(token(role="service", userId=..., tenantId=...))
    assert (identity.user_id, identity.tenant_id) == (None, None)
    with pytest.raises(Unauthorized) as caught:
        identity.member()
    assert caught.value.code == "token_without_user"
    assert refusal(door, token(role="service", userId="x")) == "token_invalid"


def test_a_secret_of_any_bytes_signs_and_verifies(clock: Clock) -> None:
    """`os.environ` hands bytes that are not UTF-8 over as surrogates."""
    settings = Settings(jwt_secret=bytes(range(200, 240)).decode(errors="surrogateescape"))
    signed = sign(settings, tenant_id=1, user_id=2, now=NOW)
    assert authenticator(settings, clock).identify(signed).user_id == 2


# Public keys


def write_key(folder: Path, private: Any) -> tuple[Path, bytes]:
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path = folder / "key.pem"
    path.write_bytes(pem)
    return path, pem


KEYS: dict[str, Any] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_public_key_file_decides_the_algorithm(tmp_path: Path, clock: Clock, algorithm: str) -> None:
    private = KEYS[algorithm]()
    path, pem = write_key(tmp_path, private)
    door = authenticator(Settings(jwt_public_key_file=str(path), jwt_secret=SECRET), clock)
    assert door.identify(jwt.encode(CLAIMS, private, algorithm)).user_id == 7
    # The old attack: the public key, known to all, used as the secret of a symmetric signature.
    for key in (pem, pem.strip(), pem.decode().strip().encode() + b"\n"):
        assert refusal(door, raw_token(json.dumps(CLAIMS).encode(), key=key)) == "token_invalid"
        assert refusal(door, raw_token(json.dumps(CLAIMS).encode(), {"alg": algorithm}, key=key)) == "token_invalid"
    assert refusal(door, token()) == "token_invalid", "a secret that is also set must not open the door"
    assert refusal(door, unsigned("none")) == "token_invalid"
    assert refusal(door, jwt.encode(CLAIMS, KEYS[algorithm](), algorithm)) == "token_invalid"


def test_another_hash_than_the_configured_one_is_refused(tmp_path: Path, clock: Clock) -> None:
    private = KEYS["RS256"]()
    path, _ = write_key(tmp_path, private)
    door = authenticator(Settings(jwt_public_key_file=str(path)), clock)
    for algorithm in ("RS384", "RS512", "PS256"):
        assert refusal(door, jwt.encode(CLAIMS, private, algorithm)) == "token_invalid"


def private_pem(private: Any) -> bytes:
    pem: bytes = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def test_a_wrong_key_file_is_told_in_one_line(tmp_path: Path, clock: Clock) -> None:
    p384 = ec.generate_private_key(ec.SECP384R1())
    dsa_key = dsa.generate_private_key(1024)
    short_rsa = rsa.generate_private_key(65537, 1024)
    wrong: dict[str, bytes | None] = {
        "missing": None,
        "empty": b"",
        "garbage": b"\x00\xff" * 100,
        "text": b"my key",
        "private": private_pem(KEYS["EdDSA"]()),
        "cut": b"-----BEGIN PUBLIC KEY-----\nMIIB\n",
        "p384": write_key(tmp_path, p384)[1],
        "dsa": write_key(tmp_path, dsa_key)[1],
        "short": write_key(tmp_path, short_rsa)[1],
    }
    for kind, content in wrong.items():
        path = tmp_path / f"{kind}.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SettingError) as caught:
            authenticator(Settings(jwt_public_key_file=str(path)), clock)
        message = str(caught.value)
        assert message.startswith(f"DJACTORS_JWT_PUBLIC_KEY_FILE: {path}"), kind
        assert "\n" not in message
        lines = (content or b"").decode("latin-1").splitlines()
        assert not any(line and line in message for line in lines), "key material in a message"


def test_a_folder_or_an_unreadable_file_is_told_in_one_line(tmp_path: Path, clock: Clock) -> None:
    for path in (tmp_path, tmp_path / "a\0b"):
        with pytest.raises(SettingError, match="DJACTORS_JWT_PUBLIC_KEY_FILE"):
            authenticator(Settings(jwt_public_key_file=str(path)), clock)


def test_a_secret_that_is_a_public_key_is_refused_with_the_mend(tmp_path: Path, clock: Clock) -> None:
    """Whoever has the public key could sign with it."""
    _, pem = write_key(tmp_path, KEYS["EdDSA"]())
    with pytest.raises(SettingError, match=r"JWT_SECRET: is a PEM key.*DJACTORS_JWT_PUBLIC_KEY_FILE") as caught:
        authenticator(Settings(jwt_secret=pem.decode()), clock)
    assert pem.decode()[30:60] not in str(caught.value)
